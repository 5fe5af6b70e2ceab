"""Deep linear networks with weight decay: what decays, what is biased, what depth and width do."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from homfast.experiments import style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab
from homfast.linear_nets import (
    descend,
    initialize,
    mode_gains,
    noise_split,
    off_range_decay,
    oracle_map,
    range_projection,
)

TITLE = "Deep linear networks with weight decay find the latent subspace"
CLAIMS = {
    "identity": Claim(
        "|W_1(t) (I - P) - (1 - eta lambda)^t W_1(0) (I - P)| / |W_1(0)|, largest over depths",
        at_most=1e-12,
    ),
    "no_decay": Claim("change of W_1 (I - P) without weight decay, relative", at_most=1e-12),
    "off_range": Claim(
        "|W(t) (I - P)| over (1 - eta lambda)^t |W_L .. W_2(t)| |W_1(0) (I - P)|, largest",
        at_most=1 + 1e-9,
    ),
    "modes": Claim("error of the modes against the root of theory, relative", at_most=0.02),
    "split": Claim("error under noise over the sum of its three parts, largest", at_most=1 + 1e-9),
}
_D, _M, _S, _BATCH = 12, 6, 2, 40
_DECAYS = (3e-3, 1e-2, 3e-2, 1e-1)
_RATE, _STEPS = 0.05, 8_000


def run(lab: Lab) -> Outcome:
    """White latents in a plane, seen by a Gaussian A; descend at several depths and decays."""
    generator = lab.generator
    basis = np.linalg.qr(generator.standard_normal((_D, _S)))[0]
    # Singular values of A R from 0.8 to 1.25: convergence in a known number of steps.
    matrix = generator.standard_normal((_M, _D)) / np.sqrt(_M)
    left, _, right = np.linalg.svd(matrix @ basis, full_matrices=False)
    matrix = matrix + (left * [1.25, 0.8] @ right - matrix @ basis) @ basis.T
    latents = np.linalg.qr(generator.standard_normal((_BATCH, _S)))[0]
    x = latents @ basis.T
    y = x @ matrix.T
    onto = range_projection(y)
    oracle = oracle_map(matrix, basis)
    noise = generator.standard_normal((200, _M))
    noise *= 0.1 / np.linalg.norm(noise, axis=1, keepdims=True)
    signals = generator.standard_normal((200, _S)) @ basis.T
    signals /= np.linalg.norm(signals, axis=1, keepdims=True)

    identity, off, curves = [], [], {}
    for depth in (2, 3, 5):
        lab.note(f"depth {depth}")
        start = initialize(_M, _D, depth, 24, seed=lab.seed + depth)
        run = descend(start, y, x, steps=3000, learning_rate=_RATE, weight_decay=1e-2,
                      projection=onto)  # fmt: skip
        wanted = off_range_decay(start[0], y, _RATE, 1e-2, 3000)
        gap = run.weights[0] - run.weights[0] @ onto - wanted
        identity.append(np.abs(gap).max() / np.linalg.norm(start[0]))
        above = np.linalg.norm(_product(run.weights[1:]), 2)
        away = np.linalg.norm(_product(run.weights) @ (np.eye(_M) - onto))
        off.append(away / (above * np.linalg.norm(wanted)))
        curves[depth] = run.off_range
    start = initialize(_M, _D, 3, 24, seed=lab.seed)
    free = descend(start, y, x, steps=1000, learning_rate=_RATE)
    still = (free.weights[0] - start[0]) @ (np.eye(_M) - onto)

    modes, gaps, splits, shares = [], [], [], []
    left, sizes, right = np.linalg.svd(matrix @ basis)
    lab.note("weight decays")
    swept = descend(
        start, y, x, steps=_STEPS, learning_rate=_RATE, weight_decay=np.array(_DECAYS)
    ).weights
    for k, decay in enumerate(_DECAYS):
        factors = [layer[k] for layer in swept]
        network = _product(factors)
        found = np.einsum("ij,ij->j", basis @ right.T, network @ left[:, :_S])
        error, wanted = 1 - sizes * found, 1 - sizes * mode_gains(sizes, decay, 3)
        modes.append((error, wanted))
        gaps.append(np.linalg.norm(network - oracle))
        split = noise_split(factors, matrix, onto, signals, noise)
        splits.append([float(part.mean()) for part in split])
        total = np.linalg.norm((signals @ matrix.T + noise) @ network.T - signals, axis=1)
        shares.append(float((total / np.sum(split, axis=0)).max()))
    # Below a decay of 0.01 balance takes longer than these steps: drawn, not judged.
    settled = [abs(e / w - 1).max() for (e, w), d in zip(modes, _DECAYS, strict=True) if d >= 1e-2]
    speed = _speed(lab, y, x, signals, signals @ matrix.T + noise)
    measured = {
        "identity": float(max(identity)),
        "no_decay": float(np.abs(still).max() / np.linalg.norm(start[0])),
        "off_range": float(max(off)),
        "modes": float(max(settled)),
        "split": max(shares),
    }
    numbers = {
        "decays": _DECAYS, "mode_errors": [e for e, _ in modes], "roots": [w for _, w in modes],
        "oracle_gap": gaps, "mean_split": splits, "speed": speed,
    }  # fmt: skip

    def draw(figure: Any) -> None:
        first, second, third, fourth, fifth = style.panels(figure, 5)
        t = np.arange(3000)
        for depth, values in curves.items():
            first.plot(t, values, label=f"depth {depth}")
        first.plot(t, curves[3][0] * (1 - _RATE * 1e-2) ** t, "--", color=style.INK,
                   label="(1 - eta lambda)^t\ntimes the value at t = 0")  # fmt: skip
        style.label(first, "Off the range, lambda = 0.01", "steps", "|W (I - P)|", log="y")
        first.set_ylim(bottom=first.get_ylim()[0] / 4)
        first.legend(loc="lower left")
        for k in range(_S):
            color = style.CYCLE[k]
            second.plot(_DECAYS, [e[k] for e, _ in modes], "o", color=color, label=f"mode {k + 1}")
            second.plot(_DECAYS, [w[k] for _, w in modes], "--", color=color)
        second.plot([], [], "--", color=style.SOFT, label="root of the theory")
        style.label(second, "Bias of the modes", "weight decay lambda", "error 1 - s p", log="xy")
        names = ("bias", "noise on the range", "noise off the range")
        for k, name in enumerate(names):
            third.plot(_DECAYS, [max(split[k], 1e-12) for split in splits], "o-", label=name)
        third.plot(_DECAYS, gaps, "s--", color=style.INK, label="|W - oracle|_F")
        style.label(third, "Parts of the error, |e| = 0.1", "weight decay lambda",
                    "mean error, |x| = 1; |W - oracle|_F", log="xy")  # fmt: skip
        third.set_ylim(bottom=1e-14)
        third.legend(loc="lower left")
        for depth, result in speed.items():
            _band(fourth, result["steps"], f"depth {depth}")
            _band(fifth, result["test_error"], f"depth {depth}")
        fourth.set_ylim(0)
        style.label(fourth, "Overparameterisation", "hidden width", "steps to error 0.01 |X|")
        fifth.set_ylim(0)
        style.label(fifth, f"After {_SPEED_STEPS} steps, |e| = 0.1", "hidden width",
                    "mean test error, |x| = 1")  # fmt: skip
        for axis in (fourth, fifth):
            style.counts(axis, _WIDTHS)

    return Outcome(measured, numbers, draw)


_WIDTHS = (12, 24, 48, 96)
_SPEED_STEPS, _SEEDS = 1000, 3


def _speed(
    lab: Lab, y: np.ndarray, x: np.ndarray, signals: np.ndarray, noisy: np.ndarray
) -> dict[int, dict[str, np.ndarray]]:
    """Steps until the loss is a hundredth of |X|, and errors under noise: (widths, seeds)."""
    result: dict[int, dict[str, np.ndarray]] = {}
    seeds = np.arange(lab.seed, lab.seed + _SEEDS)
    for depth in (2, 3, 4):
        steps, errors = np.full((2, len(_WIDTHS), _SEEDS), np.nan)
        for i, width in enumerate(_WIDTHS):
            lab.note(f"depth {depth}, width {width}")
            start = initialize(y.shape[1], x.shape[1], depth, width, seed=seeds)
            runs = descend(start, y, x, steps=_SPEED_STEPS, learning_rate=0.02, weight_decay=1e-4)
            for k in range(_SEEDS):
                below = np.flatnonzero(runs.loss[k] < 0.01 * np.linalg.norm(x))
                steps[i, k] = below[0] if len(below) else np.nan
                found = noisy @ _product([layer[k] for layer in runs.weights]).T
                errors[i, k] = np.linalg.norm(found - signals, axis=1).mean()
        result[depth] = {"steps": steps, "test_error": errors}
    return result


def _band(axis: Any, values: np.ndarray, text: str) -> None:
    """The median over seeds, and what lies between the least and the largest."""
    (line,) = axis.plot(_WIDTHS, np.median(values, axis=1), "o-", label=text)
    axis.fill_between(
        _WIDTHS, values.min(axis=1), values.max(axis=1), color=line.get_color(), alpha=0.15, lw=0
    )


def _product(weights: list[np.ndarray]) -> np.ndarray:
    return reduce(lambda below, above: above @ below, weights)
