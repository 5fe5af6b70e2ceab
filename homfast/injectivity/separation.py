"""Open half-spaces that contain given rows, or the rows that prove that there is none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from homfast._scipy import scipy_module

ROUNDING = 1e-12  # of a convex combination of unit rows


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
