"""From which expansion on a Gaussian ReLU layer is injective."""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast._scipy import scipy_module
from homfast.experiments import style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab
from homfast.injectivity import (
    gaussian_probability_bound,
    gaussian_thresholds,
    is_injective,
    minimal_weight,
)

TITLE = "Gaussian layers become injective between 3.4 and 10.5 rows a column"
CLAIMS = {
    "below": Claim("layers with m < 2n, or few rows at x_0, called injective", at_most=0.0),
    "above": Claim(
        "chance to see as few injective layers as were seen if their probability were the union "
        "bound, least over m and n",
        at_least=1e-6,
    ),
    "minimal": Claim("share of layers [B; -DB; M] found injective", at_least=1.0),
    "undecided": Claim("layers left undecided", at_most=0.0),
}
_SIZES = (3, 4, 5)
_RATIOS = np.array([1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0])
_FINE = np.arange(2.0, 4.6, 0.25)


def run(lab: Lab) -> Outcome:
    """Decide Gaussian layers exactly for small n; look at x_0 alone for large n."""
    binomial = scipy_module("stats", "injectivity-threshold").binom
    injective, trials, false, undecided = {}, {}, 0, 0
    for n in _SIZES:
        found, rounds = np.zeros(len(_RATIOS)), 0
        spent = lab.clock(0.28)
        while rounds < 4 or (spent() < 1.0 and rounds < 200):
            rounds += 1
            for i, ratio in enumerate(_RATIOS):
                lab.note(f"n = {n}, layer {rounds} of m = {ratio:g} n")
                weight = lab.generator.standard_normal((int(ratio * n), n))
                decision = is_injective(weight, seed=rounds).decision
                undecided += decision is None
                found[i] += bool(decision)
                false += bool(decision) and (len(weight) < 2 * n or _active(weight) < n)
        injective[n], trials[n] = found, rounds
    chances = [
        float(binomial.cdf(k, trials[n], gaussian_probability_bound(int(ratio * n), n)))
        for n in _SIZES
        for ratio, k in zip(_RATIOS, injective[n], strict=True)
    ]
    minimal = []
    for n in _SIZES:
        more = lab.generator.standard_normal((n, n))
        minimal.append(bool(is_injective(np.vstack([minimal_weight(n, seed=lab.seed), more]))))
    large = {}
    for n in (50, 200):
        passed = np.zeros(len(_FINE))
        for i, ratio in enumerate(_FINE):
            for _ in range(20):
                passed[i] += _active(lab.generator.standard_normal((int(ratio * n), n))) >= n
        large[n] = passed / 20
    measured = {
        "below": float(false),
        "above": min(chances),
        "minimal": float(np.mean(minimal)),
        "undecided": float(undecided),
    }
    lines = gaussian_thresholds()
    numbers = {
        "ratios": _RATIOS, "trials": trials, "injective": injective, "fine": _FINE,
        "passed_x0": large, "thresholds": lines._asdict(),
    }  # fmt: skip

    def draw(figure: Any) -> None:
        left, right = style.panels(figure, 2)
        for color, n in zip(style.CYCLE, _SIZES, strict=False):
            share = injective[n] / trials[n]
            text = f"n = {n}, {trials[n]} layers a point"
            left.plot(_RATIOS, share, "o-", color=color, label=text)
            union = [gaussian_probability_bound(int(r * n), n) for r in _RATIOS]
            left.plot(_RATIOS, union, ":", color=color)
        left.plot([], [], ":", color=style.SOFT, label="proved lower bounds")
        style.label(left, "Exact decisions", "m / n", "share of injective layers")
        left.legend(loc="lower right")
        for n, share in large.items():
            right.plot(_FINE, share, "o-", label=f"n = {n}, not refuted at x_0")
        named = ((lines.never, "3.4: never"), (lines.conjectured, "6.7: conjectured"),
                 (lines.always, "10.4: always"))  # fmt: skip
        for place, text in named:
            for axis in (left, right):
                axis.axvline(place, color=style.GRAY, lw=1, ls="--")
            right.text(place + 0.1, 0.05, text, rotation=90, color=style.SOFT, va="bottom")
        right.set_xlim(1.5, 12)
        style.label(right, "Lines: n to infinity", "m / n", "share of layers")
        right.legend(loc="center", bbox_to_anchor=(0.52, 0.6))

    return Outcome(measured, numbers, draw)


def _active(weight: np.ndarray) -> int:
    """Rows that are positive at x_0, minus the sum of the unit rows."""
    x = -(weight / np.linalg.norm(weight, axis=1, keepdims=True)).sum(axis=0)
    return int((weight @ x >= 0).sum())
