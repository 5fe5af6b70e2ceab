"""Operators made of another one: its adjoint, and a range of its rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast.measure.operator import Operator


class Adjoint(Operator):
    """``op.H``; its own ``H`` is `op`."""

    def __init__(self, parent: Operator):
        super().__init__((parent.shape[1], parent.shape[0]), parent.dtype)
        self._parent = parent

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._parent._adjoint_rows(rows, out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._parent._forward_rows(rows, out)

    @property
    def H(self) -> Operator:
        """The operator this is the adjoint of."""
        return self._parent

    @property
    def seed(self) -> int | None:
        """The seed of the operator this is the adjoint of."""
        return self._parent.seed

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, n)."""
        return np.ascontiguousarray(self._parent.to_dense().T)

    def __repr__(self) -> str:
        return f"{self._parent!r}.H"

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Adjoint) and self._parent == other._parent

    __hash__ = Operator.__hash__


class RowSlice(Operator):
    """``op.rows(i0, i1)`` of an operator that has no way of its own to make some rows only.

    It runs the products of all rows: forward drops what is outside, adjoint pads with zeros. So
    the adjoint is right where the entries outside are finite.
    """

    def __init__(self, parent: Operator, i0: int, i1: int):
        super().__init__((i1 - i0, parent.shape[1]), parent.dtype)
        self._parent, self._i0, self._i1 = parent, i0, i1

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        full = np.empty((rows.shape[0], self._parent.shape[0]), self.dtype)
        self._parent._forward_rows(rows, full)
        out[...] = full[:, self._i0 : self._i1]

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        full = np.zeros((rows.shape[0], self._parent.shape[0]), self.dtype)
        full[:, self._i0 : self._i1] = rows
        self._parent._adjoint_rows(full, out)

    def rows(self, i0: int, i1: int) -> Operator:
        """The operator of rows i0 <= i < i1 of this one."""
        i0, i1 = self._check_range(i0, i1)
        return RowSlice(self._parent, self._i0 + i0, self._i0 + i1)

    @property
    def seed(self) -> int | None:
        """The seed of the operator these are rows of."""
        return self._parent.seed

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (i1 - i0, n)."""
        return self._parent.to_dense()[self._i0 : self._i1].copy()

    def __repr__(self) -> str:
        return f"{self._parent!r}.rows({self._i0}, {self._i1})"

    def __eq__(self, other: Any) -> bool:
        if not isinstance(other, RowSlice):
            return False
        same_range = (self._i0, self._i1) == (other._i0, other._i1)
        return same_range and self._parent == other._parent

    __hash__ = Operator.__hash__
