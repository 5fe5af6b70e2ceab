"""Operators whose matrix is a pure function of a seed: what the families share.

A family is a subclass with a `version` of its stream and `_block`, the unscaled entries of a tile.
The rest is here: storing the matrix or making it on the fly, the scale, rows, equality, repr, and
pickles that hold the few numbers which determine the operator.
"""

from __future__ import annotations

import abc
import math
from typing import Any, ClassVar

import numpy as np

from homfast import _arrays
from homfast.measure.dense import PackedMatrix
from homfast.measure.operator import Operator

# Entries made at a time where the matrix is not stored, in bytes: L2 holds a block and its pack.
_BLOCK_BYTES = 1 << 19
_COUNTERS = 1 << 32  # blocks of columns that the 32-bit word of a counter can number


class SeededMatrix(Operator):
    """A random m x n matrix with entries addressed by (seed, row, column); see `Gaussian`."""

    version: ClassVar[int]

    def __init__(
        self,
        m: int,
        n: int,
        *,
        seed: int = 0,
        dtype: Any = np.float32,
        normalize: bool = True,
        store: bool | str = "auto",
    ):
        dtype = _check_dtype(dtype)
        rows = _check_size(m, "m", (1 << 63) - 1)
        columns = _check_size(n, "n", _COUNTERS * (16 // dtype.itemsize))
        super().__init__((rows, columns), dtype)
        self._seed = _arrays.check_seed(seed)
        self._normalize = _check_flag(normalize, "normalize")
        self._store = _check_store(store)
        self._m = rows  # of the operator these rows are part of, which sets the scale
        self._scale = dtype.type(1.0 / math.sqrt(rows) if self._normalize else 1.0)
        self._first = 0
        self._packed: PackedMatrix | None = None

    @abc.abstractmethod
    def _block(self, rows: range, columns: range) -> np.ndarray:
        """Unscaled entries, (len(rows), len(columns)), rows counted in the whole operator."""

    @property
    def seed(self) -> int:
        """The seed, 0 <= seed < 2^64."""
        return self._seed

    @property
    def _row_range(self) -> range:
        return range(self._first, self._first + self.shape[0])

    # Products ------------------------------------------------------------------------------------

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        if self._store:
            self._stored().forward_rows(rows, out)
        else:
            m, n = self.shape
            step = max(1, _BLOCK_BYTES // (n * self.dtype.itemsize))
            for i in range(0, m, step):
                part = self._row_range[i : i + step]
                block = PackedMatrix(self._block(part, range(n)))
                block.forward_rows(rows, out[:, i : i + step])
        self._rescale(out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        if self._store:
            self._stored().adjoint_rows(rows, out)
        else:
            # By columns, not rows: each sum over the rows is then one product, in the same order
            # as with the stored matrix. Adding up products of row blocks would round elsewhere.
            m, n = self.shape
            column_bytes = max(1, m) * self.dtype.itemsize
            step = max(16, _BLOCK_BYTES // column_bytes // 16 * 16)  # whole counters
            for j in range(0, n, step):
                part = range(j, min(j + step, n))
                block = PackedMatrix(self._block(self._row_range, part))
                block.adjoint_rows(rows, out[:, j : j + step])
        self._rescale(out)

    def _stored(self) -> PackedMatrix:
        """The matrix, made at the first product: `rows` of it or a pickle may never need it."""
        if self._packed is None:
            self._packed = PackedMatrix(self._unscaled())
        return self._packed

    def _unscaled(self) -> np.ndarray:
        m, n = self.shape
        try:
            return self._block(self._row_range, range(n))
        except (MemoryError, ValueError) as error:  # ValueError: beyond the address space
            size = m * n * self.dtype.itemsize / 2**30
            raise MemoryError(
                f"store: the {m} x {n} matrix of {self.dtype} needs {size:.4g} GiB; pass "
                "store=False to make its entries on the fly, and rows(i0, i1) for parts of it"
            ) from error

    def _rescale(self, values: np.ndarray) -> None:
        """The scale, once a finished sum, in the dtype of the operator; at most 1, no overflow."""
        if self._normalize:
            np.multiply(values, self._scale, out=values)

    # The operator as a value ---------------------------------------------------------------------

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array (m, n) of entries that are scaled and rounded.

        Products scale the finished sum instead, so those with this matrix differ by roundings.
        """
        matrix = self._unscaled() if self._packed is None else self._packed.array.copy()
        self._rescale(matrix)
        return matrix

    def rows(self, i0: int, i1: int) -> SeededMatrix:
        """The operator of rows i0 <= i < i1, with the scale of this one.

        It is made from the seed, or from this operator's matrix if that is in memory by now.
        """
        i0, i1 = self._check_range(i0, i1)
        part = self._part(self._first + i0, self._first + i1)
        if self._packed is not None:
            part._packed = PackedMatrix(self._packed.array[i0:i1])
        return part

    def _part(self, first: int, last: int) -> SeededMatrix:
        part = type(self)(
            self._m,
            self.shape[1],
            seed=self._seed,
            dtype=self.dtype,
            normalize=self._normalize,
            store=self._store,
        )
        part._first = first
        part._shape = (last - first, self.shape[1])
        return part

    def _state(self) -> tuple[Any, ...]:
        """What determines the entries and the scale; `store` does not."""
        span = self._row_range
        name = self.dtype.name
        return (
            self.version,
            self._m,
            self.shape[1],
            self._seed,
            name,
            self._normalize,
            span.start,
            span.stop,
        )

    def __eq__(self, other: Any) -> bool:
        """Whether the other has the same entries and scale by construction, stored or not."""
        return type(other) is type(self) and self._state() == other._state()

    def __hash__(self) -> int:
        return hash((type(self), self._state()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), *self._state(), self._store)

    def __repr__(self) -> str:
        words = f"{self._m}, {self.shape[1]}, seed={self._seed}, dtype={self.dtype.name!r}"
        if not self._normalize:
            words += ", normalize=False"
        if self._store != "auto":
            words += f", store={self._store}"
        whole = f"{type(self).__name__}({words})"
        span = self._row_range
        return whole if len(span) == self._m else f"{whole}.rows({span.start}, {span.stop})"


def _restore(
    family: type[SeededMatrix],
    version: int,
    m: int,
    n: int,
    seed: int,
    dtype: str,
    normalize: bool,
    first: int,
    last: int,
    store: bool | str,
) -> SeededMatrix:
    """What a pickle calls."""
    if version != family.version:
        raise ValueError(
            f"pickle: got version {version} of the {family.__name__} stream, wanted "
            f"{family.version}; use the homfast that wrote it"
        )
    whole = family(m, n, seed=seed, dtype=dtype, normalize=normalize, store=store)
    return whole._part(first, last)


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))


def _check_size(value: Any, name: str, largest: int) -> int:
    if not _is_integer(value):
        raise TypeError(f"{name}: got {value!r}, wanted an integer")
    if not 1 <= value <= largest:
        raise ValueError(f"{name}: got {value}, wanted 1 <= {name} <= {largest}")
    return int(value)


def _check_dtype(dtype: Any) -> np.dtype:
    try:
        checked = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"dtype: got {dtype!r}, wanted float32 or float64") from None
    if dtype is None or checked not in _arrays.FLOATS:
        raise TypeError(f"dtype: got {dtype!r}, wanted float32 or float64")
    return checked


def _check_flag(value: Any, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: got {value!r}, wanted True or False")
    return bool(value)


def _check_store(store: Any) -> bool | str:
    if isinstance(store, str) and store == "auto":
        return store
    if not isinstance(store, (bool, np.bool_)):
        raise ValueError(f"store: got {store!r}, wanted 'auto', True or False")
    return bool(store)
