"""Batched solvers on forward and adjoint: sparse recovery, and a start for phase retrieval.

They are thin; SciPy's and PyLops' own solvers take ``op.to_scipy()`` and ``op.to_pylops()``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast import _arrays
from homfast._backends.streams import PROBE
from homfast.measure.normal import normal_block
from homfast.measure.operator import Operator
from homfast.measure.spectral_norm import exponents_of, times_two_to, unit_rows

__all__ = ["fista", "spectral_init"]

_ALL = (*_arrays.FLOATS, *_arrays.COMPLEX)


def fista(
    op: Operator,
    y: Any,
    *,
    regularization: Any,
    iterations: int = 100,
    step: float | None = None,
    start: Any = None,
) -> Any:
    """Sparse recovery, ``argmin_x |A x - y|^2 / 2 + regularization |x|_1``, for each row y.

    Parameters
    ----------
    op : Operator, shape (m, n)
    y : array, shape (..., m), output dtype of `op`
    regularization : float or array of shape (...)
        Not negative; of each row if an array. At ``max |A^H y|`` and above the answer is 0.
    iterations : int
        Each costs a forward and an adjoint product.
    step : float, optional
        At most ``1 / |A|^2``, which it is by default, with a per mille to spare: `op.norm` is
        called, for each of a batch of operators.
    start : array, shape (..., n), optional
        Where to begin, 0 by default.

    Returns
    -------
    array, shape (..., n), of the library of `y`

    Raises
    ------
    TypeError, ValueError
        As ``op.adjoint``; a negative regularization or step, a step that is no normal number in the
        precision of `op`, fewer than 0 iterations. A finite row whose result is not: `step` is too
        large, or the scale of the row or of `op`.

    Notes
    -----
    FISTA: Beck and Teboulle, SIAM J. Imaging Sci. 2, 2009, with constant step; the objective is
    within ``2 |x0 - x|^2 / (step (k + 1)^2)`` of the minimum after k iterations. Complex signals
    shrink in magnitude.

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.measure import Gaussian, solvers
    >>> op = Gaussian(30, 60, seed=1)
    >>> x = np.zeros(60, np.float32)
    >>> x[[7, 30]] = 1, -2
    >>> found = solvers.fista(op, op(x), regularization=1e-3, iterations=300)
    >>> bool(abs(found - x).max() < 0.01)
    True
    """
    measured = _rows_of(op, y)
    batch = measured.shape[:-1]
    real = _arrays.real_dtype(op.input_dtype)
    weights = _check_weights(regularization, batch, real)
    _check_iterations(iterations)
    size = _default_steps(op, real, len(batch)) if step is None else _given_step(step, real)
    x = np.zeros((*batch, op.shape[1]), op.input_dtype)
    if start is not None:
        given = _arrays.host_array(start, "start", _ALL)
        if given.dtype != op.input_dtype or given.shape != x.shape:
            raise ValueError(
                f"start: got {given.dtype} {given.shape}, wanted {op.input_dtype} {x.shape}"
            )
        x[...] = given
    finite = _finite_rows(measured) & _finite_rows(x)
    point, momentum = x, 1.0
    with np.errstate(over="ignore", invalid="ignore"):  # said below
        for _ in range(iterations):
            gradient = op.adjoint(op.forward(point) - measured)
            found = _shrink(point - size * gradient, size * weights)
            following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            point = found + real.type((momentum - 1) / following) * (found - x)
            x, momentum = found, following
    if not _finite_rows(x)[finite].all():
        blamed, fix = f"step: got {step}, with which", "at most 1 / op.norm() ** 2, a finite number"
        if step is None:
            blamed, fix = "y: got a row of which", "another scale of y, or of op"
        raise ValueError(f"{blamed} the iterates went beyond the range of {real}; wanted {fix}")
    return _arrays.result_like(x, y)


def spectral_init(
    op: Operator, y: Any, *, iterations: int = 50, truncation: float = 9.0, seed: int = 0
) -> Any:
    """A start for phase retrieval from intensities ``y = |A x|^2``, each row y.

    The leading eigenvector of ``A^H diag(T(y)) A`` by power iteration, T cutting off what is above
    `truncation` means of y, scaled such that its intensities have the mean of y.

    Parameters
    ----------
    op : Operator, shape (m, n)
        A, random enough for E[A^H A] = I; complex or real.
    y : array, shape (..., m), real, in the precision of `op`
        Intensities, not negative.
    iterations : int
        Each costs a forward and an adjoint product.
    truncation : float
        Above 0; infinity for the plain spectral method.
    seed : int, 0 <= seed < 2^64
        Of the random vector that the iteration starts from.

    Returns
    -------
    array, shape (..., n), input dtype of `op`, of the library of `y`
        Known up to a sign, or a phase. 0 where y is 0, or nothing but 0 is below the truncation.

    Raises
    ------
    TypeError
        Another dtype.
    ValueError
        Another last axis, a negative or non-finite intensity, an argument out of range, products
        of `op` that overflow, a result that is beyond the range.

    Notes
    -----
    Netrapalli, Jain, Sanghavi, NeurIPS 2013; Chen and Candes, Comm. Pure Appl. Math. 70, 2017, for
    the truncation, with 3^2 as there. Refine by gradient steps with `Intensity` or `Magnitude`.
    What is between the products is kept about 1 by powers of two: scale `op`, or a row, by some,
    and the bits of the direction are those it had.

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.measure import Gaussian, Intensity, solvers
    >>> op = Gaussian(400, 20, seed=1)
    >>> x = np.ones(20, np.float32)
    >>> found = solvers.spectral_init(op, Intensity(op)(x))
    >>> bool(abs(found @ x) > 0.9 * np.linalg.norm(found) * np.linalg.norm(x))
    True
    """
    _check_operator(op)
    real = _arrays.real_dtype(op.output_dtype)
    measured = _arrays.host_array(y, "y")
    if measured.dtype != real:
        raise TypeError(f"y: got {measured.dtype}, wanted {real}, real and in the precision of op")
    _arrays.check_last_axis(measured, "y", op.shape[0], f"the operator of shape {op.shape}")
    op._check_batch(measured.shape[:-1], "y")
    if not (np.isfinite(measured).all() and (measured >= 0).all()):
        raise ValueError("y: got an intensity that is negative or not finite")
    _check_iterations(iterations)
    _check_positive(truncation, "truncation")
    batch = measured.shape[:-1]
    probe = normal_block(
        PROBE, _arrays.check_seed(seed), range(2, 3), range(op.shape[1]), op.input_dtype
    )
    with np.errstate(all="ignore"):
        measured = np.ascontiguousarray(measured)  # else the order of the sums is another
        halves = exponents_of(measured) // 2 - 30  # to 2^62 at most: next to nothing underflows
        measured = times_two_to(measured, -2 * halves)
        mean = _mean(measured)
        brightness = np.where(mean > 0, mean, 1)
        weights = np.where(measured <= truncation * mean, measured, 0) / brightness
        start = np.ascontiguousarray(np.broadcast_to(probe[0], (*batch, op.shape[1])))
        x = unit_rows(start)
        weights = times_two_to(weights, -exponents_of(op.forward(x)))  # for products about 1
        for _ in range(iterations):
            x = unit_rows(op.adjoint(weights * op.forward(x)))
        image = op.forward(x)
        if not np.isfinite(image).all():
            raise _overflow(op)
        exponents = exponents_of(image)
        mine = _mean(np.square(np.abs(times_two_to(image, -exponents))))
        scale = np.sqrt(mean / np.where(mine > 0, mine, 1)).astype(real)
        return _arrays.result_like(_scaled_back(scale * x, halves - exponents), y)


def _check_operator(op: Any) -> None:
    if not isinstance(op, Operator):
        raise TypeError(
            f"op: got {type(op).__name__}, wanted a linear operator of homfast.measure; give "
            "Dense(matrix) for a matrix, and the operator within for Magnitude or Intensity"
        )


def _rows_of(op: Operator, y: Any) -> np.ndarray:
    _check_operator(op)
    measured = op._check_on_host(
        y if isinstance(y, np.ndarray) else _arrays.host_array(y, "y", _ALL), "y", op.output_dtype
    )
    _arrays.check_last_axis(measured, "y", op.shape[0], f"the operator of shape {op.shape}")
    op._check_batch(measured.shape[:-1], "y")
    return measured


def _check_positive(value: Any, name: str) -> float:
    number = _arrays.check_real(value, name, "a number above 0")
    if not number > 0:
        raise ValueError(f"{name}: got {value}, wanted a number above 0")
    return number


def _check_weights(regularization: Any, batch: tuple[int, ...], real: np.dtype) -> np.ndarray:
    """The regularization of each row, (..., 1)."""
    array = np.asarray(regularization)
    if array.dtype.kind not in "iuf":
        raise TypeError(
            f"regularization: got {regularization!r}, wanted a number, or an array of one a row"
        )
    if array.shape not in ((), batch):
        raise ValueError(
            f"regularization: got shape {array.shape}, wanted a number, or shape {batch}, one for "
            "each row of y"
        )
    if not (array >= 0).all():
        raise ValueError("regularization: got a negative number or NaN, wanted at least 0")
    with np.errstate(over="ignore"):
        return np.broadcast_to(array.astype(real), batch)[..., None]


def _check_iterations(iterations: Any) -> None:
    if isinstance(iterations, (bool, np.bool_)) or not isinstance(iterations, (int, np.integer)):
        raise TypeError(f"iterations: got {iterations!r}, wanted an integer")
    if iterations < 0:
        raise ValueError(f"iterations: got {iterations}, wanted at least 0")


def _shrink(x: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Soft thresholding, in magnitude."""
    if x.dtype.kind == "f":
        return np.sign(x) * np.maximum(np.abs(x) - threshold, 0)
    size = np.abs(x)
    return x * (np.maximum(size - threshold, 0) / np.where(size > 0, size, 1))


