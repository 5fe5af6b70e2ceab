"""Products of a linear map with rows: arguments checked, results of the library of the input."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from homfast import _arrays, _memory, _places
from homfast.measure import on_device

if TYPE_CHECKING:
    from homfast.measure.operator import Operator

_NOT_GIVEN: Any = object()
Rows = Callable[[np.ndarray, np.ndarray], None]
Space = tuple[int, np.dtype]


class RowProducts(abc.ABC):
    """A map from R^n to R^m or C^n to C^m on the last axis; `Operator` is what users see."""

    def __init__(self, shape: tuple[int, int], dtype: Any):
        self._shape = (int(shape[0]), int(shape[1]))
        self._dtype = np.dtype(dtype)

    # What a family implements ---------------------------------------------------------------------

    @abc.abstractmethod
    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, m) = rows (batch, n) times A^T; both have a contiguous last axis.

        Rows are of `input_dtype`, `out` is of `output_dtype`, and they do not overlap.
        """

    @abc.abstractmethod
    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, n) = rows (batch, m) times conj(A)."""

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

    def _device_rows(self, at: on_device.Device, rows: Any, adjoint: bool, out: Any) -> None:
        """`_forward_rows`, or `_adjoint_rows`, on the device of `at`."""
        raise on_device.refused(self, "y" if adjoint else "x", rows, at.without)

    # What it is -----------------------------------------------------------------------------------

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
    def _batch_shape(self) -> tuple[int, ...]:
        """Leading axes that inputs need: (B,) for a batch of B operators, else none."""
        return ()

    @property
    def _spaces(self) -> tuple[Space, Space]:
        """Size and dtype of x, and of A x."""
        m, n = self.shape
        return (n, self.input_dtype), (m, self.output_dtype)

    @property
    @abc.abstractmethod
    def H(self) -> Operator:
        """The adjoint operator, shape (n, m); ``op.H.H is op``."""

    # Products -------------------------------------------------------------------------------------

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

        checked = self._check_on_host(values, "values", self.input_dtype)
        where = check_indices(indices, checked.shape, self.shape[1])
        self._check_batch(checked.shape[:-1], "values")
        out = _memory.empty((*checked.shape[:-1], self.shape[0]), self.output_dtype)
        rows, s = math.prod(checked.shape[:-1]), checked.shape[-1]
        with np.errstate(all="ignore"):
            self._forward_sparse_rows(
                where.reshape(rows, s), checked.reshape(rows, s), out.reshape(rows, self.shape[0])
            )
        return _arrays.result_like(out, values)

    # Checks ---------------------------------------------------------------------------------------

    def _check(self, array: Any, name: str, dtype: np.dtype) -> Any:
        """``array`` as a NumPy array of `dtype`, or described if it is on a device."""
        if type(array) is np.ndarray and array.dtype is dtype:  # the common case, cheaply
            return array
        if dtype.kind == "f" and "complex" in str(getattr(array, "dtype", "")):
            raise TypeError(
                f"{name}: got {array.dtype} for a real operator of {dtype}; "
                f"apply it to {name}.real and {name}.imag"
            )
        if type(array) is not np.ndarray and (place := _places.place_of(array)).on_device:
            return on_device.check(self, array, name, dtype, place)
        checked = _arrays.host_array(array, name, (*_arrays.FLOATS, *_arrays.COMPLEX))
        if dtype.kind == "c" and checked.dtype == _arrays.real_dtype(dtype):
            return checked.astype(dtype)
        if checked.dtype != dtype:
            other = np.result_type(checked.dtype, *((np.complex64,) if dtype.kind == "c" else ()))
            raise TypeError(
                f"{name}: got {checked.dtype}, wanted {dtype}, the dtype of the operator; "
                f"pass {name}.astype(np.{dtype}) or make the operator in {other}"
            )
        return checked

    def _check_on_host(self, array: Any, name: str, dtype: np.dtype) -> np.ndarray:
        """As `_check`, for what has no form for a device."""
        checked = self._check(array, name, dtype)
        if not isinstance(checked, np.ndarray):
            why = "this takes the CPU's only (there, forward, adjoint and gram take rows)"
            raise on_device.refused(self, name, array, why)
        return checked

    def _check_batch(self, shape: tuple[int, ...], name: str) -> None:
        batch = self._batch_shape
        if shape[: len(batch)] != batch:
            raise ValueError(
                f"{name}: got leading axes {shape}, wanted ({batch[0]}, ...), first that of the "
                f"{batch[0]} operators; op.operators are single ones"
            )

    def _product(
        self, apply: Rows, array: Any, name: str, source: Space, destination: Space, out: Any
    ) -> Any:
        inputs = self._check(array, name, source[1])
        _arrays.check_last_axis(inputs, name, source[0], f"the operator of shape {self.shape}")
        self._check_batch(inputs.shape[:-1], name)
        if type(inputs) is not np.ndarray:
            return on_device.product(self, apply.__name__, inputs, *destination, out)
        shape = (*inputs.shape[:-1], destination[0])
        if out is None:
            _memory.check(shape, destination[1])
        target, finish = _arrays.prepare_out(out, shape, destination[1], (inputs,))
        apply_rows(apply, _arrays.as_rows(inputs), target)
        result = finish()
        return result if out is not None else _arrays.result_like(result, array)


def apply_rows(apply: Rows, rows: np.ndarray, out: np.ndarray) -> None:
    if not rows.size or not out.size:
        out[...] = 0  # the sum of nothing is +0.0, which no family needs to think of
        return
    with np.errstate(all="ignore"):
        apply(rows, out)
