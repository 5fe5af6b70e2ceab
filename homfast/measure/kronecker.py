"""Kronecker products: measurements of the rows and of the columns of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast import _arrays, _memory, _places
from homfast.measure.algebra import _Combination, dtypes_of
from homfast.measure.dense import Dense
from homfast.measure.operator import Operator


class Kronecker(_Combination):
    """``numpy.kron(a, b)``: the matrix X (n1, n2), as signal ``X.ravel()``, goes to a X b^T.

    Parameters
    ----------
    a, b : Operator or array
        Of shapes (m1, n1) and (m2, n2) and one dtype. Arrays become `Dense`.

    Raises
    ------
    TypeError
        Two dtypes, operators on real signals with complex measurements, what `Dense` refuses.

    Notes
    -----
    Products apply `b` to the rows of X, then `a` to its columns: m2 n1 n2 + m1 n1 m2
    multiplications for dense factors instead of m1 m2 n1 n2.

    Examples
    --------
    >>> from homfast.measure import Gaussian, Kronecker
    >>> Kronecker(Gaussian(4, 16), Gaussian(5, 9)).shape
    (20, 144)
    """

    def __init__(self, a: Any, b: Any):
        parts = tuple(_operator(each, name) for each, name in ((a, "a"), (b, "b")))
        if len({dtype for op in parts for dtype in (op.input_dtype, op.output_dtype)}) > 1:
            found = dtypes_of(parts)
            raise TypeError(f"a, b: got operators of {found}, wanted one dtype throughout")
        if any(op._batch_shape for op in parts):
            raise TypeError("a, b: got a batch of operators, wanted single ones, of op.operators")
        (m1, n1), (m2, n2) = (op.shape for op in parts)
        super().__init__(parts, (m1 * m2, n1 * n2), parts[0].dtype)

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        a, b = self._parts
        self._apply(rows, (a._forward_rows, *a.shape), (b._forward_rows, *b.shape), out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        a, b = self._parts
        self._apply(rows, (a._adjoint_rows, *a.shape[::-1]), (b._adjoint_rows, *b.shape[::-1]), out)

    def _apply(self, rows: np.ndarray, a: Any, b: Any, out: np.ndarray) -> None:
        (apply_a, m1, n1), (apply_b, m2, n2) = a, b
        batch = len(rows)
        matrices = np.ascontiguousarray(rows).reshape(batch * n1, n2)
        half = _memory.empty((batch * n1, m2), self.dtype, "Kronecker: half a product")
        apply_b(matrices, half)
        columns = np.ascontiguousarray(half.reshape(batch, n1, m2).swapaxes(1, 2))
        done = _memory.empty((batch * m2, m1), self.dtype)
        apply_a(columns.reshape(batch * m2, n1), done)
        out[...] = done.reshape(batch, m2, m1).swapaxes(1, 2).reshape(batch, m1 * m2)

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        a, b = self._parts
        (m1, n1), (m2, n2) = (op.shape[::-1] if adjoint else op.shape for op in (a, b))
        batch, place = rows.shape[0], at.place
        matrices = place.reshaped(place.contiguous(rows), (batch * n1, n2))
        half = at.empty((batch * n1, m2), self.dtype)
        b._device_rows(at, matrices, adjoint, half)
        columns = place.swapped(place.reshaped(half, (batch, n1, m2)))
        columns = place.reshaped(columns, (batch * m2, n1))
        done = at.empty((batch * m2, m1), self.dtype)
        a._device_rows(at, columns, adjoint, done)
        found = place.swapped(place.reshaped(done, (batch, m2, m1)))
        place.assign(out, place.reshaped(found, (batch, m1 * m2)))

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m1 m2, n1 n2)."""
        self._check_dense()
        return np.kron(self._parts[0].to_dense(), self._parts[1].to_dense())

    def norm(self, rtol: float = 1e-6) -> Any:
        """The product of the norms, each to half of `rtol`.

        As `Operator.norm`, from products with the whole, where a factor is not found to that.
        """
        share = rtol / 2 if _arrays.check_real(rtol, "rtol") < 1 else rtol
        try:
            return self._parts[0].norm(share) * self._parts[1].norm(share)
        except ValueError:  # names the share, which nobody passed
            return super().norm(rtol)

    def __repr__(self) -> str:
        return f"Kronecker({self._parts[0]!r}, {self._parts[1]!r})"


def _operator(factor: Any, name: str) -> Operator:
    if isinstance(factor, Operator):
        return factor
    if _places.place_of(factor).on_device:
        return Dense(factor)
    return Dense(_arrays.host_array(factor, name, (*_arrays.FLOATS, *_arrays.COMPLEX)))
