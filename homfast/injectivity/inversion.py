"""The inverse of an injective ReLU layer on its range."""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast import _arrays
from homfast._scipy import scipy_module
from homfast.injectivity.decision import checked_layer

_ACTIVE = 1e-12  # of the largest entry of z, below which it is a zero that rounding moved
_KEPT = 1e-10  # singular values, of the largest, that count as full rank


def invert(weight: Any, z: Any, bias: Any = None) -> np.ndarray:
    """The x with ``relu(W x + b) = z`` for each row z, or the nearest in least squares.

    Parameters
    ----------
    weight : array, shape (m, n), float32 or float64
    z : array, shape (..., m), dtype of `weight`
        Entries >= 0: values of the layer, with or without noise.
    bias : array, shape (m,), optional

    Returns
    -------
    array, shape (..., n), dtype of `weight`
        Computed in float64. Where the active rows determine x and the inactive ones agree, the
        least squares solution of the active rows; otherwise the solution of
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
    rank the constraints are met in least squares together with the equations; on exact values of an
    injective layer both vanish and the solution is x.
    """
    matrix, shift, _ = checked_layer(weight, bias)
    array = _arrays.host_array(z, "z")
    given = _arrays.host_array(weight, "weight")
    _arrays.check_same_dtype(given, "weight", array, "z")
    _arrays.check_last_axis(array, "z", len(matrix), f"weight {matrix.shape}")
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError("z: got entries that are negative or not finite, wanted values of a ReLU")
    if np.linalg.matrix_rank(matrix) < matrix.shape[1]:
        raise ValueError(
            f"weight: got rank {np.linalg.matrix_rank(matrix)}, wanted {matrix.shape[1]}: its rows "
            "do not span the space, so that no value determines x"
        )
    rows = array.reshape(-1, len(matrix)).astype(np.float64)
    result = np.empty((len(rows), matrix.shape[1]))
    active = rows > _ACTIVE * rows.max(axis=1, keepdims=True, initial=0.0)
    patterns, which = np.unique(active, axis=0, return_inverse=True)
    which = which.reshape(-1)
    for k, pattern in enumerate(patterns):
        members = np.flatnonzero(which == k)
        result[members] = _solve(matrix, shift, pattern, rows[members])
    return result.reshape(*array.shape[:-1], matrix.shape[1]).astype(given.dtype)


def _solve(
    matrix: np.ndarray, shift: np.ndarray, active: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Solutions for rows `values` of one pattern of active units."""
    rows, targets = matrix[active], values[:, active] - shift[active]
    others, limits = matrix[~active], shift[~active]
    sizes = np.linalg.svd(rows, compute_uv=False) if len(rows) else np.zeros(0)
    determined = len(sizes) == matrix.shape[1] and sizes[-1] > _KEPT * sizes[0]
    if determined:
        solved = targets @ np.linalg.pinv(rows).T
        violation = (solved @ others.T + limits).max(axis=1, initial=-np.inf)
        scale = np.abs(limits).max(initial=0.0) + np.linalg.norm(solved, axis=1) * sizes[0]
        for i in np.flatnonzero(violation > 1e-12 * scale):
            solved[i] = _nearest(rows, targets[i], others, limits, solved[i])
        return solved
    return np.array([_joint(rows, target, others, limits) for target in targets])


def _nearest(
    rows: np.ndarray, target: np.ndarray, others: np.ndarray, limits: np.ndarray, free: np.ndarray
) -> np.ndarray:
    """min |rows x - target| with others x + limits <= 0: least distance programming.

    In u = R (x - free), with rows = Q R, it is min |u| subject to G u <= h (Lawson and Hanson,
    Solving Least Squares Problems, chapter 23); without a solution, the joint least squares.
    """
    optimize = scipy_module("optimize", "homfast.injectivity.invert")
    factor = np.linalg.qr(rows)[1]
    constraints = -np.linalg.solve(factor.T, others.T).T  # G' u >= h'
    bounds = others @ free + limits
    stacked = np.vstack([constraints.T, bounds])
    unit = np.zeros(len(stacked))
    unit[-1] = 1.0
    dual, _ = optimize.nnls(stacked, unit)
    residual = stacked @ dual - unit
    if np.linalg.norm(residual) < 1e-10 or residual[-1] == 0.0:
        return _joint(rows, target, others, limits)
    return free + np.linalg.solve(factor, -residual[:-1] / residual[-1])


def _joint(
    rows: np.ndarray, target: np.ndarray, others: np.ndarray, limits: np.ndarray
) -> np.ndarray:
    """min |rows x - target|^2 + |others x + limits + s|^2 over x and s >= 0."""
    optimize = scipy_module("optimize", "homfast.injectivity.invert")
    both = np.vstack([rows, others])
    inverse = np.linalg.pinv(both)
    wanted = np.concatenate([target, -limits])
    slack = np.vstack([np.zeros((len(rows), len(others))), np.eye(len(others))])
    remove = np.eye(len(both)) - both @ inverse
    if len(others) == 0:
        return inverse @ wanted
    chosen, _ = optimize.nnls(remove @ slack, remove @ wanted, maxiter=100 * len(both))
    return inverse @ (wanted - slack @ chosen)
