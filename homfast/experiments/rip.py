"""Noise: what the lower isometry constant allows, and realistic kinds of it."""

from __future__ import annotations

from typing import Any

import numpy as np

import homfast
from homfast import construct
from homfast.experiments import signals, style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab

TITLE = "How much noise is amplified depends on the lower isometry constant"
CLAIMS = {
    "every_network": Claim(
        "noise gain at the closest pair of signals times their |A(x - x')| / |x - x'|, least over "
        "trained and constructed networks",
        at_least=1 - 1e-3,
    ),
    "realistic": Claim(
        "error of the constructed network over certificate times |e|, largest over Gaussian, "
        "Poisson, impulse and quantisation noise",
        at_most=1 + 1e-9,
    ),
    "broken": Claim("decoders refused where two columns are parallel", at_least=1.0),
}
_M, _N = 12, 24
_ANGLES = np.array([60.0, 30.0, 15.0, 8.0, 4.0, 2.0, 1.0])
_AXIS = "alpha^2: least |A(x - x')|^2 / |x - x'|^2"
_NOISES = ("gaussian", "poisson", "impulse", "quantised")


def run(lab: Lab) -> Outcome:
    """Turn one column towards another; look at the noise gain of networks."""
    base = signals.gaussian(_M, _N, lab.generator)
    base /= np.linalg.norm(base, axis=0)
    lower: list[float] = []
    gains: dict[str, list[float]] = {"constructed": [], "trained": []}
    certificates: list[float] = []
    realistic: dict[str, list[float]] = {name: [] for name in _NOISES}
    shares = []
    for angle in _ANGLES:
        matrix = _turned(base, np.deg2rad(angle))
        lower.append(_closest(matrix)[0])
        decoder = construct.one_sparse_decoder(matrix)
        net = _train(lab, matrix, angle)
        for name, each in (("constructed", decoder), ("trained", net)):
            gains[name].append(_gain(each, matrix))
        certificates.append(decoder.certificate.lipschitz)
        for name in _NOISES:
            error, noise = _under(name, decoder, matrix, lab.generator)
            realistic[name].append(float((error[:, 0] / noise).max()))
            shares.append((error[:, 1] / (certificates[-1] * noise)).max())
    refused = 0.0
    try:
        construct.one_sparse_decoder(_turned(base, 0.0))
    except ValueError:
        refused = 1.0
    floor = 1 / np.sqrt(lower)
    measured = {
        "every_network": float(min((np.array(g) / floor).min() for g in gains.values())),
        "realistic": float(max(shares)),
        "broken": refused,
    }
    numbers = {
        "lower": lower, "gains": gains, "floor": floor, "certificates": certificates,
        "realistic": realistic,
    }  # fmt: skip

    def draw(figure: Any) -> None:
        left, right = style.panels(figure, 2)
        gap = np.array(lower)
        left.plot(gap, floor, "--", color=style.INK, label="no network below: alpha^-1")
        for name, values in gains.items():
            left.plot(gap, values, "o-", label=f"{name}, closest pair")
        left.plot(gap, certificates, ":", color=style.GRAY, label="certificate, constructed")
        left.invert_xaxis()
        style.label(left, "Towards parallel columns", _AXIS, "error / |e|", log="xy")
        left.legend(loc="lower right")
        for name, values in realistic.items():
            right.plot(gap, values, "o-", label=name)
        right.plot(gap, certificates, ":", color=style.GRAY, label="certificate")
        right.invert_xaxis()
        style.label(right, "Realistic noise, constructed network", _AXIS,
                    "largest error / |e|", log="xy")  # fmt: skip
        right.set_ylim(top=1e4)

    return Outcome(measured, numbers, draw)


def _turned(base: np.ndarray, angle: float) -> np.ndarray:
    """Column 1 at this angle from column 0."""
    matrix = base.copy()
    first, second = matrix[:, 0], matrix[:, 1]
    across = second - first * (first @ second)
    matrix[:, 1] = np.cos(angle) * first + np.sin(angle) * across / np.linalg.norm(across)
    return matrix


def _closest(matrix: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The least ``|A(x - x')|^2 / |x - x'|^2`` of one-sparse signals, with x and x'.

    It is the least eigenvalue of A_S^T A_S over pairs S of columns.
    """
    squares = matrix.T @ matrix
    first, second = np.triu_indices(_N, 1)
    pairs = np.stack([first, second], axis=1)
    values, vectors = np.linalg.eigh(squares[pairs[:, :, None], pairs[:, None, :]])
    least = int(values[:, 0].argmin())
    a, b = np.zeros((2, _N))
    a[first[least]], b[second[least]] = vectors[least, :, 0] * [1.0, -1.0]
    return float(values[least, 0]), a, b


def _train(lab: Lab, matrix: np.ndarray, angle: float) -> homfast.ReLUNetwork:
    net = homfast.ReLUNetwork.random([_M, 128, 128, _N], seed=lab.seed)
    x = signals.unit_vectors(_N)
    y = x @ matrix.T

    def batch(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        noise = generator.standard_normal(y.shape) * (0.02 / np.sqrt(_M))
        return (y + noise).astype(np.float32), x.astype(np.float32)

    lab.train(net, batch, share=0.12, label=f"columns {angle:g} degrees apart")
    return net


def _gain(net: homfast.ReLUNetwork, matrix: np.ndarray) -> float:
    """Largest error over noise halfway between the measurements of the two closest signals.

    Both have one measurement there, so that whatever a network answers errs by half their distance
    for one of them.
    """
    _, a, b = _closest(matrix)
    middle = (matrix @ (a + b) / 2).astype(net.weights[0].dtype)
    noise = np.linalg.norm(matrix @ (a - b)) / 2
    answer = net(middle).astype(np.float64)
    return float(max(np.linalg.norm(answer - a), np.linalg.norm(answer - b)) / noise)


def _under(
    kind: str, net: homfast.ReLUNetwork, matrix: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Errors (l2, largest entry) of each signal, and |e|."""
    x = np.repeat(signals.unit_vectors(_N), 20, axis=0)
    y = x @ matrix.T
    if kind == "gaussian":
        noisy = y + 0.03 * generator.standard_normal(y.shape)
    elif kind == "poisson":  # counts of 1000 photons at the largest, on a dark level of one half
        level = 500 * (y + 1)
        noisy = generator.poisson(level) / 500 - 1
    elif kind == "impulse":
        noisy = np.where(generator.random(y.shape) < 0.05, np.sign(y), y)
    else:
        noisy = np.round(y * 8) / 8
    error = net(noisy) - x
    size = np.maximum(np.linalg.norm(noisy - y, axis=1), 1e-12)
    sizes = np.column_stack([np.linalg.norm(error, axis=1), np.abs(error).max(axis=1)])
    # Where nothing was disturbed there is nothing to divide by.
    return sizes[size > 1e-9], size[size > 1e-9]
