"""Some rows of a square transform, the prefix of a seeded permutation of all of them."""

from __future__ import annotations

import abc
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from homfast import _backends, _memory
from homfast._backends import pool, threads
from homfast.measure import on_device
from homfast.measure.seeded import SeededOperator

_CHUNK = 1 << 18  # elements transformed at a time
# Not cut further for threads: NumPy plans a transform at each call, worth a row or two.
_LEAST_ROWS = 4
# An element takes its logarithm times so many multiply-adds.
_COST = 16


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

    _tables: on_device.Tables | None = None

    def _kept(self, at: on_device.Device) -> tuple[Any, ...]:
        """`_device_tables`, made by the first call on a device."""
        if self._tables is None:
            self._tables = on_device.Tables()
        return self._tables.get(at, lambda: self._device_tables(at))

    def _device_tables(self, at: on_device.Device) -> tuple[Any, ...]:
        """What the family derives from its seed: the row indices, and what else it needs."""
        return (at.upload(self.row_indices),)


class WholeTransform(SubsampledTransform):
    """One that runs the whole transform and picks from its result.

    A family is a subclass with `_transform` and `_transform_adjoint`, on all rows, unscaled, and
    with `_device_transform`, which is both on a device.
    """

    @abc.abstractmethod
    def _transform(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, n) = all n measurements of the rows (batch, n)."""

    @abc.abstractmethod
    def _transform_adjoint(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, n) = the adjoint of that."""

    @abc.abstractmethod
    def _device_transform(
        self, xp: Any, rows: Any, adjoint: bool, tables: tuple[Any, ...], out: Any
    ) -> None:
        """`_transform`, or its adjoint, by the functions of the library of the rows.

        `tables` are those of `_device_tables` but for the row indices.
        """

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        xp = at.functions(self)
        indices, *tables = self._kept(at)
        full = at.empty((rows.shape[0], self._size), self.dtype)
        if adjoint:
            at.zero(full)
            full[:, indices] = rows
            self._device_transform(xp, full, True, tuple(tables), out)
        else:
            self._device_transform(xp, rows, False, tuple(tables), full)
            out[...] = full[:, indices]
        at.scale(out, self._scale)

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        indices = self.row_indices

        def transform(rows: np.ndarray, out: np.ndarray, full: np.ndarray) -> None:
            self._transform(rows, full)
            out[...] = full[:, indices]
            self._rescale(out)

        self._in_chunks(transform, rows, out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        indices = self.row_indices

        def transform(rows: np.ndarray, out: np.ndarray, full: np.ndarray) -> None:
            full[...] = 0
            full[:, indices] = rows
            self._transform_adjoint(full, out)
            self._rescale(out)

        self._in_chunks(transform, rows, out)

    def _in_chunks(self, transform: Callable[..., None], rows: np.ndarray, out: np.ndarray) -> None:
        """Call it with a few rows at a time, their results and room for the whole transforms.

        On the threads of `homfast.set_num_threads`: a row's bits are its own, whoever computes it.
        """
        batch, n = len(rows), self._size
        count = threads.threads_for(_COST * batch * n * max(1.0, math.log2(n)))
        most = max(1, _CHUNK // n)
        step = min(most, max(_LEAST_ROWS, -(-batch // count)))

        free: deque[np.ndarray] = deque()  # pages that are there already: new ones take longer

        def run(begin: int) -> None:
            part = slice(begin, min(batch, begin + step))
            full = free.pop() if free else np.empty((step, n), self.dtype)
            transform(rows[part], out[part], full[: part.stop - begin])
            free.append(full)

        pool.run_parts(run, [(i,) for i in range(0, batch, step)], count)
