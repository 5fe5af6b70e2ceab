"""x up to its sign from the squares of its measurements."""

from __future__ import annotations

from typing import Any

import numpy as np

import homfast
from homfast import construct
from homfast.experiments import data, style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab

TITLE = "Phase retrieval: x x^T from |A x|^2"
CLAIMS = {
    "ecg": Claim(
        "largest relative error, up to sign, of windows of the electrocardiogram, "
        "m >= d (d + 1) / 2",
        at_most=1e-6,
    ),
    "constructed": Claim(
        "worst relative error on fresh x over the one that was asked for, m = 5 of 6, d = 3",
        at_most=1.25,
    ),
    "best_linear": Claim(
        "rms error of that decoder over the least of all linear maps", at_most=0.75
    ),
}
_D, _WINDOW, _ASKED = 3, 8, 0.3
_MEASUREMENTS = (12, 20, 28, 36)
_HIDDEN = {"one hidden layer": [512], "two hidden layers": [192, 192]}


def run(lab: Lab) -> Outcome:
    """A constructed decoder for d = 3, trained ones for d = 8, windows of the electrocardiogram."""
    generator = lab.generator
    turn = np.linalg.qr(generator.standard_normal((_D, _D)))[0]
    angle = 2 * np.pi * np.arange(5) / 5
    ring = np.column_stack([np.sqrt(2) * np.cos(angle), np.sqrt(2) * np.sin(angle), np.ones(5)])
    frame = ring @ turn
    lab.note("random features")
    decoder = construct.phase_retrieval_decoder(frame, relative_error=_ASKED, seed=lab.seed)
    x = _unit(4000, _D, generator)
    lifted, seen = _lift(x), (x @ frame.T) ** 2
    error = np.linalg.norm(decoder(seen) - lifted, axis=1)
    linear = lifted - seen @ np.linalg.lstsq(seen, lifted, rcond=None)[0]
    linear_rms = float(np.sqrt((linear**2).sum(axis=1).mean()))
    rms = float(np.sqrt(np.mean(error**2)))

    signal = data.ecg()
    windows = np.lib.stride_tricks.sliding_window_view(signal, _WINDOW)[::4]
    windows = windows[np.linalg.norm(windows, axis=1) > 1e-3]
    matrix = generator.standard_normal((48, _WINDOW)) / np.sqrt(48)
    exact = construct.phase_retrieval_decoder(matrix, seed=lab.seed)
    recovered = _vectors(exact((windows @ matrix.T) ** 2))
    ecg = _up_to_sign(recovered, windows) / np.linalg.norm(windows, axis=1)

    fresh = _unit(3000, _WINDOW, generator)
    curves: dict[str, list[float]] = {"linear": [], "one hidden layer": [], "two hidden layers": []}
    for m in _MEASUREMENTS:
        rows = matrix[:m] * np.sqrt(48 / m)
        target, values = _lift(fresh), (fresh @ rows.T) ** 2
        some = _unit(3000, _WINDOW, generator)
        best = np.linalg.lstsq((some @ rows.T) ** 2, _lift(some), rcond=None)[0]
        second = np.linalg.eigh((some @ rows.T).T ** 2 @ (some @ rows.T) ** 2 / len(some))
        whiten = second[1] / np.sqrt(second[0])
        curves["linear"].append(_rms(values @ best - target))
        for name, hidden in _HIDDEN.items():
            net = _train(lab, rows, hidden, best, whiten)
            found = values @ best + net((values @ whiten).astype(np.float32))
            curves[name].append(_rms(found - target))
    measured = {
        "ecg": float(ecg.max()),
        "constructed": float(error.max()) / _ASKED,
        "best_linear": rms / linear_rms,
    }
    numbers = {
        "certificate": decoder.certificate._asdict(), "worst": error.max(), "rms": rms,
        "linear_rms": linear_rms, "measurements": _MEASUREMENTS, "rms_by_measurements": curves,
        "trained_widths": _HIDDEN,
        "ecg_errors": ecg,
    }  # fmt: skip

    def draw(figure: Any) -> None:
        first, second, third = style.panels(figure, 3)
        part = np.linspace(0, 1, len(error))
        first.plot(np.sort(error), part, label="two hidden layers, constructed")
        first.plot(
            np.sort(np.linalg.norm(linear, axis=1)), part, color=style.GRAY, label="best linear"
        )
        first.axvline(_ASKED, color=style.INK, ls="--", lw=1.1, label="error asked for")
        first.set_ylim(0, 1.4)
        style.label(first, "d = 3, m = 5", "relative error of x x^T", "share of signals")
        for name, values in curves.items():
            second.plot(_MEASUREMENTS, values, "o-", label=name)
        second.set_ylim(0)
        second.set_xticks(_MEASUREMENTS)
        style.label(second, "d = 8, trained", "measurements m", "rms error of x x^T, |x| = 1")
        chosen = np.linalg.norm(windows, axis=1).argmax()
        sign = np.sign(recovered[chosen] @ windows[chosen])
        third.plot(windows[chosen], "-", color=style.GRAY, lw=4, label="original")
        third.plot(sign * recovered[chosen], "o", color=style.ORANGE, label="recovered, sign given")
        style.label(third, "Electrocardiogram, m = 48", "sample", "amplitude, largest = 1")

    return Outcome(measured, numbers, draw)


def _unit(count: int, d: int, generator: np.random.Generator) -> np.ndarray:
    x = generator.standard_normal((count, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _lift(x: np.ndarray) -> np.ndarray:
    return np.einsum("bi,bj->bij", x, x).reshape(len(x), -1)


def _rms(error: np.ndarray) -> float:
    return float(np.sqrt((error.astype(np.float64) ** 2).sum(axis=1).mean()))


def _vectors(lifted: np.ndarray) -> np.ndarray:
    """The best x for x x^T: the top eigenvector, scaled."""
    d = round(np.sqrt(lifted.shape[1]))
    square = lifted.reshape(-1, d, d)
    values, vectors = np.linalg.eigh((square + square.swapaxes(1, 2)) / 2)
    return vectors[:, :, -1] * np.sqrt(np.maximum(values[:, -1:], 0.0))


def _up_to_sign(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return np.minimum(
        np.linalg.norm(found - wanted, axis=1), np.linalg.norm(found + wanted, axis=1)
    )


def _train(
    lab: Lab, matrix: np.ndarray, hidden: list[int], linear: np.ndarray, whiten: np.ndarray
) -> homfast.ReLUNetwork:
    """What is added to the best linear map, from whitened intensities: linear maps, no biases."""
    start = homfast.ReLUNetwork.random([len(matrix), *hidden, _WINDOW**2], seed=lab.seed).weights
    net = homfast.ReLUNetwork([*start[:-1], 1e-2 * start[-1]])

    def batch(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        x = _unit(256, _WINDOW, generator)
        seen = (x @ matrix.T) ** 2
        return (seen @ whiten).astype(np.float32), (_lift(x) - seen @ linear).astype(np.float32)

    label = f"{len(matrix)} measurements, {len(hidden)} hidden"
    lab.train(net, batch, share=0.115, learning_rate=2e-3, label=label)
    return net
