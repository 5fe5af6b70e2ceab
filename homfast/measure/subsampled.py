"""Some rows of a square transform, the prefix of a seeded permutation of all of them."""

from __future__ import annotations

import abc
from collections.abc import Iterator

import numpy as np

from homfast import _backends, _memory
from homfast.measure.seeded import SeededOperator

_CHUNK_BYTES = 1 << 22  # of transformed rows at a time


class SubsampledTransform(SeededOperator):
    """m distinct random rows of an N x N transform with a fast product; see `Hadamard`."""

    largest = ((1 << 63) - 1, 1 << 33)

    _indices: np.ndarray | None = None

    def _check_shape(self) -> None:
        if self._m > self._size:
            raise ValueError(
                f"m: got {self._m}, wanted 1 <= m <= {self._size}: rows are drawn without "
                f"replacement from {self._size}"
            )

    @property
    def _size(self) -> int:
        """N, how many rows there are to choose from."""
        return self.shape[1]

    @property
    def row_indices(self) -> np.ndarray:
        """Which rows of the transform these are, in their order, int64 (m,), read-only."""
        if self._indices is None:
            span = self._row_range
            _memory.check(
                (self._size,), np.dtype(np.uint64), "row_indices: keys", "take a smaller n"
            )
            drawn = _backends.automatic().row_permutation(self._seed, self._size, span.stop)
            self._indices = drawn[span.start :]
            self._indices.flags.writeable = False
        return self._indices

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, n)."""
        self._check_dense()
        _memory.check(
            (self.shape[0],) * 2, self.dtype, "to_dense: the unit rows", "take fewer rows"
        )
        rows = self.adjoint(np.eye(self.shape[0], dtype=self.dtype))
        return np.conj(rows) if self.dtype.kind == "c" else rows


class WholeTransform(SubsampledTransform):
    """One that runs the whole transform and picks from its result.

    A family is a subclass with `_transform` and `_transform_adjoint`, on all rows, unscaled.
    """

    @abc.abstractmethod
    def _transform(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, n) = all n measurements of the rows (batch, n)."""

    @abc.abstractmethod
    def _transform_adjoint(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, n) = the adjoint of that."""

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        for i, full in self._chunks(len(rows)):
            self._transform(rows[i : i + len(full)], full)
            out[i : i + len(full)] = full[:, self.row_indices]
        self._rescale(out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        for i, full in self._chunks(len(rows)):
            full[...] = 0
            full[:, self.row_indices] = rows[i : i + len(full)]
            self._transform_adjoint(full, out[i : i + len(full)])
        self._rescale(out)

    def _chunks(self, batch: int) -> Iterator[tuple[int, np.ndarray]]:
        """The first of a few rows, and room for their transforms."""
        step = max(1, _CHUNK_BYTES // (self._size * self.dtype.itemsize))
        full = np.empty((min(step, batch), self._size), self.dtype)
        for i in range(0, batch, step):
            yield i, full[: batch - i]
