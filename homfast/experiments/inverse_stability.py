"""How stably ReLU layers can be inverted."""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast.experiments import style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab
from homfast.injectivity import empirical_stability, invert, stability_bounds

TITLE = "The inverse of a ReLU layer is as stable as its worst active rows, but for a factor 2"
CLAIMS = {
    "lower": Claim("smallest stretch that a search finds over sigma* / 2", at_least=1 - 1e-9),
    "upper": Claim(
        "stretch of the pair x, -x along the least singular vector over sigma_min(W) / 2",
        at_most=1 + 1e-9,
    ),
    "antiparallel": Claim(
        "distance of the search's result from sigma_min(B) / sqrt(2), [B; -B], relative",
        at_most=1e-6,
    ),
    "noise": Claim("error of the inverse over |e| / sigma*, largest", at_most=1 + 1e-6),
}
_N = 3
_RATIOS = (4, 5, 6, 8, 10, 12)


def run(lab: Lab) -> Outcome:
    """Gaussian layers: proved bounds and what a search finds; noisy inversion."""
    ratios, lower, upper, found, paper = [], [], [], [], []
    pairs = []
    for ratio in _RATIOS:
        spent = lab.clock(0.12)
        taken = 0
        while taken < 2 or (spent() < 1.0 and taken < 12):
            lab.note(f"m = {ratio} n, layer {taken + 1}")
            taken += 1
            weight = lab.generator.standard_normal((ratio * _N, _N))
            bounds = stability_bounds(weight, seed=lab.seed)
            if bounds.lower == 0.0 or not bounds.exact:
                continue
            ratios.append(ratio)
            lower.append(bounds.lower)
            upper.append(bounds.upper)
            paper.append(bounds.sigma / np.sqrt(2 * len(weight)))
            searched = empirical_stability(weight, trials=12, steps=150, seed=lab.seed)
            found.append(min(searched, _within_cells(weight, lab.generator)))
            _, sizes, rows = np.linalg.svd(weight)
            apart = np.maximum(weight @ rows[-1], 0) - np.maximum(-weight @ rows[-1], 0)
            pairs.append(np.linalg.norm(apart) / 2 / (sizes[-1] / 2))
    square = lab.generator.standard_normal((_N, _N))
    twin = np.vstack([square, -square])
    exact = np.linalg.svd(square)[1][-1] / np.sqrt(2)
    searched = empirical_stability(twin, trials=12, steps=150, seed=lab.seed)
    noises, errors, sigma = _noisy_inversion(lab)
    measured = {
        "lower": float(np.min(np.array(found) / np.array(lower))),
        "upper": float(np.max(pairs)),
        "antiparallel": float(abs(searched / exact - 1)),
        "noise": float((errors.max(axis=1) / (noises / sigma)).max()),
    }
    numbers = {
        "ratios": ratios, "lower": lower, "upper": upper, "found": found, "theorem_8": paper,
        "noises": noises, "largest_errors": errors.max(axis=1), "sigma": sigma,
    }  # fmt: skip

    def draw(figure: Any) -> None:
        left, right = style.panels(figure, 2)
        place = np.array(ratios) * (1 + 0.03 * np.sin(np.arange(len(ratios)) * 2.4))
        left.vlines(place, lower, upper, color=style.GRAY, lw=1, label="proved interval")
        left.plot(place, found, "o", color=style.ORANGE, label="found by search")
        left.plot(place, paper, "_", ms=8, color=style.BLUE, label="printed bound (Theorem 8)")
        left.set_ylim(bottom=min(paper) / 3)
        style.label(left, f"Gaussian layers, n = {_N}", "m / n", "least stretch kappa", log="y")
        style.counts(left, _RATIOS)
        left.legend(loc="lower right")
        right.plot(noises, errors.max(axis=1), "o-", color=style.GREEN, label="largest of 200")
        right.plot(noises, np.median(errors, axis=1), "o:", color=style.GREEN, label="median")
        right.plot(noises, noises / sigma, "--", color=style.INK, label="|e| / sigma*")
        style.label(right, "Inversion under noise", "noise |e| on active rows, |x| = 1",
                    "error |x' - x|", log="xy")  # fmt: skip

    return Outcome(measured, numbers, draw)


def _within_cells(weight: np.ndarray, generator: np.random.Generator) -> float:
    """The least stretch of short pairs within the cells of random points."""
    x = generator.standard_normal((20_000, weight.shape[1]))
    on = np.unique(x @ weight.T > 0, axis=0).astype(np.float64)
    grams = np.einsum("cm,mi,mj->cij", on, weight, weight, optimize=True)
    return float(np.sqrt(np.maximum(np.linalg.eigvalsh(grams)[:, 0].min(), 0.0)))


def _noisy_inversion(lab: Lab) -> tuple[np.ndarray, np.ndarray, float]:
    """Noise on active rows that leaves them active; largest errors at each size."""
    weight = np.vstack([lab.generator.standard_normal((_N, _N)) for _ in range(4)])
    weight = np.vstack([weight, -weight[:_N]])  # an antiparallel pair a dimension: injective
    sigma = stability_bounds(weight, seed=lab.seed).sigma
    x = lab.generator.standard_normal((200, _N))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    z = np.maximum(x @ weight.T, 0.0)
    noises = 10.0 ** np.arange(-6.0, -0.9)
    errors = []
    for size in noises:
        e = lab.generator.standard_normal(z.shape) * (z > 0)
        e *= size / np.linalg.norm(e, axis=1, keepdims=True)
        e = np.maximum(e, -0.5 * z)  # shorter, and no row goes silent
        errors.append(np.linalg.norm(invert(weight, z + e) - x, axis=1))
    return noises, np.array(errors), sigma
