"""How far a ReLU layer keeps points apart: the lower Lipschitz constant kappa."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays
from homfast.construct.arguments import finite_matrix, real, whole
from homfast.injectivity.decision import balanced_layer
from homfast.injectivity.separation import EXACT, ROUNDING, separate
from homfast.injectivity.triangular import triangular

_WORK = 5e9  # of nodes m n^3, some seconds where n is large


class StabilityBounds(NamedTuple):
    """``lower <= kappa <= upper``, sigma* or an upper bound of it, and whether it is exact.

    Not `exact` where the search was cut or cells too thin to be looked at may hold a smaller sigma:
    `lower` counts those too, so that it holds whatever they are.
    """

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
        An angle, below 0.1, raised to 1e-12 at least: cells thinner than it are not entered, and
        the result is not `exact` where they matter. Those thinner than 1e-13 are taken as none:
        rows that are antiparallel but for rounding.
    seed : int
        Of the sampled cells that the search begins with.

    Returns
    -------
    StabilityBounds
        ``(lower, upper, sigma, exact)`` with sigma the smallest singular value, over all x, of the
        rows active at x; ``lower = sigma / 2``, ``upper = min(sigma, sigma_min(W) / 2)``. 0 where
        the layer is not injective.

    Raises
    ------
    TypeError, ValueError
        Unsupported dtypes and shapes, values that are not finite, a tolerance out of range.
    ImportError
        Without SciPy, in the extra ``theory``.

    Notes
    -----
    ``sigma / 2 <= kappa <= sigma``: derived here, and by Freeman and Haider, arXiv 2502.09898. It
    sharpens Theorem 8 of Puthawala et al., arXiv 2006.08464, which has ``sigma / sqrt(2m)`` below.
    ``kappa <= sigma_min(W) / 2`` (from x and -x) is derived here; ``[B; -B]`` attains it.
    """
    matrix, _ = finite_matrix(weight, "weight")
    limit = whole(node_limit, "node_limit", 0)
    tolerance = max(real(tolerance, "tolerance", 0.0, 0.1), ROUNDING)
    matrix = matrix[matrix.any(axis=1)]
    m, n = matrix.shape
    limit = min(limit, int(_WORK / max(m * n**3, 1)))
    half = _smallest(matrix) / 2
    if half == 0.0:
        return StabilityBounds(0.0, 0.0, 0.0, True)
    generator = np.random.default_rng(_arrays.check_seed(seed))
    points = generator.standard_normal((min(256, 16 * m), n))
    best = min(_smallest(matrix[matrix @ x >= 0]) for x in [-matrix.sum(axis=0), *points])
    units = np.ldexp(matrix, -np.frexp(np.abs(matrix).max(axis=1, keepdims=True))[1])
    units /= np.linalg.norm(units, axis=1, keepdims=True)

    # Depth first over signs of the rows in turn: more active rows only raise the singular value.
    start: np.ndarray = generator.standard_normal((n,))
    start /= np.linalg.norm(start)
    stack: list[tuple[int, np.ndarray, np.ndarray, float]] = [(0, np.zeros(m, bool), start, 0.0)]
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
                if point is None and found.proved and found.margin <= EXACT:
                    continue
            chosen = active.copy()
            chosen[k] = sign
            raised = _smallest(matrix[chosen]) if sign else value
            if point is None:  # a cell too thin, or rounding hides whether there is one
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
    """Smallest singular value as a map on R^n, at any sizes of rows and columns; 0 below rank n.

    Beside the largest one a small one is lost in rounding, though rows or columns of many sizes
    give it: then as ``1 / |R^-1|``, of a triangle whose inverse is known entry by entry.
    """
    n = rows.shape[1]
    if rows.shape[0] < n:
        return 0.0
    sizes = np.linalg.svd(rows, compute_uv=False)
    if sizes[-1] > 1e-10 * sizes[0]:
        return float(sizes[-1])
    even = balanced_layer(rows, np.zeros(len(rows)))[0]
    if np.linalg.matrix_rank(even) < n:
        return 0.0
    factor = triangular(rows, np.zeros((len(rows), 0)))[0]
    return 1.0 / float(np.linalg.norm(_inverse(factor), 2))


def _inverse(factor: np.ndarray) -> np.ndarray:
    """Of an upper triangle, by substitution."""
    n = len(factor)
    inverse = np.zeros((n, n))
    for i in range(n - 1, -1, -1):
        inverse[i] = -(factor[i, i + 1 :] @ inverse[i + 1 :])
        inverse[i, i] += 1.0
        inverse[i] /= factor[i, i]
    return inverse
