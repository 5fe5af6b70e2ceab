"""Entries of a matrix at given places: matrix completion."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from homfast import _arrays
from homfast.measure import on_device
from homfast.measure.low_rank import MatrixMeasurements, check_matrix_shape
from homfast.measure.operator import Operator


class Entries(MatrixMeasurements):
    """y_i = X[r_i, c_i], the entries of a matrix at given places; nothing is scaled.

    Parameters
    ----------
    indices : integer array, shape (m, 2) or (m,)
        Pairs (row, column), or places in ``X.ravel()``. A place may come more than once.
    shape : (int, int)
        (d1, d2) of the matrices X; signals are ``X.ravel()``, n = d1 d2.
    dtype : float32, float64, complex64 or complex128

    Raises
    ------
    TypeError
        Indices that are no integers, `shape` is not two integers, another dtype.
    ValueError
        An index out of range, another shape of `indices`.

    Notes
    -----
    The adjoint adds what was measured at one place, in the order of the indices. `forward_factors`
    and `vjp_factors` take X = U V^T without forming it. Candes and Recht, Found. Comput. Math. 9,
    2009.

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.measure import Entries
    >>> op = Entries(np.array([[0, 2], [1, 0]]), (2, 3))
    >>> op(np.float32([1, 2, 3, 4, 5, 6]))
    array([3., 4.], dtype=float32)
    """

    def __init__(self, indices: Any, shape: tuple[int, int], *, dtype: Any = np.float32):
        self._matrix_shape = check_matrix_shape(shape)
        d1, d2 = self._matrix_shape
        flat = _flat_indices(indices, d1, d2)
        dtype = _arrays.check_float_dtype(dtype, (*_arrays.FLOATS, *_arrays.COMPLEX))
        super().__init__((flat.size, d1 * d2), dtype)
        self._flat = flat
        self._flat.flags.writeable = False
        _, counts = np.unique(flat, return_counts=True)
        self._most = int(counts.max(initial=0))  # times that a place comes
        self._places: dict[int | None, _DevicePlaces] = {}

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(d1, d2) of the matrices X."""
        return self._matrix_shape

    @property
    def indices(self) -> np.ndarray:
        """The places as pairs, int64 (m, 2), a new array."""
        return np.stack(np.divmod(self._flat, self._matrix_shape[1]), axis=-1)

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        out[...] = rows[:, self._flat]

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        out[...] = 0
        self._scatter(self._flat, rows, out, distinct=self._most <= 1)

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        self._device_places(None).product(at, rows, adjoint, out)

    def _device_factor(self, at: Any, side: int, rows: Any, adjoint: bool, out: Any) -> None:
        self._device_places(side).product(at, rows, adjoint, out)

    def _device_places(self, side: int | None) -> _DevicePlaces:
        """Those in signals, or those in the columns of a factor."""
        if side not in self._places:
            where = self._flat if side is None else self.indices[:, side]
            distinct = side is None and self._most <= 1
            self._places[side] = _DevicePlaces(where, distinct)
        return self._places[side]

    @staticmethod
    def _scatter(where: np.ndarray, rows: np.ndarray, out: np.ndarray, distinct: bool) -> None:
        if distinct:
            out[:, where] = rows
        else:
            np.add.at(out.T, where, rows.T)

    def _factor_forward(self, side: int, rows: np.ndarray) -> np.ndarray:
        return rows[:, self.indices[:, side]]

    def _factor_adjoint(self, side: int, rows: np.ndarray) -> np.ndarray:
        out = np.zeros((len(rows), self._matrix_shape[side]), self.dtype)
        self._scatter(self.indices[:, side], rows, out, distinct=False)
        return out

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, d1 d2)."""
        self._check_dense()
        matrix = np.zeros(self.shape, self.dtype)
        matrix[np.arange(self.shape[0]), self._flat] = 1
        return matrix

    def rows(self, i0: int, i1: int) -> Operator:
        """The operator of places i0 <= i < i1."""
        i0, i1 = self._check_range(i0, i1)
        return Entries(self._flat[i0:i1], self._matrix_shape, dtype=self.dtype)

    def norm(self, rtol: float = 1e-6) -> float:
        """The largest singular value: the root of how often the most frequent place comes."""
        return math.sqrt(self._most)

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, Entries) or self.dtype != other.dtype:
            return False
        same = self._matrix_shape == other._matrix_shape
        return same and np.array_equal(self._flat, other._flat)

    __hash__ = Operator.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        family = functools.partial(Entries, dtype=self.dtype.name)
        return family, (self._flat, self._matrix_shape)

    def __repr__(self) -> str:
        return (
            f"Entries({self._flat.tolist()}, {self._matrix_shape}, dtype={self.dtype.name!r})"
            if self._flat.size <= 16
            else f"Entries(<{self._flat.size} places>, {self._matrix_shape}, "
            f"dtype={self.dtype.name!r})"
        )


class _DevicePlaces:
    """Places in rows, for products on devices: `Entries._scatter` says which bits sums have."""

    def __init__(self, places: np.ndarray, distinct: bool):
        self._where = places
        self._start = -0.0 if distinct else 0.0  # -0.0 + x is x
        self._gathered, self._scattered = on_device.Tables(), on_device.Tables()

    def product(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        """out (batch, m) = rows[:, places]; or out (batch, n) = the adjoint of that."""
        if adjoint:
            at.zero(out)
            places, offsets, targets = self._scattered.get(at, lambda: self._by_place(at))
            at.backend.sum_places(rows, places, offsets, targets, self._start, out)
        else:
            places = self._gathered.get(at, lambda: at.upload(self._where))
            at.backend.sum_places(rows, places, None, None, -0.0, out)

    def _by_place(self, at: Any) -> tuple[Any, ...]:
        """The measurements by place and then by index, where those of each begin, the places."""
        order = np.argsort(self._where, kind="stable")
        targets, starts = np.unique(self._where[order], return_index=True)
        return tuple(map(at.upload, (order, np.append(starts, len(order)), targets)))


def _flat_indices(indices: Any, d1: int, d2: int) -> np.ndarray:
    """Places in a matrix as places in its rows one after the other, a new int64 array."""
    if isinstance(indices, tuple) and any(isinstance(each, np.ndarray) for each in indices):
        raise TypeError(
            f"indices: got a tuple of {len(indices)} arrays, as numpy.nonzero gives, wanted (m, 2) "
            "pairs or (m,) places; pass numpy.stack(indices, axis=-1)"
        )
    array = np.asarray(indices)
    if not array.size and array.dtype.kind == "f":
        array = array.astype(np.int64)  # an empty list
    if array.dtype.kind not in "iu" or isinstance(indices, np.ma.MaskedArray):
        raise TypeError(f"indices: got dtype {array.dtype}, wanted an array of integers")
    if array.ndim == 2 and array.shape[1] == 2:
        bounds = np.array([d1, d2])
    elif array.ndim == 1:
        bounds = np.array(d1 * d2)
    else:
        raise ValueError(f"indices: got shape {array.shape}, wanted (m, 2) pairs or (m,) places")
    outside = (array < 0) | (array >= bounds)
    if outside.any():
        wrong = array[outside.any(axis=1)] if array.ndim == 2 else array[outside]
        raise ValueError(f"indices: got {wrong[0].tolist()}, wanted places in {(d1, d2)}")
    array = array.astype(np.int64)
    return array[:, 0] * d2 + array[:, 1] if array.ndim == 2 else array
