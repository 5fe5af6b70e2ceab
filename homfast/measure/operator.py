"""What every measurement operator answers; a family implements two products and little else.

A family is a subclass with `_forward_rows` and `_adjoint_rows`, which get checked rows and write
into rows the base allocated. It overrides `to_dense`, `rows`, `norm`, `_forward_sparse_rows`,
`__eq__`, `__repr__` where it knows better. Operators are immutable. The file is long because half
of it documents the protocol, here once for all families.
"""

from __future__ import annotations

import abc
import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from homfast import _arrays, _memory
from homfast.measure.normal import PROBE, normal_block

_NOT_GIVEN: Any = object()
_Rows = Callable[[np.ndarray, np.ndarray], None]
_Space = tuple[int, np.dtype]


class Operator(abc.ABC):
    """A linear map A from R^n to R^m, or C^n to C^m, shape (m, n).

    `forward` and `adjoint` act on rows: the last axis is the signal, the leading axes are a batch.
    `matvec`, `matmat` and ``@`` mean what they do in SciPy: one vector, or columns.

    Inputs are what `homfast.linear` takes, NumPy arrays and CPU arrays with DLPack, in the dtype of
    the operator: nothing is cast, but a complex operator takes real input of its own precision as
    if it were complex. Results are of the library of the input. To the bit, a row of a result
    depends on that row and the operator alone, on every backend but `reference`.

    Operators combine: ``A @ B`` is the composition, ``A + B``, ``A - B``, ``-A``, ``2 * A`` and
    ``A / 2`` mean what they do for matrices, and `homfast.measure.VStack` stacks.
    """

    __array_ufunc__ = None  # ndarray @ op asks __rmatmul__ rather than taking op for a scalar

    def __init__(self, shape: tuple[int, int], dtype: Any):
        self._shape = (int(shape[0]), int(shape[1]))
        self._dtype = np.dtype(dtype)

    # What a family implements --------------------------------------------------------------------

    @abc.abstractmethod
    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, m) = rows (batch, n) times A^T; both have a contiguous last axis.

        Rows are of `input_dtype`, `out` is of `output_dtype`, and they do not overlap.
        """

    @abc.abstractmethod
    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, n) = rows (batch, m) times conj(A)."""

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, n)."""
        n = self.shape[1]
        self._check_dense(n)
        units = np.broadcast_to(np.eye(n, dtype=self.input_dtype), (*self._batch_shape, n, n))
        return np.ascontiguousarray(np.swapaxes(self.forward(units), -1, -2))

    def rows(self, i0: int, i1: int) -> Operator:
        """The operator of rows i0 <= i < i1, with the scale of this one.

        Raises
        ------
        TypeError, ValueError
            Unless 0 <= i0 <= i1 <= m, integers.
        """
        from homfast.measure.views import RowSlice

        return RowSlice(self, *self._check_range(i0, i1))

    # What it is ----------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return self._shape

    @property
    def dtype(self) -> np.dtype:
        """float32, float64, complex64 or complex128."""
        return self._dtype

    @property
    def input_dtype(self) -> np.dtype:
        """The dtype of x in ``A x``; `dtype` but for `RealInput`."""
        return self._dtype

    @property
    def output_dtype(self) -> np.dtype:
        """The dtype of ``A x``; `dtype` but for the adjoint of `RealInput`."""
        return self._dtype

    @property
    def seed(self) -> Any:
        """The seed that determines the operator; None where there is none."""
        return None

    @property
    def H(self) -> Operator:
        """The adjoint operator, shape (n, m); ``op.H.H is op``."""
        from homfast.measure.views import Adjoint

        return Adjoint(self)

    @property
    def T(self) -> Operator:
        """The transpose, for a real operator its adjoint."""
        return self.H if self.dtype.kind == "f" else self.H.conj()

    def conj(self) -> Operator:
        """The operator of the conjugated matrix, for a real operator itself."""
        from homfast.measure.views import Conjugate

        return self if self.dtype.kind == "f" else Conjugate(self)

    def transpose(self) -> Operator:
        """`T`, in SciPy's words."""
        return self.T

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"

    def __hash__(self) -> int:
        return hash((type(self), self.shape, self.dtype))

    # Products with rows --------------------------------------------------------------------------

    def forward(self, x: Any, out: Any = None) -> Any:
        """``A x`` for each row x.

        Parameters
        ----------
        x : array, shape (..., n), dtype of the operator
        out : array, shape (..., m), optional
            Where to write. It may overlap `x`.

        Returns
        -------
        array, shape (..., m), of the library of `x`

        Raises
        ------
        TypeError
            Another dtype, complex input, an array on another device, a list, a masked array.
        ValueError
            The last axis is not n, or `out` does not fit.
        """
        return self._product(self._forward_rows, x, "x", *self._spaces, out)

    def __call__(self, x: Any, out: Any = None) -> Any:
        """`forward`."""
        return self.forward(x, out)

    def adjoint(self, y: Any = _NOT_GIVEN, out: Any = None) -> Any:
        """``A^H y`` for each row y; without an argument `H`, as SciPy means it.

        Parameters
        ----------
        y : array, shape (..., m), dtype of the operator
        out : array, shape (..., n), optional
            Where to write. It may overlap `y`.

        Returns
        -------
        array, shape (..., n), of the library of `y`; or an operator

        Raises
        ------
        TypeError, ValueError
            As `forward`.
        """
        if y is _NOT_GIVEN:
            if out is not None:
                raise TypeError("adjoint: got out without y; pass y, or neither for the operator")
            return self.H
        return self._product(self._adjoint_rows, y, "y", *self._spaces[::-1], out)

    def gram(self, x: Any, out: Any = None) -> Any:
        """``A^H A x`` for each row x; to the bit ``adjoint(forward(x))``.

        Parameters
        ----------
        x : array, shape (..., n)
        out : array, shape (..., n), optional

        Returns
        -------
        array, shape (..., n), of the library of `x`
        """
        domain, _ = self._spaces
        return self._product(self._gram_rows, x, "x", domain, domain, out)

    def forward_sparse(self, indices: Any, values: Any) -> Any:
        """``A x`` for each row x that is zero outside a few indices.

        Parameters
        ----------
        indices : integer array, shape (..., s), each in [0, n)
            Values at an index that comes twice are added.
        values : array, shape (..., s), dtype of the operator

        Returns
        -------
        array, shape (..., m), of the library of `values`
            Summed in the order of the indices, so it may differ from `forward` by roundings.

        Raises
        ------
        TypeError
            Indices that are no integers, values as `forward`.
        ValueError
            An index out of range, or two shapes.
        """
        from homfast.measure.sparse_input import check_indices

        checked = self._check(values, "values", self.input_dtype)
        where = check_indices(indices, checked.shape, self.shape[1])
        self._check_batch(checked.shape[:-1], "values")
        out = _memory.empty((*checked.shape[:-1], self.shape[0]), self.output_dtype)
        rows, s = math.prod(checked.shape[:-1]), checked.shape[-1]
        with np.errstate(all="ignore"):
            self._forward_sparse_rows(
                where.reshape(rows, s), checked.reshape(rows, s), out.reshape(rows, self.shape[0])
            )
        return _arrays.result_like(out, values)

    # Products with vectors and columns, as SciPy means them --------------------------------------

    def matvec(self, x: Any) -> Any:
        """``A x`` for one vector x of shape (n,) or (n, 1); the result has as many axes."""
        return self._vector(self._forward_rows, x, "x", *self._spaces)

    def rmatvec(self, y: Any) -> Any:
        """``A^H y`` for one vector y of shape (m,) or (m, 1); the result has as many axes."""
        return self._vector(self._adjoint_rows, y, "y", *self._spaces[::-1])

    def matmat(self, X: Any) -> Any:
        """``A X`` for columns X of shape (n, K), shape (m, K)."""
        return self._columns(self._forward_rows, X, "X", *self._spaces)

    def rmatmat(self, Y: Any) -> Any:
        """``A^H Y`` for columns Y of shape (m, K), shape (n, K)."""
        return self._columns(self._adjoint_rows, Y, "Y", *self._spaces[::-1])

    def __matmul__(self, X: Any) -> Any:
        if isinstance(X, Operator):
            from homfast.measure.algebra import Composition

            return Composition(self, X)
        ndim = self._check(X, "X", self.input_dtype).ndim - len(self._batch_shape)
        if ndim not in (1, 2) or (ndim == 1 and self._batch_shape):
            n, axes = self.shape[1], ndim + len(self._batch_shape)
            raise ValueError(
                f"X: got {axes} axes, wanted ({n},) or columns ({n}, K), in a batch of operators "
                f"(B, {n}, K); for rows call op.forward(X)"
            )
        return self.matvec(X) if ndim == 1 else self.matmat(X)

    def __rmatmul__(self, X: Any) -> Any:
        # (X A)^T = A^T X^T: the rows of X through the transpose.
        return self.T.forward(X)

    # Combinations --------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Operator:
        from homfast.measure.algebra import Sum

        return Sum(self, other) if isinstance(other, Operator) else NotImplemented

    def __sub__(self, other: Any) -> Operator:
        return self + -other if isinstance(other, Operator) else NotImplemented

    def __neg__(self) -> Operator:
        return -1.0 * self

    def __mul__(self, factor: Any) -> Operator:
        from homfast.measure.algebra import Scaled

        return Scaled(factor, self) if isinstance(factor, numbers.Number) else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, factor: Any) -> Operator:
        if not isinstance(factor, numbers.Number):
            return NotImplemented
        return self * (1 / factor)  # type: ignore[operator]

    # Properties of A -----------------------------------------------------------------------------

    def norm(self, rtol: float = 1e-6) -> float:
        """The largest singular value, by iteration from a fixed random vector.

        Parameters
        ----------
        rtol : float
            Relative accuracy, from four units of roundoff to below 1.

        Returns
        -------
        float
            A singular value of A lies within ``rtol * norm`` of it. That it is the largest holds
            but for a set of start vectors of probability about 0. NaN if a product is not finite.

        Raises
        ------
        ValueError
            `rtol` out of range.
        RuntimeError
            No convergence.

        Notes
        -----
        See `homfast.measure.spectral_norm`. Nothing is assumed about the distribution of A.
        """
        from homfast.measure.spectral_norm import largest_singular_value

        return largest_singular_value(self, rtol)

    def dot_test(self, rtol: float | None = None) -> bool:
        """Whether forward and adjoint belong together: <A x, y> = <x, A^H y>.

        Parameters
        ----------
        rtol : float, optional
            The two may differ by ``rtol |A x| |y|``; by default ``8 eps sqrt(m + n)``, eps that of
            the dtype. x and y are fixed random vectors; inner products are in float64.

        Returns
        -------
        True

        Raises
        ------
        AssertionError
            They differ by more; the message has the numbers. As ``pylops.utils.dottest`` does.
        """
        m, n = self.shape
        if rtol is None:
            rtol = 8 * float(np.finfo(self.dtype).eps) * float(np.sqrt(m + n))
        batch = self._batch_shape
        count = math.prod(batch)
        x = normal_block(PROBE, 0, range(count), range(n), self.input_dtype).reshape(*batch, n)
        y = normal_block(PROBE, 0, range(count, 2 * count), range(m), self.output_dtype)
        y = y.reshape(*batch, m)
        forward, adjoint = (_widen(z) for z in (self.forward(x), self.adjoint(y)))
        left, right = np.vdot(_widen(y), forward), np.vdot(adjoint, _widen(x))
        if self.input_dtype != self.output_dtype:  # linear over the reals only
            left, right = left.real, right.real
        allowed = rtol * float(np.linalg.norm(forward)) * float(np.linalg.norm(y))
        if not abs(left - right) <= allowed:  # NaN fails too
            raise AssertionError(
                f"dot_test: <Ax, y> = {left.item()!r} and <x, A^H y> = {right.item()!r} differ by "
                f"{abs(left - right):.3g}, wanted at most rtol |Ax| |y| = {allowed:.3g} in {self!r}"
            )
        return True

    # In other libraries --------------------------------------------------------------------------

    def to_scipy(self) -> Any:
        """A ``scipy.sparse.linalg.LinearOperator``, see `homfast.measure.adapters.to_scipy`."""
        from homfast.measure import adapters

        return adapters.to_scipy(self)

    def to_pylops(self) -> Any:
        """A ``pylops.LinearOperator``, see `homfast.measure.adapters.to_pylops`."""
        from homfast.measure import adapters

        return adapters.to_pylops(self)

    def to_deepinv(self, img_size: tuple[int, ...]) -> Any:
        """A ``deepinv.physics.LinearPhysics``, see `homfast.measure.adapters.to_deepinv`."""
        from homfast.measure import adapters

        return adapters.to_deepinv(self, img_size)

    def to_torch(self) -> Any:
        """A ``torch.nn.Module`` with gradients, see `homfast.measure.adapters.to_torch`."""
        from homfast.measure import adapters

        return adapters.to_torch(self)

    # Within the package --------------------------------------------------------------------------

    @property
    def _spaces(self) -> tuple[_Space, _Space]:
        """Size and dtype of x, and of A x."""
        m, n = self.shape
        return (n, self.input_dtype), (m, self.output_dtype)

    def _check_dense(self, extra_rows: int = 0) -> None:
        """MemoryError if the matrix does not fit, or not with so many rows more."""
        shape = self.shape[0] + extra_rows, self.shape[1]
        fix = "take rows(i0, i1) of it at a time"
        _memory.check((*self._batch_shape, *shape), self.dtype, "to_dense: a matrix", fix)

    def _gram_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        measured = _memory.empty((rows.shape[0], self.shape[0]), self.output_dtype)
        self._forward_rows(rows, measured)
        self._adjoint_rows(measured, out)

    def _forward_sparse_rows(
        self, indices: np.ndarray, values: np.ndarray, out: np.ndarray
    ) -> None:
        """out (batch, m) = the rows given by indices and values, both (batch, s)."""
        from homfast.measure.sparse_input import through_dense_rows

        through_dense_rows(self, indices, values, out)

    def _check(self, array: Any, name: str, dtype: np.dtype) -> np.ndarray:
        """``array`` as a NumPy array of `dtype`."""
        if type(array) is np.ndarray and array.dtype is dtype:  # the common case, cheaply
            return array
        if dtype.kind == "f" and "complex" in str(getattr(array, "dtype", "")):
            raise TypeError(
                f"{name}: got {array.dtype} for a real operator of {dtype}; "
                f"apply it to {name}.real and {name}.imag"
            )
        checked = _arrays.host_array(array, name, (*_arrays.FLOATS, *_arrays.COMPLEX))
        if dtype.kind == "c" and checked.dtype == _arrays.real_dtype(dtype):
            return checked.astype(dtype)
        if checked.dtype != dtype:
            raise TypeError(
                f"{name}: got {checked.dtype}, wanted {dtype}, the dtype of the operator; "
                f"pass {name}.astype(np.{dtype}) or make the operator in {checked.dtype}"
            )
        return checked

    @property
    def _batch_shape(self) -> tuple[int, ...]:
        """Leading axes that inputs need: (B,) for a batch of B operators, else none."""
        return ()

    def _check_batch(self, shape: tuple[int, ...], name: str) -> None:
        batch = self._batch_shape
        if shape[: len(batch)] != batch:
            raise ValueError(
                f"{name}: got leading axes {shape}, wanted {(*batch, ...)} for a batch of "
                f"{batch[0]} operators"
            )

    def _check_range(self, i0: Any, i1: Any) -> tuple[int, int]:
        for name, value in (("i0", i0), ("i1", i1)):
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"{name}: got {value!r}, wanted an integer")
        if not 0 <= i0 <= i1 <= self.shape[0]:
            raise ValueError(f"rows: got ({i0}, {i1}), wanted 0 <= i0 <= i1 <= {self.shape[0]}")
        return int(i0), int(i1)

    def _product(
        self, apply: _Rows, array: Any, name: str, source: _Space, destination: _Space, out: Any
    ) -> Any:
        inputs = self._check(array, name, source[1])
        _arrays.check_last_axis(inputs, name, source[0], f"the operator of shape {self.shape}")
        self._check_batch(inputs.shape[:-1], name)
        shape = (*inputs.shape[:-1], destination[0])
        if out is None:
            _memory.check(shape, destination[1])
        target, finish = _arrays.prepare_out(out, shape, destination[1], (inputs,))
        _apply(apply, _arrays.as_rows(inputs), target)
        result = finish()
        return result if out is not None else _arrays.result_like(result, array)

    def _vector(
        self, apply: _Rows, array: Any, name: str, source: _Space, destination: _Space
    ) -> Any:
        batch, size = self._batch_shape, source[0]
        shape = self._check(array, name, source[1]).shape
        if shape == (*batch, size):
            return self._product(apply, array, name, source, destination, None)
        if shape == (*batch, size, 1):
            return self._columns(apply, array, name, source, destination)
        raise ValueError(
            f"{name}: got shape {shape}, wanted {(*batch, size)} or {(*batch, size, 1)}; columns "
            "go to matmat and rmatmat, rows to forward and adjoint"
        )

    def _columns(
        self, apply: _Rows, array: Any, name: str, source: _Space, destination: _Space
    ) -> Any:
        batch, size = self._batch_shape, source[0]
        columns = self._check(array, name, source[1])
        if columns.ndim != len(batch) + 2 or columns.shape[:-1] != (*batch, size):
            wanted = ", ".join(map(str, (*batch, size, "K")))
            raise ValueError(
                f"{name}: got shape {columns.shape}, wanted columns ({wanted}) to match the "
                f"operator of shape {self.shape}; rows go to forward and adjoint"
            )
        rows = np.swapaxes(columns, -1, -2)
        out = _memory.empty((*rows.shape[:-1], destination[0]), destination[1])
        _apply(apply, _arrays.as_rows(rows), out.reshape(math.prod(rows.shape[:-1]), out.shape[-1]))
        return _arrays.result_like(np.swapaxes(out, -1, -2), array)


def _apply(apply: _Rows, rows: np.ndarray, out: np.ndarray) -> None:
    if not rows.size or not out.size:
        out[...] = 0  # the sum of nothing is +0.0, which no family needs to think of
        return
    with np.errstate(all="ignore"):
        apply(rows, out)


def _widen(values: np.ndarray) -> np.ndarray:
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
