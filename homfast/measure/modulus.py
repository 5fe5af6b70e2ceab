"""Measurements without phase: magnitudes |Ax| and intensities |Ax|^2, and their gradients."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from homfast import _arrays, _places
from homfast.measure.operator import Operator


class _Modulus(abc.ABC):
    """A function of |A x|, element by element."""

    _kind: ClassVar[str]  # for backends

    def __init__(self, op: Operator):
        if not isinstance(op, Operator):
            raise TypeError(
                f"op: got {type(op).__name__}, wanted a linear operator of homfast.measure; give "
                "Dense(matrix) for a matrix"
            )
        self._op = op

    @property
    def op(self) -> Operator:
        """The linear operator A."""
        return self._op

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return self._op.shape

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the measurements, float32 or float64."""
        return _arrays.real_dtype(self._op.output_dtype)

    @staticmethod
    @abc.abstractmethod
    def _value(z: np.ndarray) -> np.ndarray:
        """The measurements at z = A x."""

    @staticmethod
    @abc.abstractmethod
    def _slope(z: np.ndarray) -> np.ndarray:
        """What a gradient is multiplied by, elementwise, before the adjoint of A."""

    def forward(self, x: Any) -> Any:
        """The measurements of each row x, real.

        Parameters
        ----------
        x : array, shape (..., n), dtype of the operator

        Returns
        -------
        array, shape (..., m), of the library of `x`

        Raises
        ------
        TypeError, ValueError
            As ``Operator.forward``.
        """
        return self._value_like(self._measure(x), x)

    __call__ = forward

    def vjp(self, x: Any) -> tuple[Any, Callable[[Any], Any]]:
        """The measurements of each row x, and their vector-Jacobian product.

        Parameters
        ----------
        x : array, shape (..., n), dtype of the operator

        Returns
        -------
        y : array, shape (..., m)
        vjp : callable
            From g of the shape of `y`, real, to the gradient of ``<g, y>`` in x; for complex x in
            PyTorch's convention, the direction of steepest ascent. It keeps A x.
        """
        z = self._measure(x)
        if _places.place_of(z).on_device:
            return self._vjp_on_device(z)

        def vjp(g: Any) -> Any:
            grad = _arrays.host_array(g, "g")
            if grad.dtype != self.dtype:
                raise TypeError(f"g: got {grad.dtype}, wanted {self.dtype}, the dtype of y")
            if grad.shape != z.shape:
                raise ValueError(f"g: got shape {grad.shape}, wanted {z.shape}, that of y")
            with np.errstate(all="ignore"):
                weighted = self._slope(z)
                weighted.real *= grad
                if weighted.dtype.kind == "c":
                    weighted.imag *= grad
            return _arrays.result_like(self._op.adjoint(weighted), g)

        return self._value_like(z, x), vjp

    def _vjp_on_device(self, z: Any) -> tuple[Any, Callable[[Any], Any]]:
        place = _places.place_of(z)
        dtype = self._op.output_dtype
        measured = place.checked_array(z, "z", (dtype,))
        backend = place.resolve(None, measured)

        def vjp(g: Any) -> Any:
            grad = place.checked_array(g, "g", (self.dtype,))
            place.check_same_place(measured, "y", grad, "g")
            if grad.shape != measured.shape:
                raise ValueError(f"g: got shape {grad.shape}, wanted {measured.shape}, that of y")
            weighted = place.empty(measured.shape, dtype, measured)
            backend.modulus_gradient(self._kind, z, place.contiguous(g), weighted)
            return self._op.adjoint(weighted)

        return self._value_like(z, z), vjp

    def _measure(self, x: Any) -> Any:
        if type(x) is np.ndarray:
            return self._op.forward(x)
        if _places.place_of(x).on_device:
            return self._op.forward(x)
        dtypes = (*_arrays.FLOATS, *_arrays.COMPLEX)
        return self._op.forward(_arrays.host_array(x, "x", dtypes))

    def _value_like(self, z: Any, x: Any) -> Any:
        place = _places.place_of(z)
        if place.on_device:
            measured = place.checked_array(z, "z", (self._op.output_dtype,))
            out = place.empty(measured.shape, self.dtype, measured)
            place.resolve(None, measured).modulus(self._kind, z, out)
            return out
        with np.errstate(all="ignore"):
            return _arrays.result_like(self._value(z), x)

    def __eq__(self, other: Any) -> bool:
        return type(other) is type(self) and self._op == other._op

    def __hash__(self) -> int:
        return hash((type(self), self._op))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._op!r})"


class Magnitude(_Modulus):
    """``|A x|``, elementwise: positively homogeneous of degree 1.

    Parameters
    ----------
    op : Operator
        A, real or complex.

    Notes
    -----
    The gradient of ``<g, |A x|>`` is ``A^H (g z / |z|)``, z = A x, with 0 where z is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.measure import Dense, Magnitude
    >>> y, vjp = Magnitude(Dense(np.float32([[1, 1], [1, -1]]))).vjp(np.float32([1, 2]))
    >>> y, vjp(np.float32([1, 1]))
    (array([3., 1.], dtype=float32), array([0., 2.], dtype=float32))
    """

    _kind = "magnitude"

    @staticmethod
    def _value(z: np.ndarray) -> np.ndarray:
        return np.hypot(z.real, z.imag) if z.dtype.kind == "c" else np.abs(z)

    @staticmethod
    def _slope(z: np.ndarray) -> np.ndarray:
        if z.dtype.kind == "f":
            return np.sign(z)
        size = np.hypot(z.real, z.imag)
        slope = np.zeros_like(z)
        np.divide(z.real, size, out=slope.real, where=size != 0)
        np.divide(z.imag, size, out=slope.imag, where=size != 0)
        return slope


class Intensity(_Modulus):
    """``|A x|^2``, elementwise: positively homogeneous of degree 2.

    Parameters
    ----------
    op : Operator
        A, real or complex.

    Notes
    -----
    The gradient of ``<g, |A x|^2>`` is ``2 A^H (g z)``, z = A x.

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.measure import Dense, Intensity
    >>> Intensity(Dense(np.complex64([[1, 1j]])))(np.complex64([1, 2]))
    array([5.], dtype=float32)
    """

    _kind = "intensity"

    @staticmethod
    def _value(z: np.ndarray) -> np.ndarray:
        return z.real * z.real + z.imag * z.imag if z.dtype.kind == "c" else z * z

    @staticmethod
    def _slope(z: np.ndarray) -> np.ndarray:
        return z + z
