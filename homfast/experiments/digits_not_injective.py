"""Real digits that a Gaussian layer of expansion 2.1 cannot tell apart from others."""

from __future__ import annotations

from typing import Any

import numpy as np

import homfast
from homfast.experiments import data, style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab
from homfast.injectivity import invert, minimal_weight

TITLE = "Digits towards x_0 leave fewer active rows than unknowns (m = 2.1 n)"
CLAIMS = {
    "active": Claim("rows of the Gaussian layer active at x_0, over n", at_most=1 - 1 / 64),
    "collision": Claim(
        "distance of the outputs at two different images over that of the images", at_most=1e-12
    ),
    "minimal": Claim(
        "largest relative error of digits from a layer [B; -DB; M] of the same size", at_most=1e-9
    ),
}
_N, _M = 64, 134
_STEPS = np.linspace(0, 1, 21)


def run(lab: Lab) -> Outcome:
    """Interpolate digits towards x_0 and invert two layers of one size."""
    images = data.digits()
    chosen = images[lab.generator.permutation(len(images))[:40]]
    weight = lab.generator.standard_normal((_M, _N)) / np.sqrt(_N)
    low = -(weight / np.linalg.norm(weight, axis=1, keepdims=True)).sum(axis=0)
    low /= np.linalg.norm(low)
    minimal = np.vstack(
        [minimal_weight(_N, seed=lab.seed), lab.generator.standard_normal((_M - 2 * _N, _N))]
    )
    sizes = np.linalg.norm(chosen, axis=1, keepdims=True)
    active: list[np.ndarray] = []
    errors: dict[str, list[np.ndarray]] = {"Gaussian": [], "[B; -DB; M]": []}
    noise = lab.generator.standard_normal((len(chosen), _M))
    for step in _STEPS:
        lab.note(f"{step:.0%} of the way to x_0")
        x = (1 - step) * chosen + step * sizes * low
        z = homfast.linear_relu(x, weight)
        active.append((z > 0).sum(axis=1))
        for name, each in (("Gaussian", weight), ("[B; -DB; M]", minimal)):
            z = homfast.linear_relu(x, each)
            level = np.linalg.norm(z, axis=1, keepdims=True) / np.sqrt(_M) * 10**-0.5
            noisy = np.maximum(z + (z > 0) * level * noise, 0.0)  # 10 dB
            found = np.stack([_least_squares(each, row) for row in noisy])
            errors[name].append(_relative(found, x))
    recovered = invert(minimal, homfast.linear_relu(chosen, minimal))
    first, second, gap = _collision(weight, low, chosen[0])
    measured = {
        "active": float((weight @ low >= 0).sum()) / _N,
        "collision": gap,
        "minimal": float(_relative(recovered, chosen).max()),
    }
    counts = np.array(active)
    medians = {name: np.median(values, axis=1) for name, values in errors.items()}
    numbers = {
        "steps": _STEPS, "active": counts, "median_errors": medians,
        "collision_distance": np.linalg.norm(first - second) / np.linalg.norm(first),
    }  # fmt: skip

    def draw(figure: Any) -> None:
        figure.set_size_inches(12.0, 3.6)
        grid = figure.add_gridspec(1, 5, width_ratios=(3, 3, 1.3, 1.3, 1.3))
        left, middle = figure.add_subplot(grid[0]), figure.add_subplot(grid[1])
        left.plot(_STEPS, counts, color=style.BLUE, lw=0.5, alpha=0.5)
        left.plot([], [], color=style.BLUE, label="40 digits")
        style.bound_line(left, _N, "n = 64: fewer cannot determine x")
        style.label(left, "Gaussian layer, m = 134", "way from digit to x_0", "active rows")
        for name, values in medians.items():
            middle.plot(_STEPS, values, "o-", label=name)
        middle.set_ylim(bottom=0)
        style.label(
            middle, "Least squares, 10 dB", "way from digit to x_0", "median relative error"
        )
        shown = ((first, "one image"), (second, "another"), (second - first, "difference"))
        for column, (image, title) in enumerate(shown):
            axis = figure.add_subplot(grid[2 + column])
            limit = np.abs(image).max()
            axis.imshow(image.reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
            axis.set_title(title, loc="left")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(False)
            axis.set_xlabel("same output" if column < 2 else f"largest {limit:.2g}")

    return Outcome(measured, numbers, draw)


def _least_squares(weight: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Of least norm on the active rows."""
    on = z > 0
    return np.linalg.lstsq(weight[on], z[on], rcond=None)[0]


def _relative(found: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found - x, axis=1) / np.linalg.norm(x, axis=1)


def _collision(
    weight: np.ndarray, low: np.ndarray, digit: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """x_0 with a digit mixed in, and another image with the same output."""
    share = 0.3
    while True:
        x = (1 - share) * low + share * digit / np.linalg.norm(digit)
        on = weight @ x >= 0
        if on.sum() < len(low) or share < 1e-6:
            break
        share *= 0.8
    kernel = np.linalg.svd(weight[on])[2][on.sum() :]
    towards = kernel.T @ (kernel @ digit)  # what active rows do not see of the digit
    rise = weight[~on] @ towards
    room = np.where(rise > 0, -(weight[~on] @ x) / np.where(rise > 0, rise, 1.0), np.inf)
    other = x + 0.99 * room.min() * towards
    gap = np.linalg.norm(np.maximum(weight @ x, 0) - np.maximum(weight @ other, 0))
    return x, other, float(gap / np.linalg.norm(x - other))
