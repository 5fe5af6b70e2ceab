"""Seeded operators given by the entries of their matrix, stored or made on the fly."""

from __future__ import annotations

import abc
import functools
from typing import Any, ClassVar

import numpy as np

from homfast import _backends, _memory
from homfast.measure.packed import PackedMatrix
from homfast.measure.seeded import SeededOperator
from homfast.measure.sparse_input import through_columns
from homfast.measure.storing import check_store, is_stored

# Entries made at a time where the matrix is not stored, in bytes: L2 holds a block and its pack.
_BLOCK_BYTES = 1 << 19
_COUNTERS = 1 << 32  # blocks of columns that the 32-bit word of a counter can number


class SeededMatrix(SeededOperator):
    """A random m x n matrix with entries addressed by (seed, row, column); see `Gaussian`.

    A family is a subclass with `_block`, the unscaled entries of a tile.
    """

    signs: ClassVar[bool] = False  # whether entries are +1 and -1, one bit of a counter each

    def __init__(
        self,
        m: int,
        n: int,
        *,
        seed: int = 0,
        dtype: Any = np.float32,
        normalize: bool = True,
        store: bool | str = "auto",
        real_input: bool = False,
    ):
        super().__init__(m, n, seed=seed, dtype=dtype, normalize=normalize)
        per_counter = 128 // (1 if self.signs else 8 * self.dtype.itemsize)
        if self.shape[1] > _COUNTERS * per_counter:
            raise ValueError(f"n: got {n}, wanted 1 <= n <= {_COUNTERS * per_counter}")
        self._aligned = max(16, per_counter)  # columns whose counters nobody else needs
        self._store = check_store(store)
        self._packed: PackedMatrix | None = None

    @abc.abstractmethod
    def _block(self, rows: range, columns: range) -> np.ndarray:
        """Unscaled entries, (len(rows), len(columns)), rows counted in the whole operator."""

    def _seeded_product(self, backend: Any, rows: Any, adjoint: bool, out: Any) -> bool:
        """The unscaled product with entries that are made as they are used; False if there is none.

        Its bits are those of the stored matrix. For a complex family it is the product of real rows
        with the real matrix of `homfast.measure.complex_product`.
        """
        return False

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        """On the fly, whatever `store` says."""
        product = functools.partial(self._seeded_product, at.backend)
        if self.dtype.kind == "c":
            at.complex_product(product, rows, adjoint, out)
        elif not product(rows, adjoint, out):
            super()._device_rows(at, rows, adjoint, out)
        at.scale(out, self._scale)

    def _product_on_the_fly(self, rows: np.ndarray, adjoint: bool, out: np.ndarray) -> bool:
        """On the CPU, which makes complex entries a block at a time."""
        backend = _backends.automatic()
        return self.dtype.kind == "f" and self._seeded_product(backend, rows, adjoint, out)

    def _seeded_gram(self, rows: np.ndarray, out: np.ndarray) -> bool:
        """The gram, but for the last scaling, likewise, each entry made once."""
        return False

    def _options(self) -> dict[str, Any]:
        return {} if self._store == "auto" else {"store": self._store}

    @property
    def stored(self) -> bool:
        """Whether products use a stored matrix; `homfast.measure.storing` has the rule."""
        return self._packed is not None or is_stored(
            self._store, self.shape[0] * self.shape[1] * self.dtype.itemsize, self.signs
        )

    # Products ------------------------------------------------------------------------------------

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        if self.stored:
            self._stored().forward_rows(rows, out)
        elif not self._product_on_the_fly(rows, False, out):
            m, n = self.shape
            step = max(1, _BLOCK_BYTES // (n * self.dtype.itemsize))
            for i in range(0, m, step):
                part = self._row_range[i : i + step]
                block = PackedMatrix(self._block(part, range(n)))
                block.forward_rows(rows, out[:, i : i + step])
        self._rescale(out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        if self.stored:
            self._stored().adjoint_rows(rows, out)
        elif not self._product_on_the_fly(rows, True, out):
            # By columns, not rows: each sum over the rows is then one product, in the same order
            # as with the stored matrix. Adding up products of row blocks would round elsewhere.
            m, n = self.shape
            wanted = _BLOCK_BYTES // (max(1, m) * self.dtype.itemsize)
            step = max(self._aligned, wanted // self._aligned * self._aligned)
            for j in range(0, n, step):
                part = range(j, min(j + step, n))
                block = PackedMatrix(self._block(self._row_range, part))
                block.adjoint_rows(rows, out[:, j : j + step])
        self._rescale(out)

    def _gram_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        if self.stored or not self._seeded_gram(rows, out):
            super()._gram_rows(rows, out)
        else:
            self._rescale(out)

    def _forward_sparse_rows(
        self, indices: np.ndarray, values: np.ndarray, out: np.ndarray
    ) -> None:
        through_columns(self._columns_at, indices, values, out)
        self._rescale(out)

    def _columns_at(self, indices: np.ndarray) -> np.ndarray:
        """Unscaled columns at distinct ascending indices, as rows."""
        if self._packed is not None:
            return self._packed.array[:, indices].T
        found = np.empty((len(indices), self.shape[0]), self.dtype)
        for k, j in enumerate(indices.tolist()):
            found[k] = self._block(self._row_range, range(j, j + 1))[:, 0]
        return found

    def _stored(self) -> PackedMatrix:
        """The matrix, made at the first product: `rows` of it or a pickle may never need it."""
        if self._packed is None:
            fix = (
                "pass store=False to make its entries on the fly, and rows(i0, i1) for parts of it"
            )
            _memory.check(self.shape, self.dtype, "store: a matrix", fix)
            self._packed = PackedMatrix(self._block(self._row_range, range(self.shape[1])))
        return self._packed

    # The operator as a value ---------------------------------------------------------------------

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array (m, n) of entries that are scaled and rounded.

        Products scale the finished sum instead, so those with this matrix differ by roundings.
        """
        self._check_dense()
        if self._packed is None:
            matrix = self._block(self._row_range, range(self.shape[1]))
        else:
            matrix = self._packed.array.copy()
        self._rescale(matrix)
        return matrix

    def rows(self, i0: int, i1: int) -> SeededMatrix:
        """The operator of rows i0 <= i < i1, with the scale of this one.

        It is made from the seed, or from this operator's matrix if that is in memory by now.
        """
        part = super().rows(i0, i1)
        assert isinstance(part, SeededMatrix)
        if self._packed is not None:
            part._packed = PackedMatrix(self._packed.array[i0:i1])
        return part
