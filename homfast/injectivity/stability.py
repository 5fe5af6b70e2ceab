"""How far a ReLU layer keeps points apart: the lower Lipschitz constant kappa."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays
from homfast.construct.arguments import finite_matrix, whole
from homfast.injectivity.separation import separate

_WORK = 5e9  # of nodes m n^3, some seconds where n is large


class StabilityBounds(NamedTuple):
    """``lower <= kappa <= upper``, sigma* or an upper bound of it, and whether it is exact."""

    lower: float
    upper: float
    sigma: float
    exact: bool


def stability_bounds(
    weight: Any, *, node_limit: int = 20_000, tolerance: float = 1e-9, seed: int = 0
) -> StabilityBounds:
    """Bounds of the largest kappa with ``|relu(Wx) - relu(Wy)| >= kappa |x - y|`` for all x, y.

    Parameters
    ----------
    weight : array, shape (m, n), float32 or float64
    node_limit : int
        Partial sign patterns to visit at most, also bounded so that large n end; beyond it the
        bounds are valid but not `exact`.
    tolerance : float
        Cells thinner than it are ignored.
    seed : int
        Of the sampled cells that the search begins with.

    Returns
    -------
    StabilityBounds
        ``(lower, upper, sigma, exact)`` with sigma the smallest singular value, over all x, of the
        rows active at x; ``lower = sigma / 2``, ``upper = min(sigma, sigma_min(W) / 2)``. 0 where
        the layer is not injective.

    Notes
    -----
    ``sigma / 2 <= kappa <= sigma``: derived here, and by Freeman and Haider, arXiv 2502.09898. It
    sharpens Theorem 8 of Puthawala et al., arXiv 2006.08464, which has ``sigma / sqrt(2m)`` below.
    ``kappa <= sigma_min(W) / 2`` (from x and -x) is derived here; ``[B; -B]`` attains it.
    """
    matrix, _ = finite_matrix(weight, "weight")
    limit = whole(node_limit, "node_limit", 0)
    matrix = matrix[np.linalg.norm(matrix, axis=1) > 0]
    m, n = matrix.shape
    limit = min(limit, int(_WORK / max(m * n**3, 1)))
    if m < n or np.linalg.matrix_rank(matrix) < n:
        return StabilityBounds(0.0, 0.0, 0.0, True)
    half = float(np.linalg.svd(matrix, compute_uv=False)[-1]) / 2
    generator = np.random.default_rng(_arrays.check_seed(seed))
    points = generator.standard_normal((min(256, 16 * m), n))
    best = min(_smallest(matrix[matrix @ x >= 0]) for x in [-matrix.sum(axis=0), *points])
    units = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)

    # Depth first over signs of the rows in turn: more active rows only raise the singular value.
    start = generator.standard_normal(n)
    stack = [(0, np.zeros(m, bool), start / np.linalg.norm(start), 0.0)]
    nodes, unsure = 0, np.inf
    while stack:
        if nodes >= limit:
            below = min([best, unsure, *(value for *_, value in stack)])
            return StabilityBounds(below / 2, min(best, half), best, False)
        k, active, x, value = stack.pop()
        nodes += 1
        if value >= best:
            continue
        if k == m:
            best = value
            continue
        signs = np.where(active[:k], -1.0, 1.0)[:, None]
        for sign in (True, False):
            inside = (units[k] @ x > tolerance) if sign else (units[k] @ x < -tolerance)
            point: np.ndarray | None = x
            if not inside:
                flipped = np.vstack([signs * units[:k], (-1.0 if sign else 1.0) * units[k]])
                found = separate(flipped, tolerance)
                point = found.x
                if point is None and found.proved:
                    continue
            chosen = active.copy()
            chosen[k] = sign
            raised = _smallest(matrix[chosen]) if sign else value
            if point is None:  # rounding hides whether there is such a cell
                unsure = min(unsure, raised)
            elif raised < best:
                stack.append((k + 1, chosen, point, raised))
    return StabilityBounds(min(best, unsure) / 2, min(best, half), best, unsure >= best)


def empirical_stability(weight: Any, *, trials: int = 64, steps: int = 400, seed: int = 0) -> float:
    """The smallest ``|relu(Wx) - relu(Wy)| / |x - y|`` that a random search meets, >= kappa.

    Parameters
    ----------
    weight : array, shape (m, n)
    trials, steps : int
        Searches, and proposals in each; they begin at random pairs, at x and -x along the least
        singular vector, and at pairs that straddle a random point.
    seed : int

    Returns
    -------
    float
    """
    matrix, _ = finite_matrix(weight, "weight")
    trials, steps = whole(trials, "trials", 3), whole(steps, "steps", 0)
    generator = np.random.default_rng(_arrays.check_seed(seed))
    n = matrix.shape[1]
    first = generator.standard_normal((trials, n))
    second = generator.standard_normal((trials, n))
    least = np.linalg.svd(matrix, full_matrices=True)[2][-1]
    first[0], second[0] = least, -least
    for i in range(1, trials // 2):
        active = matrix[matrix @ first[i] >= 0]
        weak = np.linalg.svd(active, full_matrices=True)[2][-1] if len(active) else least
        second[i] = first[i] + 1e-3 * weak
        first[i] -= 1e-3 * weak

    def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        change = np.maximum(a @ matrix.T, 0) - np.maximum(b @ matrix.T, 0)
        apart = np.linalg.norm(a - b, axis=1)
        whole_change = np.linalg.norm(change, axis=1)
        return np.divide(
            whole_change, apart, out=np.full(len(a), np.inf), where=apart > 1e-6 * (1 + 0 * apart)
        )

    values = ratio(first, second)
    for step in range(steps):
        spread = 0.5 * 0.985**step * np.linalg.norm(first - second, axis=1, keepdims=True)
        a = first + spread * generator.standard_normal(first.shape) / np.sqrt(n)
        b = second + spread * generator.standard_normal(first.shape) / np.sqrt(n)
        found = ratio(a, b)
        better = found < values
        first[better], second[better], values[better] = a[better], b[better], found[better]
    return float(values.min())


def _smallest(rows: np.ndarray) -> float:
    """Smallest singular value as a map on R^n; 0 with fewer than n rows."""
    if rows.shape[0] < rows.shape[1]:
        return 0.0
    return float(np.linalg.svd(rows, compute_uv=False)[-1])
