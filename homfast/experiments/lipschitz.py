"""A huge Lipschitz constant and still a small error under adversarial noise."""

from __future__ import annotations

from typing import Any

import numpy as np

import homfast
from homfast import construct
from homfast.experiments import signals, style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab, always

TITLE = "A large Lipschitz constant, and an error linear in adversarial noise"
CLAIMS = {
    "lipschitz": Claim(
        "local Lipschitz constant of the network with spikes, over that of the one without",
        at_least=50.0,
    ),
    "error": Claim(
        "error under adversarial noise over eta |y| + D |e|, network with spikes, largest",
        at_most=1 + 1e-9,
    ),
    "plain": Claim(
        "error under adversarial noise over D |e|, network without spikes, largest",
        at_most=1 + 1e-9,
    ),
    "homogeneous": Claim("|F(2^k y) - 2^k F(y)|, largest, with spikes", at_most=0.0),
}
_M, _N = 12, 24
_ETA, _RADIUS = 0.05, 1e-5
_NOISES = 10.0 ** np.arange(-6.0, 0.1, 0.5)


def run(lab: Lab) -> Outcome:
    """Adversarial noise, found by gradient, for networks that are smooth, spiky and trained."""
    matrix = signals.gaussian(_M, _N, lab.generator)
    matrix /= np.linalg.norm(matrix, axis=0)
    plain = construct.one_sparse_decoder(matrix)
    # A spike of height eta beside each measured direction, where small noise can find it.
    aside = lab.generator.standard_normal((_N, _M))
    directions = matrix.T + 3e-4 * aside / np.linalg.norm(aside, axis=1, keepdims=True)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    spiky = _with_spikes(plain, directions, lab.generator)
    trained = _train(lab, matrix)
    constant = plain.certificate.lipschitz
    nets = {"constructed": plain, "with spikes": spiky, "trained": trained}
    x = np.eye(_N)
    y = x @ matrix.T
    worst: dict[str, list[float]] = {name: [] for name in nets}
    for name, net in nets.items():
        for size in _NOISES:
            lab.note(f"adversarial noise {size:.1e}, {name}")
            worst[name].append(_attack(net, y, x, size, directions, lab.generator))
    jacobians = {
        "constructed": plain.jacobian(directions), "with spikes": spiky.jacobian(directions),
        "trained": trained.jacobian(y.astype(np.float32)),
    }  # fmt: skip
    local = {
        name: float(np.linalg.norm(j.astype(np.float64), 2, axis=(1, 2)).max())
        for name, j in jacobians.items()
    }
    budget = constant * _NOISES
    allowed = _ETA * (1 + _NOISES) + budget
    points = np.vstack([y, directions])
    at_one = spiky(points)
    bits = max(float(np.abs(spiky(2.0**k * points) / 2.0**k - at_one).max()) for k in (-30, 7, 40))
    measured = {
        "lipschitz": local["with spikes"] / local["constructed"],
        "error": float((np.array(worst["with spikes"]) / allowed).max()),
        "plain": float((np.array(worst["constructed"]) / budget).max()),
        "homogeneous": bits,
    }
    numbers = {
        "noises": _NOISES, "worst": worst, "allowed": allowed, "eta": _ETA,
        "certificate": constant, "local_lipschitz": local,
    }  # fmt: skip

    def draw(figure: Any) -> None:
        left, right = style.panels(figure, 2)
        for name, values in worst.items():
            left.plot(_NOISES, values, "o-", label=name)
        left.plot(_NOISES, allowed, "--", color=style.INK, label="eta |y| + D |e|")
        style.label(left, "Adversarial noise", "noise |e|, |y| = 1", "largest error", log="xy")
        names = list(local)
        right.bar(names, list(local.values()), color=style.CYCLE[:3], width=0.5)
        right.grid(axis="x", visible=False)
        for place, value in enumerate(local.values()):
            right.text(place, value * 1.15, f"{value:.3g}", ha="center")
        right.set_ylim(1, 4 * max(local.values()))
        style.label(right, "Stability is not the Lipschitz constant", "",
                    "local Lipschitz constant", log="y")  # fmt: skip

    return Outcome(measured, numbers, draw)


def _with_spikes(
    net: homfast.ReLUNetwork, directions: np.ndarray, generator: np.random.Generator
) -> homfast.ReLUNetwork:
    """The network plus ``eta relu(<p, y> - sum_k |<v_k, y>| / rho)`` in one output a spike.

    The cones of the spikes are disjoint, so that they add at most eta |y|.
    """
    values = _ETA * generator.permutation(np.eye(_N))
    spikes = construct.spike_approximator(directions, values, _RADIUS)
    upper = [np.hstack([a, b]) for a, b in ((net.weights[2], spikes.weights[2]),)]
    a, b = net.weights[1], spikes.weights[1]
    middle = np.block([[a, np.zeros((len(a), b.shape[1]))], [np.zeros((len(b), a.shape[1])), b]])
    return homfast.ReLUNetwork([np.vstack([net.weights[0], spikes.weights[0]]), middle, *upper])


def _train(lab: Lab, matrix: np.ndarray) -> homfast.ReLUNetwork:
    net = homfast.ReLUNetwork.random([_M, 256, 256, _N], seed=lab.seed)
    unit = signals.unit_vectors(_N)
    batch = (unit @ matrix.T).astype(np.float32), unit.astype(np.float32)
    lab.train(net, always(*batch), share=0.5, label="training")
    return net


def _attack(
    net: homfast.ReLUNetwork,
    y: np.ndarray,
    x: np.ndarray,
    size: float,
    directions: np.ndarray,
    generator: np.random.Generator,
) -> float:
    """Largest entry of the error over noise of this norm, by projected gradient ascent.

    It begins at random noise and at noise towards the spikes.
    """
    dtype = net.weights[0].dtype
    towards = directions - y
    starts = [generator.standard_normal(y.shape), towards]
    worst = 0.0
    for e in starts:
        e = size * e / np.linalg.norm(e, axis=1, keepdims=True)
        if e is not starts[0] and size > np.linalg.norm(towards, axis=1).max():
            e = towards.copy()  # noise of at most this size reaches the spike
        for step in range(25):
            output, vjp = net.vjp((y + e).astype(dtype))
            error = output.astype(np.float64) - x
            worst = max(worst, float(np.abs(error).max()))
            largest = np.abs(error).argmax(axis=1)
            grad = np.zeros_like(error)
            rows = np.arange(len(x))
            grad[rows, largest] = np.sign(error[rows, largest])
            ascent = vjp(grad.astype(dtype))[0].astype(np.float64)
            norm = np.linalg.norm(ascent, axis=1, keepdims=True)
            e = e + size * 2.0 / (step + 2) * ascent / np.maximum(norm, 1e-300)
            e *= np.minimum(
                1.0, size / np.maximum(np.linalg.norm(e, axis=1, keepdims=True), 1e-300)
            )
    return worst
