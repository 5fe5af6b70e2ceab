"""Operators made of several: compositions, sums, multiples, stacks of rows."""

from __future__ import annotations

import copy
import itertools
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from homfast import _memory
from homfast.measure.operator import Operator
from homfast.measure.sparse_input import multiply

_BETWEEN = "@: a result between two operators"


class _Combination(Operator):
    """What combinations share: they are made of parts, and equal if those are."""

    def __init__(self, parts: tuple[Operator, ...], shape: tuple[int, int], dtype: np.dtype):
        super().__init__(shape, dtype)
        batches = {part._batch_shape for part in parts} - {()}
        if len(batches) > 1:
            raise ValueError(f"got batches of {sorted(b[0] for b in batches)} operators")
        self._parts = parts

    @property
    def parts(self) -> tuple[Operator, ...]:
        """The operators this is made of."""
        return self._parts

    @property
    def input_dtype(self) -> np.dtype:
        """The dtype of x in ``A x``."""
        return self._parts[-1].input_dtype

    @property
    def output_dtype(self) -> np.dtype:
        """The dtype of ``A x``."""
        return self._parts[0].output_dtype

    @property
    def _batch_shape(self) -> tuple[int, ...]:
        return max((part._batch_shape for part in self._parts), key=len)

    def _member(self, b: int) -> Operator:
        single = copy.copy(self)
        single._parts = tuple(part._member(b) for part in self._parts)
        return single

    def __eq__(self, other: Any) -> bool:
        return type(other) is type(self) and self._parts == other._parts

    __hash__ = Operator.__hash__