def _default_steps(op: Operator, real: np.dtype, axes: int) -> np.ndarray:
    """1 / norm^2, with `axes` and one more for a batch of operators; 1 for operators that are 0."""
    norm = np.asarray(op.norm(1e-3))
    if not np.isfinite(norm).all():
        raise _overflow(op)
    norm = norm.reshape(*norm.shape, *(1,) * (axes + 1 - norm.ndim))
    with np.errstate(all="ignore"):
        steps = np.where(norm > 0, 1 / (1.001 * np.where(norm > 0, norm, 1)) ** 2, 1).astype(real)
    if not _normal(steps):
        raise ValueError(
            f"op: got an operator of norm {norm.max():.3g}, whose step 1 / norm^2 is beyond the "
            f"range of {real}; wanted one of norm about 1: scale it and y"
        )
    return steps


def _given_step(step: Any, real: np.dtype) -> np.ndarray:
    number = _check_positive(step, "step")
    with np.errstate(all="ignore"):
        rounded = np.asarray(number).astype(real)
    if not _normal(rounded):
        raise ValueError(
            f"step: got {step}, wanted a finite number from {np.finfo(real).tiny:.2g} to "
            f"{np.finfo(real).max:.2g}, those of {real}, at most 1 / op.norm() ** 2, which is the "
            "default; scale op and y if that is no such number"
        )
    return rounded


