"""What every measurement operator answers; a family implements two products and little else.

A family is a subclass with `_forward_rows` and `_adjoint_rows`, which get checked rows and write
into rows the base allocated. It overrides `to_dense`, `rows`, `__eq__`, `__repr__` where it knows
better. Operators are immutable, and here all are real: `T` is `H`. The file is long because half
of it documents the protocol, here once for all families.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import numpy as np

from homfast import _arrays
from homfast.measure.normal import PROBE, normal_block

_NOT_GIVEN: Any = object()
_Rows = Callable[[np.ndarray, np.ndarray], None]


class Operator(abc.ABC):
    """A linear map A from R^n to R^m, shape (m, n).

    `forward` and `adjoint` act on rows: the last axis is the signal, the leading axes are a batch.
    `matvec`, `matmat` and ``@`` mean what they do in SciPy: one vector, or columns.

    Inputs are what `homfast.linear` takes, NumPy arrays and CPU arrays with DLPack, in the dtype of
    the operator: nothing is cast. Results are of the library of the input. To the bit, a row of a
    result depends on that row and the operator alone, on every backend but `reference`.
    """

    __array_ufunc__ = None  # ndarray @ op asks __rmatmul__ rather than taking op for a scalar

    def __init__(self, shape: tuple[int, int], dtype: Any):
        self._shape = (int(shape[0]), int(shape[1]))
        self._dtype = np.dtype(dtype)

    # What a family implements --------------------------------------------------------------------

    @abc.abstractmethod
    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, m) = rows (batch, n) times A^T; both have a contiguous last axis."""

    @abc.abstractmethod
    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, n) = rows (batch, m) times conj(A)."""

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, n)."""
        return self.adjoint(np.eye(self.shape[0], dtype=self.dtype))

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
        """float32 or float64."""
        return self._dtype

    @property
    def seed(self) -> int | None:
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
        return self.H

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
        m, n = self.shape
        return self._product(self._forward_rows, x, "x", n, m, out)

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
        m, n = self.shape
        return self._product(self._adjoint_rows, y, "y", m, n, out)

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
        m, n = self.shape

        def gram_rows(rows: np.ndarray, target: np.ndarray) -> None:
            measured = np.empty((rows.shape[0], m), self.dtype)
            self._forward_rows(rows, measured)
            self._adjoint_rows(measured, target)

        return self._product(gram_rows, x, "x", n, n, out)

    # Products with vectors and columns, as SciPy means them --------------------------------------

    def matvec(self, x: Any) -> Any:
        """``A x`` for one vector x of shape (n,) or (n, 1); the result has as many axes."""
        return self._vector(self._forward_rows, x, "x", self.shape[1], self.shape[0])

    def rmatvec(self, y: Any) -> Any:
        """``A^H y`` for one vector y of shape (m,) or (m, 1); the result has as many axes."""
        return self._vector(self._adjoint_rows, y, "y", self.shape[0], self.shape[1])

    def matmat(self, X: Any) -> Any:
        """``A X`` for columns X of shape (n, K), shape (m, K)."""
        return self._columns(self._forward_rows, X, "X", self.shape[1], self.shape[0])

    def rmatmat(self, Y: Any) -> Any:
        """``A^H Y`` for columns Y of shape (m, K), shape (n, K)."""
        return self._columns(self._adjoint_rows, Y, "Y", self.shape[0], self.shape[1])

    def __matmul__(self, X: Any) -> Any:
        if isinstance(X, Operator):
            return NotImplemented
        ndim = self._check(X, "X").ndim
        if ndim not in (1, 2):
            raise ValueError(
                f"X: got {ndim} axes, wanted ({self.shape[1]},) or columns ({self.shape[1]}, K); "
                "for rows call op.forward(X)"
            )
        return self.matvec(X) if ndim == 1 else self.matmat(X)

    def __rmatmul__(self, X: Any) -> Any:
        # (X A)^T = A^T X^T: the rows of X through the transpose.
        return self.T.forward(X)

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
        x = normal_block(PROBE, 0, range(1), range(n), self.dtype)[0]
        y = normal_block(PROBE, 0, range(1, 2), range(m), self.dtype)[0]
        forward, adjoint = (z.astype(np.float64) for z in (self.forward(x), self.adjoint(y)))
        left = float(np.dot(forward, y.astype(np.float64)))
        right = float(np.dot(x.astype(np.float64), adjoint))
        allowed = rtol * float(np.linalg.norm(forward)) * float(np.linalg.norm(y))
        if not abs(left - right) <= allowed:  # NaN fails too
            raise AssertionError(
                f"dot_test: <Ax, y> = {left!r} and <x, A^H y> = {right!r} differ by "
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

    def _check(self, array: Any, name: str) -> np.ndarray:
        """``array`` as a NumPy array of the operator's dtype."""
        if type(array) is np.ndarray and array.dtype is self._dtype:  # the common case, cheaply
            return array
        if "complex" in str(getattr(array, "dtype", "")):
            raise TypeError(
                f"{name}: got {array.dtype} for a real operator of {self.dtype}; "
                f"apply it to {name}.real and {name}.imag"
            )
        checked = _arrays.host_array(array, name)
        if checked.dtype != self.dtype:
            raise TypeError(
                f"{name}: got {checked.dtype}, wanted {self.dtype}, the dtype of the operator; "
                f"pass {name}.astype(np.{self.dtype}) or make the operator in {checked.dtype}"
            )
        return checked

    def _check_range(self, i0: Any, i1: Any) -> tuple[int, int]:
        for name, value in (("i0", i0), ("i1", i1)):
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"{name}: got {value!r}, wanted an integer")
        if not 0 <= i0 <= i1 <= self.shape[0]:
            raise ValueError(f"rows: got ({i0}, {i1}), wanted 0 <= i0 <= i1 <= {self.shape[0]}")
        return int(i0), int(i1)

    def _product(
        self, apply: _Rows, array: Any, name: str, size_in: int, size_out: int, out: Any
    ) -> Any:
        inputs = self._check(array, name)
        _arrays.check_last_axis(inputs, name, size_in, f"the operator of shape {self.shape}")
        shape = (*inputs.shape[:-1], size_out)
        target, finish = _arrays.prepare_out(out, shape, self.dtype, (inputs,))
        apply(_arrays.as_rows(inputs), target)
        result = finish()
        return result if out is not None else _arrays.result_like(result, array)

    def _vector(self, apply: _Rows, array: Any, name: str, size_in: int, size_out: int) -> Any:
        shape = self._check(array, name).shape
        if shape == (size_in,):
            return self._product(apply, array, name, size_in, size_out, None)
        if shape == (size_in, 1):
            return self._columns(apply, array, name, size_in, size_out)
        raise ValueError(
            f"{name}: got shape {shape}, wanted ({size_in},) or ({size_in}, 1); columns go to "
            "matmat and rmatmat, rows to forward and adjoint"
        )

    def _columns(self, apply: _Rows, array: Any, name: str, size_in: int, size_out: int) -> Any:
        columns = self._check(array, name)
        if columns.ndim != 2 or columns.shape[0] != size_in:
            raise ValueError(
                f"{name}: got shape {columns.shape}, wanted columns ({size_in}, K) to match the "
                f"operator of shape {self.shape}; rows go to forward and adjoint"
            )
        out = np.empty((columns.shape[1], size_out), self.dtype)
        apply(_arrays.as_kernel_matrix(columns.T), out)
        return _arrays.result_like(out.T, array)
