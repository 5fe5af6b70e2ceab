"""The inverse of an injective ReLU layer on its range."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays
from homfast._scipy import scipy_module
from homfast.injectivity.decision import balanced_layer, checked_layer
from homfast.injectivity.triangular import triangular

_KEPT = 1e-10  # singular values, of the largest, that count as full rank
_EVEN = 2.0**10  # entries whose rounding differs by less count alike
_FARTHEST_APART = 400  # powers of two between rows that count
_LARGEST = 2.0**400


def invert(weight: Any, z: Any, bias: Any = None) -> np.ndarray:
    """The x with ``relu(W x + b) = z`` for each row z, or the nearest in least squares.

    Parameters
    ----------
    weight : array, shape (m, n), float32 or float64
    z : array, shape (..., m), dtype of `weight`
        Entries >= 0: values of the layer, with or without noise. A row is active where its entry is
        not zero, however small: rows and biases may differ in size by any factor.
    bias : array, shape (m,), optional

    Returns
    -------
    array, shape (..., n), dtype of `weight`
        Computed in float64. Where z is a value of the layer but for the rounding of each entry, the
        x that has it, known as well as the entries that determine it: to about ``eps |b_i|`` over
        the size of row i. Otherwise, where the active rows determine x and the inactive ones agree,
        the least squares solution of the active rows, or else the solution of
        ``min |W_I x + b_I - z_I|^2`` subject to ``W_J x + b_J <= 0`` on the inactive rows J.

    Raises
    ------
    ValueError
        Shapes that do not match, values that are negative or not finite, rows that do not span R^n.
    ImportError
        Without SciPy, in the extra ``theory``.

    Notes
    -----
    The inverse of Puthawala et al., arXiv 2006.08464, with the inactive rows as constraints
    (derived here), which decide on the borders of cells. Where the active rows do not have full
    rank the constraints are met in least squares together with the equations, all rows scaled to
    one size; on exact values of an injective layer both vanish and the solution is x.
    """
    matrix, shift, _ = checked_layer(weight, bias)
    array = _arrays.host_array(z, "z")
    given = _arrays.host_array(weight, "weight")
    _arrays.check_same_dtype(given, "weight", array, "z")
    _arrays.check_last_axis(array, "z", len(matrix), f"weight {matrix.shape}")
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError("z: got entries that are negative or not finite, wanted values of a ReLU")
    n = matrix.shape[1]
    kept = matrix.any(axis=1)
    layer = _Layer.of(matrix, shift)
    rank = int(np.linalg.matrix_rank(layer.rows)) if kept.any() else 0
    if rank < n:
        raise ValueError(
            f"weight: got rank {rank}, wanted {n}: its rows do not span the space, so that no "
            "value determines x"
        )
    with np.errstate(over="ignore"):
        values = np.ldexp(array.reshape(-1, len(matrix)).astype(np.float64)[:, kept], layer.powers)
    if not (values <= _LARGEST).all():
        i, j = np.argwhere(~(values <= _LARGEST))[0]
        raise ValueError(
            f"z: entry {np.flatnonzero(kept)[j]} of row {i} is beyond {_LARGEST:.3g} times its row "
            "of weight, where squares overflow"
        )
    result = np.empty((len(values), n))
    patterns, which = np.unique(values > 0, axis=0, return_inverse=True)
    which = which.reshape(-1)
    for k, pattern in enumerate(patterns):
        members = np.flatnonzero(which == k)
        result[members] = _solve(layer, pattern, values[members], np.finfo(given.dtype).eps)
    result = np.ldexp(result, layer.units)
    return result.reshape(*array.shape[:-1], n).astype(given.dtype)


class _Layer(NamedTuple):
    """W and b with rows and columns of one size, which neither constraints nor exact values mind.

    x is ``2^units`` times what it is here, a value ``2^-powers``.
    """

    rows: np.ndarray
    shifts: np.ndarray
    norms: np.ndarray
    powers: np.ndarray
    units: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray, shift: np.ndarray) -> _Layer:
        rows, shifts, powers, units = balanced_layer(matrix, shift)
        return cls(rows, shifts, np.linalg.norm(rows, axis=1), powers, units)

    def rounding(self, x: np.ndarray) -> np.ndarray:
        """What a rounding of one moves in each value, at each point."""
        return np.linalg.norm(x, axis=-1)[..., None] * self.norms + np.abs(self.shifts)

    def explains(self, x: np.ndarray, active: np.ndarray, z: np.ndarray, eps: float) -> np.ndarray:
        """Whether z are the values at x, but for the rounding of each entry."""
        over = x @ self.rows.T + self.shifts - z
        error = np.where(active, np.abs(over), over)
        allowed = 4 * (self.rows.shape[1] + 4) * eps * self.rounding(x)
        return np.asarray((error <= allowed).all(axis=-1))


def _solve(layer: _Layer, active: np.ndarray, z: np.ndarray, eps: float) -> np.ndarray:
    """Solutions for values `z` (N, m) of one pattern of active units."""
    rows, targets = layer.rows[active], z[:, active] - layer.shifts[active]
    others, limits = layer.rows[~active], layer.shifts[~active]
    sizes = np.linalg.svd(rows, compute_uv=False) if len(rows) else np.zeros(0)
    if len(sizes) < rows.shape[1] or sizes[-1] <= _KEPT * sizes[0]:
        return np.array([_joint(rows, target, others, limits) for target in targets])
    inverse = np.linalg.pinv(rows)
    solved = targets @ inverse.T
    solved += (targets - solved @ rows.T) @ inverse.T
    exact = layer.explains(solved, active, z, eps)
    error = layer.rounding(solved)[:, active]
    uneven = error.max(axis=1) > _EVEN * error.min(axis=1)
    for i in np.flatnonzero(uneven):  # entries that know x better than others
        solved[i] = _by_the_surest(layer, active, z[i], targets[i])
        exact[i] = layer.explains(solved[i], active, z[i], eps)
    noisy = np.flatnonzero(~exact)
    if len(noisy) == 0:
        return solved
    # In least squares the sizes of the rows count: those that were given.
    powers = layer.powers[active]
    weighted = np.maximum(powers.min() - powers, -_FARTHEST_APART)[:, None]
    rows, wanted = np.ldexp(rows, weighted), np.ldexp(targets[noisy].T, weighted)
    factor, order, images = triangular(rows, wanted)
    solved[np.ix_(noisy, order)] = np.linalg.solve(factor, images).T
    violation = solved @ others.T + limits
    allowed = 1e-12 * layer.rounding(solved)[:, ~active]
    for i in noisy[(violation > allowed)[noisy].any(axis=1)]:
        nearest = _nearest(factor, others[:, order], limits, solved[i, order])
        if nearest is None:
            solved[i] = _joint(layer.rows[active], targets[i], others, limits)
        else:
            solved[i, order] = nearest
    return solved


def _by_the_surest(
    layer: _Layer, active: np.ndarray, z: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """The solution in which each equation counts by the inverse of its rounding."""
    rows = layer.rows[active]
    error = np.maximum(z, np.abs(layer.shifts))[active]
    for _ in range(2):  # the rounding asks for the size of x, which the first round tells
        error = np.maximum(error / error.max(), 2.0**-_FARTHEST_APART)
        factor, order, images = triangular(rows / error[:, None], (targets / error)[:, None])
        x = np.empty(rows.shape[1])
        x[order] = np.linalg.solve(factor, images[:, 0])
        error = layer.rounding(x)[active]
        if not error.all():
            break
    return x


def _nearest(
    factor: np.ndarray, others: np.ndarray, limits: np.ndarray, free: np.ndarray
) -> np.ndarray | None:
    """min |factor (x - free)| with others x + limits <= 0: least distance programming, or None.

    In u = factor (x - free) it is min |u| subject to G u <= h (Lawson and Hanson, Solving Least
    Squares Problems, chapter 23), in units of the largest distance to one constraint.
    """
    optimize = scipy_module("optimize", "homfast.injectivity.invert")
    constraints = -np.linalg.solve(factor.T, others.T).T  # G' u >= h'
    bounds = others @ free + limits
    norms = np.linalg.norm(constraints, axis=1)
    unit = float((bounds / norms).max())
    stacked = np.vstack([constraints.T, bounds / unit])
    stacked /= np.linalg.norm(stacked, axis=0)
    last = np.zeros(len(stacked))
    last[-1] = 1.0
    dual, _ = optimize.nnls(stacked, last)
    residual = stacked @ dual - last
    if np.linalg.norm(residual) < 1e-10 or residual[-1] == 0.0:
        return None
    return free + np.linalg.solve(factor, -residual[:-1] / residual[-1] * unit)


def _joint(
    rows: np.ndarray, target: np.ndarray, others: np.ndarray, limits: np.ndarray
) -> np.ndarray:
    """min |rows x - target|^2 + |others x + limits + s|^2 over x and s >= 0."""
    optimize = scipy_module("optimize", "homfast.injectivity.invert")
    both = np.vstack([rows, others])
    inverse = np.linalg.pinv(both)
    wanted = np.concatenate([target, -limits])
    if len(others) == 0:
        return inverse @ wanted
    slack = np.vstack([np.zeros((len(rows), len(others))), np.eye(len(others))])
    remove = np.eye(len(both)) - both @ inverse
    chosen, _ = optimize.nnls(remove @ slack, remove @ wanted, maxiter=100 * len(both))
    return inverse @ (wanted - slack @ chosen)
