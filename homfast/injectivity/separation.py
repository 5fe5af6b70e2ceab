"""Open half-spaces, points below hyperplanes, or the rows that prove that there is none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from homfast._scipy import scipy_module

ROUNDING = 1e-12  # of a convex combination of unit rows
EXACT = 1e-14  # what is left of one that vanishes


class Separation(NamedTuple):
    """Either a unit x with ``<row, x> <= -margin < 0`` for all rows, or rows that exclude one.

    x : array (d,), or None; margin : float, the distance of 0 to the hull of the rows, 0 if none
    and at most the tolerance where a half-space this thin is ignored;
    blocking : indices of at most d + 1 rows of which no half-space holds all; proved : whether one
    of the two was met beyond rounding, otherwise nothing is known.
    """

    x: np.ndarray | None
    margin: float
    blocking: np.ndarray
    proved: bool = True


def separate(rows: np.ndarray, tolerance: float) -> Separation:
    """Gordan's alternative for unit `rows` (k, d), by non-negative least squares.

    The residual r of ``min |sum_j lambda_j (row_j, 1) - (0, 1)|`` over lambda >= 0 gives both:
    where it vanishes, lambda is the certificate, otherwise r separates, by the optimality
    conditions. Both are checked: ``|sum_j lambda_j row_j| / sum_j lambda_j`` bounds the margin of
    every half-space, and that of r is evaluated.
    """
    optimize = scipy_module("optimize", "homfast.injectivity")
    count, dimension = rows.shape
    if count == 0:
        return Separation(np.eye(dimension)[0], np.inf, np.arange(0))
    matrix = np.vstack([rows.T, np.ones(count)])
    target = np.zeros(dimension + 1)
    target[-1] = 1.0
    try:
        multipliers, _ = optimize.nnls(matrix, target, maxiter=50 * (count + dimension))
    except RuntimeError:  # too many iterations
        return Separation(None, 0.0, np.arange(0), proved=False)
    residual = target - matrix @ multipliers
    blocking = np.flatnonzero(multipliers > 0)
    direction = residual[:-1]
    size = float(np.linalg.norm(direction))
    proved = bool(size <= max(tolerance * (1 + 1e-6), ROUNDING) * multipliers.sum())
    if size <= 1e-13:
        return Separation(None, 0.0, blocking)
    if size < 1e-4:  # squares of it fall below rounding: solve on the touching rows
        direction = np.linalg.lstsq(rows[blocking], -np.ones(len(blocking)), rcond=None)[0]
        size = float(np.linalg.norm(direction))
        if size == 0.0:
            return Separation(None, 0.0, blocking, proved)
    direction = direction / size
    margin = float(-(rows @ direction).max())
    if margin <= tolerance:
        return Separation(None, max(margin, 0.0), blocking, proved)
    return Separation(direction, margin, blocking)


def bias_scales(shifts: np.ndarray, apart: float = 8.0) -> np.ndarray:
    """Sizes of the biases of unit rows, largest first, so that each is `apart` at most below one.

    At a scale this many times too large a cell looks thinner by as much. [1] without biases.
    """
    left = np.sort(np.abs(shifts[shifts != 0]))
    scales = []
    while len(left):
        scales.append(left[-1])
        left = left[left < left[-1] / apart]
    return np.array(scales or [1.0])


def separate_affine(
    units: np.ndarray, shifts: np.ndarray, scales: np.ndarray, tolerance: float
) -> Separation:
    """`separate` for ``<unit, x> + shift <= 0``: x a point (d,), or rows of which one is positive.

    A point (x, t) of the cone over R^d is looked for at each scale of t in turn: in units of a far
    bias the cells between near ones are as thin as rounding. What proves that there is none knows
    no scale: with ``lambda >= 0`` it is the larger of ``|sum lambda_j unit_j| / sum lambda_j`` and
    ``-sum lambda_j shift_j / sum lambda_j |shift_j|``. Turning each row and changing each bias,
    relative to itself, by that much makes the proof exact. This is the margin where x is None.
    """
    optimize = scipy_module("optimize", "homfast.injectivity")
    count, dimension = units.shape
    last = -np.eye(dimension + 1)[-1:]  # t > 0
    target = np.eye(dimension + 2)[-1]
    nearest = Separation(None, np.inf, np.arange(0), proved=False)
    for scale in scales:
        rows = np.column_stack([units, shifts / scale])
        norms = np.linalg.norm(rows, axis=1)
        rows = np.vstack([rows / norms[:, None], last])
        matrix = np.vstack([rows.T, np.ones(count + 1)])
        try:
            multipliers, _ = optimize.nnls(matrix, target, maxiter=50 * (count + dimension))
        except RuntimeError:  # too many iterations
            continue
        touching = np.flatnonzero(multipliers > 0)
        direction = (target - matrix @ multipliers)[:-1]
        if np.linalg.norm(direction) < 1e-4:
            direction = np.linalg.lstsq(rows[touching], -np.ones(len(touching)), rcond=None)[0]
        size = float(np.linalg.norm(direction))
        margin = float(-(rows @ direction).max()) / size if size > 0 else 0.0
        if margin > tolerance:
            x = direction[:-1] * (scale / direction[-1])
            return Separation(x, margin, touching)
        weights = multipliers[:-1] / norms
        if not weights.any():
            continue
        error = float(np.linalg.norm(weights @ units) / weights.sum())
        short, terms = -float(weights @ shifts), float(weights @ np.abs(shifts))
        if short > 0:
            error = max(error, short / terms)
        if error < nearest.margin:
            proved = error <= max(tolerance * (1 + 1e-6), ROUNDING)
            nearest = Separation(None, error, np.flatnonzero(weights > 0), proved)
        if error <= ROUNDING:
            break
    return nearest
