"""Sparse random signs: a few nonzeros in each column."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from homfast import _backends
from homfast.measure import on_device
from homfast.measure.operator import Operator
from homfast.measure.seeded import SeededOperator, check_size
from homfast.measure.storing import check_store, is_stored
from homfast.measure.views import RowSlice

_COLUMNS = 1 << 14  # made at a time on the fly
_LARGEST_M = 1 << 31  # what the tables of products hold; one 32-bit draw tells 2^32 apart


class SparseSign(SeededOperator):
    """A matrix with a few signs in each column, at random rows; E[A^H A] = I.

    Parameters
    ----------
    m, n : int
        Measurements, at most 2^31, and signal length, at least 1.
    nonzeros_per_column : int, from 1 to m
    seed : int, 0 <= seed < 2^64, or integer array (B,) for a batch of B operators
    dtype : float32 or float64
        The entries of both are the same.
    normalize : bool
        Scale by 1/sqrt(nonzeros_per_column): a finished sum is multiplied by it once, columns have
        norm 1. False leaves +1 and -1.
    store : {"auto", True, False}
        False draws rows and signs in each product anew. "auto" keeps them, 9 bytes a nonzero, from
        the first product on, unless that takes more than a quarter of the memory; `stored` tells.
        The results are the same to the bit.

    Raises
    ------
    TypeError, ValueError
        As `Gaussian`; `nonzeros_per_column` above m.

    Notes
    -----
    A column is a pure function of (seed, m, nonzeros_per_column, column);
    `homfast._backends.sparse_sign` specifies it, `.sparse_product` the products. The rows of
    operators of different m have nothing in common. A measurement is summed over its columns in
    ascending order by one owner, an element of the adjoint over its rows. Kane and Nelson, J. ACM
    61, 2014 (OSNAP); Clarkson and Woodruff, STOC 2013 (one nonzero: CountSketch).

    Examples
    --------
    >>> from homfast.measure import SparseSign
    >>> abs(SparseSign(20, 50, normalize=False).to_dense()).sum(axis=0).max().item()
    8.0
    """

    largest = (_LARGEST_M, (1 << 63) - 1)

    def __init__(
        self,
        m: int,
        n: int,
        *,
        nonzeros_per_column: int = 8,
        seed: int = 0,
        dtype: Any = np.float32,
        normalize: bool = True,
        store: bool | str = "auto",
    ):
        super().__init__(m, n, seed=seed, dtype=dtype, normalize=normalize)
        self._nonzeros = check_size(nonzeros_per_column, "nonzeros_per_column", self._m, ", m")
        self._store = check_store(store)
        self._packed: Any = None
        self._tables = on_device.Tables()

    @property
    def nonzeros_per_column(self) -> int:
        """How many entries of a column are not zero."""
        return self._nonzeros

    @property
    def stored(self) -> bool:
        """Whether products use stored columns; `homfast.measure.storing` has the rule."""
        return self._packed is not None or is_stored(
            self._store, 9 * self._nonzeros * self.shape[1]
        )

    def _scaling(self) -> float:
        return 1.0 / math.sqrt(self._nonzeros) if self._normalize else 1.0

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self._nonzeros != 8:
            options["nonzeros_per_column"] = self._nonzeros
        if self._store != "auto":
            options["store"] = self._store
        return options

    def _draw(self, columns: range) -> tuple[np.ndarray, np.ndarray]:
        backend = _backends.automatic()
        return backend.sparse_sign_columns(self.seed, self._m, self._nonzeros, columns)

    def _tiles(self) -> list[tuple[slice, Any]]:
        """Ranges of columns, and a function to get their handle."""
        n = self.shape[1]
        if self.stored:
            if self._packed is None:
                self._packed = self._pack(range(n))
            return [(slice(0, n), lambda: self._packed)]
        return [
            (slice(j, j + _COLUMNS), lambda j=j: self._pack(range(j, min(j + _COLUMNS, n))))
            for j in range(0, n, _COLUMNS)
        ]

    def _pack(self, columns: range) -> Any:
        return _backends.automatic().pack_sparse_sign(*self._draw(columns), self._m)

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        for span, handle in self._tiles():
            handle().product(rows[:, span], False, out, accumulate=span.start > 0)
        self._rescale(out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        for span, handle in self._tiles():
            handle().product(rows, True, out[:, span])
        self._rescale(out)

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        """With the columns kept on the device, whatever `store` says."""
        make = at.backend.pack_sparse_sign
        handle = self._tables.get(at, lambda: make(*self._draw(range(self.shape[1])), self._m))
        handle.product(rows, adjoint, out)
        at.scale(out, self._scale)

    def _forward_sparse_rows(
        self, indices: np.ndarray, values: np.ndarray, out: np.ndarray
    ) -> None:
        out[...] = 0
        distinct, inverse = np.unique(indices, return_inverse=True)
        inverse = inverse.reshape(indices.shape)
        drawn = [self._draw(range(j, j + 1)) for j in distinct.tolist()]
        if not drawn:
            return
        where, signs = (np.concatenate(each) for each in zip(*drawn, strict=True))
        batch = np.arange(len(values))[:, None]
        for k in range(indices.shape[1]):
            picked = inverse[:, k]  # distinct rows within a column: no index comes twice
            out[batch, where[picked]] += values[:, k, None] * signs[picked].astype(out.dtype)
        self._rescale(out)

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, n)."""
        self._check_dense()
        matrix = np.zeros(self.shape, self.dtype)
        where, signs = self._draw(range(self.shape[1]))
        matrix[where, np.arange(self.shape[1])[:, None]] = signs
        self._rescale(matrix)
        return matrix

    def rows(self, i0: int, i1: int) -> Operator:
        """The operator of rows i0 <= i < i1, with the scale of this one."""
        return RowSlice(self, *self._check_range(i0, i1))
