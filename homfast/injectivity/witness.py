"""Pairs of points that a layer maps to one: how they are found fast, made, and verified."""

from __future__ import annotations

import numpy as np

from homfast.injectivity.separation import bias_scales
from homfast.layers import linear

_ROUNDS = 40
_SCALES = 8  # of the biases that the quick search looks at
_EPS = np.finfo(np.float64).eps


def verified_pair(
    weight: np.ndarray, bias: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """x and another point with the same ``relu(W x + b)``, checked by evaluation, or None."""
    values = weight @ x + bias
    norms = np.linalg.norm(weight, axis=1)
    active = values >= -1e-14 * (norms * np.linalg.norm(x) + np.abs(bias))
    n = weight.shape[1]
    direction = np.eye(n)[0]
    if active.any():
        units = weight[active] / norms[active][:, None]
        _, sizes, basis = np.linalg.svd(units, full_matrices=True)
        if len(sizes) == n and sizes[-1] > 1e-12 * np.sqrt(n):
            return None
        direction = basis[-1]
        least = 1e-12 * np.sqrt(n)
        seen = np.linalg.lstsq(units, units @ direction, rcond=min(1.0, least / sizes[0]))[0]
        direction = direction - seen  # what rounding left in it of the rows
        direction[np.abs(direction) <= 4 * n * _EPS] = 0.0
        # Of the direction itself: beside large points its image hides in their rounding.
        if np.abs(units @ direction).max() > (8 + n) * _EPS * sizes[0]:
            return None
    slopes = weight[~active] @ direction
    room = -values[~active]
    best = 0.0
    for sign in (1.0, -1.0):
        rising = sign * slopes > 0
        steps = room[rising] / (sign * slopes[rising])
        step = 0.9 * min(float(steps.min(initial=np.inf)), 1e3 * max(1.0, float(np.linalg.norm(x))))
        if step > abs(best):
            best = sign * step
    pair = x, x + best * direction
    return pair if is_collision(weight, bias, pair) else None


def is_collision(weight: np.ndarray, bias: np.ndarray, pair: tuple[np.ndarray, np.ndarray]) -> bool:
    """Whether the layer maps the two points to one but for rounding, though they differ.

    Rounding is that of the evaluation itself, ``gamma (|W| |x| + |b|)`` in each component.
    """
    points = np.stack(pair)
    extended = np.column_stack([points, np.ones(2)])
    stacked = np.column_stack([weight, bias])
    values = np.maximum(linear(extended, stacked), 0.0)
    apart = float(np.linalg.norm(points[0] - points[1]))
    allowed = (4 + len(points[0])) * _EPS * (np.abs(extended) @ np.abs(stacked).T).sum(axis=0)
    far = apart > 1e3 * _EPS * float(np.linalg.norm(points, axis=1).max())
    return bool(far and (np.abs(values[0] - values[1]) <= allowed).all())


def falsify(
    weight: np.ndarray, bias: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """A verified pair where few rows are active, if a quick search meets one.

    It looks at minus the sum of the unit rows (the direction of Theorem 20 of Puthawala et al.,
    arXiv 2006.08464), and from random points descends in the number of active rows.
    """
    m, n = weight.shape
    units = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    shifts = bias / np.linalg.norm(weight, axis=1)
    mean = units.sum(axis=0)
    size = np.linalg.norm(mean)
    mean = mean / size if size > 0 else np.eye(n)[0]
    count = int(np.clip(4e6 / (m * n), 4, 512))
    points = np.vstack([-mean, mean, generator.standard_normal((count, n)) / np.sqrt(n)])
    if shifts.any():
        radii = np.outer(bias_scales(shifts, 1024.0)[:_SCALES], (0.3, 2.0, 30.0)).ravel()
        points = np.vstack([radius * points for radius in radii])

    def active(candidates: np.ndarray) -> np.ndarray:
        return (candidates @ units.T + shifts >= 0).sum(axis=1)

    numbers = active(points)
    for round_ in range(_ROUNDS + 1):
        order = np.argsort(numbers, kind="stable")[:32]
        points, numbers = points[order], numbers[order]
        for x in points[: 4 if round_ else 32][numbers[: 4 if round_ else 32] <= max(n, m // 4)]:
            pair = verified_pair(weight, bias, x)
            if pair is not None:
                return pair
        spread = 0.5 * 0.93**round_ * np.linalg.norm(points, axis=1, keepdims=True) / np.sqrt(n)
        tries = max(1, count // 32)
        noise = generator.standard_normal((tries, *points.shape))
        moved = (points + spread * noise).reshape(-1, n)
        points = np.vstack([points, moved])
        numbers = np.concatenate([numbers, active(moved)])
    return None