def _normal(steps: np.ndarray) -> bool:
    """Whether they are finite and have all their digits."""
    return bool((np.isfinite(steps) & (steps >= np.finfo(steps.dtype).tiny)).all())


def _finite_rows(rows: np.ndarray) -> np.ndarray:
    """Whether each row is finite, (...)."""
    return np.isfinite(rows).all(axis=-1)


def _mean(rows: np.ndarray) -> np.ndarray:
    """The mean of each row, (..., 1); 0 of nothing."""
    return rows.sum(axis=-1, keepdims=True) / max(rows.shape[-1], 1)


def _scaled_back(rows: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """The rows times 2^k; ValueError where one becomes infinite or, being something, 0."""
    result = times_two_to(rows, exponents)
    if not (np.isfinite(result).all() and (result.any(axis=-1) | ~rows.any(axis=-1)).all()):
        limits = np.finfo(rows.dtype)
        raise ValueError(
            f"y: got a row whose result is beyond the range of {rows.dtype}, from "
            f"{limits.smallest_subnormal:.2g} to {limits.max:.2g}; scale y or the operator"
        )
    return result


def _overflow(op: Operator) -> ValueError:
    return ValueError(
        f"op: got products that are not finite in {op.dtype}; scale the operator, if its entries "
        "are finite"
    )