class Composition(_Combination):
    """``left @ right``: first `right`, then `left`.

    Raises
    ------
    ValueError
        Shapes that do not match.
    TypeError
        `left` does not take the dtype that `right` gives; nothing is cast.
    """

    def __init__(self, left: Operator, right: Operator):
        if left.shape[1] != right.shape[0]:
            raise ValueError(
                f"@: got operators of shapes {left.shape} and {right.shape}, wanted (m, k) and "
                "(k, n); A.H is the adjoint of A"
            )
        if left.input_dtype != right.output_dtype:
            raise TypeError(
                f"@: got {left.input_dtype} left of {right.output_dtype}, wanted one dtype; make "
                "both in one, or wrap a complex operator of real signals in RealInput"
            )
        shape = left.shape[0], right.shape[1]
        super().__init__((left, right), shape, np.result_type(left.dtype, right.dtype))

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        left, right = self._parts
        between = _memory.empty((len(rows), right.shape[0]), right.output_dtype, _BETWEEN)
        right._forward_rows(rows, between)
        left._forward_rows(between, out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        left, right = self._parts
        between = _memory.empty((len(rows), right.shape[0]), right.output_dtype, _BETWEEN)
        left._adjoint_rows(rows, between)
        right._adjoint_rows(between, out)

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        left, right = self._parts
        first, second = (left, right) if adjoint else (right, left)
        between = at.empty((rows.shape[0], right.shape[0]), right.output_dtype)
        first._device_rows(at, rows, adjoint, between)
        second._device_rows(at, between, adjoint, out)

    def rows(self, i0: int, i1: int) -> Operator:
        """The operator of rows i0 <= i < i1, those of the left one."""
        i0, i1 = self._check_range(i0, i1)
        return Composition(self._parts[0].rows(i0, i1), self._parts[1])

    def __repr__(self) -> str:
        return f"({self._parts[0]!r} @ {self._parts[1]!r})"


class Sum(_Combination):
    """``left + right``.

    Raises
    ------
    ValueError, TypeError
        Unless both have one shape and one dtype.
    """

    def __init__(self, left: Operator, right: Operator):
        _check_alike((left, right), "+", left.shape, right.shape)
        super().__init__((left, right), left.shape, left.dtype)

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        term = np.empty_like(out)
        self._parts[0]._forward_rows(rows, out)
        self._parts[1]._forward_rows(rows, term)
        np.add(out, term, out=out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        term = np.empty_like(out)
        self._parts[0]._adjoint_rows(rows, out)
        self._parts[1]._adjoint_rows(rows, term)
        np.add(out, term, out=out)

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        term = at.empty(out.shape, self.input_dtype if adjoint else self.output_dtype)
        self._parts[0]._device_rows(at, rows, adjoint, out)
        self._parts[1]._device_rows(at, rows, adjoint, term)
        at.add(out, term)

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, n)."""
        return self._parts[0].to_dense() + self._parts[1].to_dense()

    def rows(self, i0: int, i1: int) -> Operator:
        """The operator of rows i0 <= i < i1."""
        i0, i1 = self._check_range(i0, i1)
        return Sum(self._parts[0].rows(i0, i1), self._parts[1].rows(i0, i1))

    def __repr__(self) -> str:
        return f"({self._parts[0]!r} + {self._parts[1]!r})"


class Scaled(_Combination):
    """``factor * op``; the factor is rounded to the precision of `op`.

    Raises
    ------
    TypeError
        A complex factor of a real operator, or of one on real signals.
    """

    def __init__(self, factor: Any, op: Operator):
        if isinstance(factor, (bool, np.bool_)) or not isinstance(factor, numbers.Number):
            raise TypeError(f"factor: got {factor!r}, wanted a number")
        number = complex(factor)  # type: ignore[call-overload]
        if number.imag and (op.input_dtype.kind == "f" or op.output_dtype.kind == "f"):
            raise TypeError(
                f"factor: got {factor!r} for an operator of {op.dtype} on {op.input_dtype}, "
                "wanted a real number"
            )
        super().__init__((op,), op.shape, op.dtype)
        self._factor = number if number.imag else number.real

    @property
    def factor(self) -> complex:
        """What `op` is multiplied by."""
        return self._factor

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._parts[0]._forward_rows(rows, out)
        multiply(out, self._factor)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._parts[0]._adjoint_rows(rows, out)
        multiply(out, self._factor.conjugate())

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        self._parts[0]._device_rows(at, rows, adjoint, out)
        at.scale(out, self._factor.conjugate() if adjoint else self._factor)

    @property
    def seed(self) -> Any:
        """The seed of the operator this is a multiple of."""
        return self._parts[0].seed

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, n)."""
        dense = self._parts[0].to_dense()
        multiply(dense, self._factor)
        return dense

    def rows(self, i0: int, i1: int) -> Operator:
        """The operator of rows i0 <= i < i1."""
        return Scaled(self._factor, self._parts[0].rows(i0, i1))

    def norm(self, rtol: float = 1e-6) -> Any:
        """|factor| times the norm of the operator."""
        return abs(self._factor) * self._parts[0].norm(rtol)

    def __eq__(self, other: Any) -> bool:
        return super().__eq__(other) and self._factor == other._factor

    __hash__ = Operator.__hash__

    def __repr__(self) -> str:
        return f"({self._factor!r} * {self._parts[0]!r})"


class VStack(_Combination):
    """Operators on one signal, their measurements one after the other.

    Parameters
    ----------
    ops : sequence of Operator
        At least one; all of one n and one dtype.

    Raises
    ------
    ValueError, TypeError
        None, or no common n or dtype.

    Examples
    --------
    >>> from homfast.measure import Gaussian, Hadamard, VStack
    >>> VStack([Gaussian(10, 64), Hadamard(20, 64)]).shape
    (30, 64)
    """

    def __init__(self, ops: Sequence[Operator]):
        if isinstance(ops, Operator):
            raise TypeError(f"ops: got one operator, wanted a list of them; pass [{ops!r}]")
        parts = tuple(ops) if isinstance(ops, Iterable) else ()
        if not parts or not all(isinstance(op, Operator) for op in parts):
            raise TypeError(
                f"ops: got {ops!r}, wanted a list of at least one operator, and nothing else; "
                "give Dense(matrix) for a matrix"
            )
        _check_alike(parts, "ops", *(op.shape[1] for op in parts))
        shape = sum(op.shape[0] for op in parts), parts[0].shape[1]
        super().__init__(parts, shape, parts[0].dtype)

    def _ranges(self) -> list[slice]:
        ends = np.cumsum([0, *(op.shape[0] for op in self._parts)]).tolist()
        return [slice(a, b) for a, b in itertools.pairwise(ends)]

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        for op, span in zip(self._parts, self._ranges(), strict=True):
            op._forward_rows(rows, out[:, span])

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        out[...] = 0
        term = np.empty_like(out)
        for op, span in zip(self._parts, self._ranges(), strict=True):
            op._adjoint_rows(rows[:, span], term)
            np.add(out, term, out=out)

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, n)."""
        return np.concatenate([op.to_dense() for op in self._parts], axis=-2)

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        spans = [(op, s) for op, s in zip(self._parts, self._ranges(), strict=True) if op.shape[0]]
        if not adjoint:
            for op, span in spans:
                part = at.empty((rows.shape[0], op.shape[0]), self.output_dtype)
                op._device_rows(at, rows, False, part)
                at.place.assign(out[:, span], part)
            return
        at.zero(out)
        term = at.empty(out.shape, self.input_dtype)
        for op, span in spans:
            part = at.empty((rows.shape[0], op.shape[0]), self.output_dtype)
            at.place.assign(part, rows[:, span])
            op._device_rows(at, part, True, term)
            at.add(out, term)

    def rows(self, i0: int, i1: int) -> Operator:
        """The operator of rows i0 <= i < i1."""
        i0, i1 = self._check_range(i0, i1)
        found = []
        for op, span in zip(self._parts, self._ranges(), strict=True):
            first, last = max(i0, span.start), min(i1, span.stop)
            if first < last:
                found.append(op.rows(first - span.start, last - span.start))
        return VStack(found or [self._parts[0].rows(0, 0)])

    def norm(self, rtol: float = 1e-6) -> Any:
        """As `Operator.norm`; that of one part alone is its own."""
        return self._parts[0].norm(rtol) if len(self._parts) == 1 else super().norm(rtol)

    def __repr__(self) -> str:
        return f"VStack([{', '.join(map(repr, self._parts))}])"


def dtypes_of(parts: Iterable[Operator]) -> str:
    """The dtypes of operators, for a message."""
    return ", ".join(
        str(op.dtype)
        if op.input_dtype == op.output_dtype
        else f"{op.output_dtype} of {op.input_dtype} signals"
        for op in parts
    )


def _check_alike(parts: tuple[Operator, ...], name: str, *sizes: Any) -> None:
    if len(set(sizes)) > 1:
        shapes = ", ".join(str(op.shape) for op in parts)
        wanted = "one n" if name == "ops" else "one shape"
        raise ValueError(f"{name}: got operators of shapes {shapes}, wanted {wanted}")
    dtypes = {(op.input_dtype, op.output_dtype) for op in parts}
    if len(dtypes) > 1:
        raise TypeError(
            f"{name}: got operators of {dtypes_of(parts)}, wanted one dtype; nothing is cast, make "
            "them with one dtype="
        )
