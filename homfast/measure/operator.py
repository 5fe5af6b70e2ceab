"""What every measurement operator answers; a family implements two products and little else.

A family is a subclass with `_forward_rows` and `_adjoint_rows`, which get checked rows and write
into rows the base allocated. It overrides `to_dense`, `rows`, `norm`, `_forward_sparse_rows`,
`_gram_rows`, `__eq__`, `__repr__` where it knows better. Operators are immutable.
"""

from __future__ import annotations

import cmath
import numbers
from typing import Any

import numpy as np

from homfast import _memory
from homfast.measure.columns import ColumnProducts


class Operator(ColumnProducts):
    """A linear map A from R^n to R^m, or C^n to C^m, shape (m, n).

    `forward` and `adjoint` act on rows: the last axis is the signal, the leading axes are a batch.
    `matvec`, `matmat` and ``@`` mean what they do in SciPy: one vector, or columns.

    Inputs are what `homfast.linear` takes, NumPy arrays, CPU arrays with DLPack and arrays on a
    CUDA device, in the dtype of the operator: nothing is cast, but a complex operator takes real
    input of its own precision as if it were complex. Results are of the library of the input. To
    the bit, a row of a result depends on that row and the operator alone, on every backend but
    `reference` and `cupy`, and but for the Fourier transforms of a device, which are its library's.

    Operators combine: ``A @ B`` is the composition, ``A + B``, ``A - B``, ``-A``, ``2 * A`` and
    ``A / 2`` mean what they do for matrices, and `homfast.measure.VStack` stacks.
    """

    __array_ufunc__ = None  # ndarray @ op asks __rmatmul__ rather than taking op for a scalar

    # What it is -----------------------------------------------------------------------------------

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

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"

    def __hash__(self) -> int:
        return hash((type(self), self.shape, self.dtype))

    # Combinations ---------------------------------------------------------------------------------

    def __matmul__(self, X: Any) -> Any:
        from homfast.measure.algebra import Composition

        return Composition(self, X) if isinstance(X, Operator) else super().__matmul__(X)

    def __add__(self, other: Any) -> Operator:
        from homfast.measure.algebra import Sum

        return Sum(self, other) if isinstance(other, Operator) else NotImplemented

    def __sub__(self, other: Any) -> Operator:
        return self + -other if isinstance(other, Operator) else NotImplemented

    def __neg__(self) -> Operator:
        return -1.0 * self

    def __mul__(self, factor: Any) -> Operator:
        from homfast.measure.algebra import Scaled

        number = _as_number(factor)
        return NotImplemented if number is None else Scaled(number, self)

    __rmul__ = __mul__

    def __truediv__(self, factor: Any) -> Operator:
        number = _as_number(factor)
        return NotImplemented if number is None else self * _inverse(number)

    # Properties of A ------------------------------------------------------------------------------

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The single operators of a batch of them; itself alone where it is one."""
        return tuple(map(self._member, range(*self._batch_shape))) if self._batch_shape else (self,)

    def norm(self, rtol: float = 1e-6) -> Any:
        """The largest singular value, by iteration from a fixed random vector.

        Parameters
        ----------
        rtol : float
            Relative accuracy, from four units of roundoff to below 1.

        Returns
        -------
        float, or float64 (B,) of a batch of B operators
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

        if self._batch_shape:
            return np.array([op.norm(rtol) for op in self.operators])
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
        TypeError, ValueError
            `rtol` is no number, or negative.
        """
        from homfast.measure.dot_test import check_adjoint

        return check_adjoint(self, rtol)

    # In other libraries ---------------------------------------------------------------------------

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

    def to_jax(self) -> Any:
        """JAX functions with derivatives, see `homfast.measure.adapters.to_jax`."""
        from homfast.measure import adapters

        return adapters.to_jax(self)

    # Within the package ---------------------------------------------------------------------------

    def _member(self, b: int) -> Operator:
        """Operator b of a batch; what is no batch is the same for each."""
        return self

    def _check_range(self, i0: Any, i1: Any) -> tuple[int, int]:
        for name, value in (("i0", i0), ("i1", i1)):
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"{name}: got {value!r}, wanted an integer")
        if not 0 <= i0 <= i1 <= self.shape[0]:
            raise ValueError(f"rows: got ({i0}, {i1}), wanted 0 <= i0 <= i1 <= {self.shape[0]}")
        return int(i0), int(i1)

    def _check_dense(self, extra_rows: int = 0) -> None:
        """MemoryError if the matrix does not fit, or not with so many rows more."""
        shape = self.shape[0] + extra_rows, self.shape[1]
        fix = "take rows(i0, i1) of it at a time"
        _memory.check((*self._batch_shape, *shape), self.dtype, "to_dense: a matrix", fix)


def _as_number(factor: Any) -> Any:
    """A number, also of an array without axes; None for what is none."""
    if isinstance(factor, np.ndarray) and factor.ndim == 0 and factor.dtype.kind in "iufc":
        factor = factor[()]
    return factor if isinstance(factor, numbers.Number) else None


def _inverse(number: Any) -> Any:
    """In double precision at least, whatever the type of the number."""
    plain = number.item() if isinstance(number, np.generic) else number
    inverse = 1 / plain
    if cmath.isinf(inverse):
        raise ValueError(
            f"factor: got division by {number!r}, wanted a number with a finite inverse; multiply "
            "by two factors, one after the other"
        )
    return inverse
