"""Operators made of another one: its adjoint, its conjugate, a range of its rows."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from homfast import _memory
from homfast.measure.operator import Operator


class View(Operator):
    """What views share: they are made of one other operator, whose seed they have."""

    def __init__(self, parent: Operator, shape: tuple[int, int]):
        super().__init__(shape, parent.dtype)
        self._parent = parent

    @property
    def input_dtype(self) -> np.dtype:
        """The dtype of x in ``A x``."""
        return self._parent.input_dtype

    @property
    def output_dtype(self) -> np.dtype:
        """The dtype of ``A x``."""
        return self._parent.output_dtype

    @property
    def seed(self) -> Any:
        """The seed of the operator this was made of."""
        return self._parent.seed

    @property
    def _batch_shape(self) -> tuple[int, ...]:
        return self._parent._batch_shape

    def _member(self, b: int) -> Operator:
        single = copy.copy(self)
        single._parent = self._parent._member(b)
        return single

    def __eq__(self, other: Any) -> bool:
        return type(other) is type(self) and self._parent == other._parent

    __hash__ = Operator.__hash__


class Adjoint(View):
    """``op.H``; its own ``H`` is `op`."""

    def __init__(self, parent: Operator):
        super().__init__(parent, parent.shape[::-1])

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._parent._adjoint_rows(rows, out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._parent._forward_rows(rows, out)

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        self._parent._device_rows(at, rows, not adjoint, out)

    @property
    def input_dtype(self) -> np.dtype:
        """The dtype of y in ``A^H y``."""
        return self._parent.output_dtype

    @property
    def output_dtype(self) -> np.dtype:
        """The dtype of ``A^H y``."""
        return self._parent.input_dtype

    @property
    def H(self) -> Operator:
        """The operator this is the adjoint of."""
        return self._parent

    def conj(self) -> Operator:
        """The transpose of the operator this is the adjoint of."""
        return self._parent.conj().H

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, n)."""
        dense = np.swapaxes(self._parent.to_dense(), -1, -2)
        return np.array(np.conj(dense) if self.dtype.kind == "c" else dense, order="C")

    def norm(self, rtol: float = 1e-6) -> Any:
        """That of the operator this is the adjoint of."""
        return self._parent.norm(rtol)

    def __repr__(self) -> str:
        return f"{self._parent!r}.H"


class Conjugate(View):
    """``op.conj()``, whose entries are conjugated; its own ``conj()`` is `op`."""

    def __init__(self, parent: Operator):
        super().__init__(parent, parent.shape)

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._parent._forward_rows(np.conj(rows), out)
        np.conj(out, out=out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._parent._adjoint_rows(np.conj(rows), out)
        np.conj(out, out=out)

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        conjugated = at.empty(rows.shape, self.dtype)
        at.place.assign(conjugated, rows)
        at.conjugate(conjugated)
        self._parent._device_rows(at, conjugated, adjoint, out)
        at.conjugate(out)

    def conj(self) -> Operator:
        """The operator this is the conjugate of."""
        return self._parent

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, n)."""
        return np.conj(self._parent.to_dense())

    def rows(self, i0: int, i1: int) -> Operator:
        """The operator of rows i0 <= i < i1, with the scale of this one."""
        return self._parent.rows(i0, i1).conj()

    def norm(self, rtol: float = 1e-6) -> Any:
        """That of the operator this is the conjugate of."""
        return self._parent.norm(rtol)

    def __repr__(self) -> str:
        return f"{self._parent!r}.conj()"


class RealInput(View):
    """A complex operator on real signals: R^n to C^m, linear over the reals.

    Its adjoint is that of the inner products ``Re <., .>``: it returns the real part of ``A^H y``,
    real rows. No complex matrix does that: of its adjoint `to_dense` is A^H, and products are their
    real parts. What constructors return for ``real_input=True``.

    Parameters
    ----------
    op : Operator
        Complex.

    Raises
    ------
    TypeError
        A real operator.
    """

    def __init__(self, op: Operator):
        if not isinstance(op, Operator) or op.input_dtype.kind != "c":
            found = op.dtype if isinstance(op, Operator) else type(op).__name__
            raise TypeError(
                f"real_input: got {found}, wanted an operator of complex64 or complex128; a real "
                "operator takes real input as it is"
            )
        super().__init__(op, op.shape)
        self._real = np.dtype(f"f{op.dtype.itemsize // 2}")

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._parent._forward_rows(rows.astype(self.dtype), out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        full = _memory.empty(out.shape, self.dtype)
        self._parent._adjoint_rows(rows, full)
        out[...] = full.real

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        if adjoint:
            full = at.empty(out.shape, self.dtype)
            self._parent._device_rows(at, rows, True, full)
            at.place.assign(out, full.real)
        else:
            self._parent._device_rows(at, at.as_complex(rows, self.dtype), False, out)

    def _forward_sparse_rows(
        self, indices: np.ndarray, values: np.ndarray, out: np.ndarray
    ) -> None:
        self._parent._forward_sparse_rows(indices, values.astype(self.dtype), out)

    @property
    def input_dtype(self) -> np.dtype:
        """float32 or float64."""
        return self._real

    def to_dense(self) -> np.ndarray:
        """The complex matrix, a new array of shape (m, n)."""
        return self._parent.to_dense()

    def conj(self) -> Operator:
        """The operator of the conjugated matrix, on real signals."""
        return RealInput(self._parent.conj())

    def rows(self, i0: int, i1: int) -> Operator:
        """The operator of rows i0 <= i < i1, with the scale of this one."""
        return RealInput(self._parent.rows(i0, i1))

    def __repr__(self) -> str:
        return f"RealInput({self._parent!r})"


class RowSlice(View):
    """``op.rows(i0, i1)`` of an operator that has no way of its own to make some rows only.

    It runs the products of all rows: forward drops what is outside, adjoint pads with zeros. So
    the adjoint is right where the entries outside are finite.
    """

    def __init__(self, parent: Operator, i0: int, i1: int):
        super().__init__(parent, (i1 - i0, parent.shape[1]))
        self._i0, self._i1 = i0, i1

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        full = self._full(len(rows))
        self._parent._forward_rows(rows, full)
        out[...] = full[:, self._i0 : self._i1]

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        full = self._full(len(rows))
        full[...] = 0
        full[:, self._i0 : self._i1] = rows
        self._parent._adjoint_rows(full, out)

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        full = at.empty((rows.shape[0], self._parent.shape[0]), self.output_dtype)
        part = full[:, self._i0 : self._i1]
        if adjoint:
            at.zero(full)
            at.place.assign(part, rows)
            self._parent._device_rows(at, full, True, out)
        else:
            self._parent._device_rows(at, rows, False, full)
            at.place.assign(out, part)

    def _full(self, batch: int) -> np.ndarray:
        """Room for the measurements of all rows."""
        shape = batch, self._parent.shape[0]
        return _memory.empty(shape, self.output_dtype, "rows: a result of all rows")

    def rows(self, i0: int, i1: int) -> Operator:
        """The operator of rows i0 <= i < i1 of this one."""
        i0, i1 = self._check_range(i0, i1)
        return RowSlice(self._parent, self._i0 + i0, self._i0 + i1)

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (i1 - i0, n)."""
        return self._parent.to_dense()[..., self._i0 : self._i1, :].copy()

    def __repr__(self) -> str:
        return f"{self._parent!r}.rows({self._i0}, {self._i1})"

    def __eq__(self, other: Any) -> bool:
        same = super().__eq__(other)
        return same and (self._i0, self._i1) == (other._i0, other._i1)

    __hash__ = Operator.__hash__
