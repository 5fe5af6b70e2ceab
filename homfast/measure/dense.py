"""Operators given by a matrix that is held in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast import _arrays, _places
from homfast.measure import on_device
from homfast.measure.operator import Operator
from homfast.measure.packed import PackedMatrix
from homfast.measure.sparse_input import through_columns
from homfast.measure.views import RealInput


class Dense(Operator):
    """The operator of a matrix.

    Parameters
    ----------
    matrix : array, shape (m, n), float32, float64, complex64 or complex128
        It is copied. Nothing is scaled. Products take rows from where it is, the CPU or a device.
    real_input : bool
        A complex matrix on real signals: the result is a `RealInput`.

    Raises
    ------
    TypeError
        An unsupported dtype, an array on another device, a list, a masked array; `real_input` of a
        real matrix.
    ValueError
        Not two axes.

    Examples
    --------
    >>> import numpy as np, homfast
    >>> op = homfast.measure.Dense(np.float32([[1, 2, 3], [4, 5, 6]]))
    >>> op(np.float32([1, 0, -1])), op.adjoint(np.float32([1, 1]))
    (array([-2., -2.], dtype=float32), array([5., 7., 9.], dtype=float32))
    """

    def __new__(cls, matrix: Any, *, real_input: bool = False) -> Any:
        if _arrays.check_flag(real_input, "real_input"):
            return RealInput(cls(matrix))
        return super().__new__(cls)

    def __init__(self, matrix: Any, *, real_input: bool = False):
        self._place = place = _places.place_of(matrix)
        array = place.checked_array(matrix, "matrix", (*_arrays.FLOATS, *_arrays.COMPLEX))
        _arrays.check_matrix(array, "matrix", "(m, n)")
        super().__init__(array.shape, array.dtype)
        if place.on_device:
            on_device.check(self, matrix, "matrix", self.dtype, place)
        self._packed: Any = (
            on_device.DeviceMatrix(array) if place.on_device else PackedMatrix(place.copied(array))
        )

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._packed.forward_rows(rows, out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._packed.adjoint_rows(rows, out)

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        at.check_beside(self._packed.array, "matrix")
        self._packed.product(at, rows, adjoint, out)

    def _forward_sparse_rows(
        self, indices: np.ndarray, values: np.ndarray, out: np.ndarray
    ) -> None:
        through_columns(lambda j: self._packed.array[:, j].T, indices, values, out)

    def to_dense(self) -> np.ndarray:
        """A copy of the matrix, shape (m, n), where it is."""
        seen = self._place.checked_array(self._packed.array, "matrix", (self.dtype,))
        return self._place.copied(seen)

    def rows(self, i0: int, i1: int) -> Dense:
        """The operator of rows i0 <= i < i1, which are copied."""
        i0, i1 = self._check_range(i0, i1)
        return Dense(self._packed.array[i0:i1])

    def __eq__(self, other: Any) -> bool:
        """Whether the other is a `Dense` with the same matrix, NaN equal to NaN."""
        if not isinstance(other, Dense) or self.dtype != other.dtype:
            return False
        if self._place is not other._place:
            return False
        mine, others = (op._place.to_host(op._packed.array) for op in (self, other))
        return np.array_equal(mine, others, equal_nan=True)

    __hash__ = Operator.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return Dense, (self._packed.array,)
