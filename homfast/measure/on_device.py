"""Products of operators with rows on a CUDA device.

A family that has them implements `_device_rows`; the others are refused by name, for nothing is
moved to the CPU in silence. Seeded operators are made on the fly there, whatever `store` says: they
are pure functions of their seed, so nothing of theirs is on one device or another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from homfast import _arrays, _backends, _places
from homfast._described import Described
from homfast.measure import complex_product


class Device:
    """Where the rows of one call are: the backend that computes there, and its memory."""

    def __init__(self, described: Any):
        self.place = _places.place_of(described.array)
        self.backend = self.place.resolve(None, described)
        self._like = described

    @property
    def key(self) -> tuple[Any, ...]:
        """What tables of an operator that were uploaded belong to."""
        return self.backend.name, self._like.library, self._like.place

    @property
    def without(self) -> str:
        """Why a family is refused that has no products there."""
        return f"backend {self.backend.name!r} has no products of this operator"

    def functions(self, op: Any) -> Any:
        """Those of NumPy's that the library of the rows has: `homfast._backends.transforms`."""
        found = self._like.library.functions(self._like.array)
        if found is None:
            raise refused(op, "rows", self._like.array, f"it rests on {_WITHOUT_FUNCTIONS}")
        return found

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> Any:
        """Room for results."""
        return self.place.empty(shape, dtype, self._like)

    def upload(self, table: np.ndarray) -> Any:
        """A table that an operator has derived from its seed, on the device."""
        return self.place.upload(np.ascontiguousarray(table), self._like.array)

    def zero(self, out: Any) -> None:
        """out = +0.0."""
        self.place.zero(out)

    def add(self, out: Any, term: Any) -> None:
        """out += term, each element rounded once, by the library."""
        self.place.add(out, term)

    def scale(self, out: Any, factor: complex) -> None:
        """out *= factor, unless that is 1; see `homfast.measure.sparse_input.multiply`."""
        a, b = complex(factor).real, complex(factor).imag
        if b:
            real = out.real * a - out.imag * b + 0.0
            self.place.assign(out.imag, out.real * b + out.imag * a + 0.0)
            self.place.assign(out.real, real)
        elif a != 1.0:
            self.backend.scale(out, a)

    def conjugate(self, rows: Any) -> None:
        """rows = conj(rows), in place; real rows stay what they are."""
        if self.place.shape_and_dtype(rows)[1].kind == "c":
            self.place.assign(rows.imag, -rows.imag)

    def complex_product(
        self, product: Callable[..., None], rows: Any, adjoint: bool, out: Any
    ) -> None:
        """`homfast.measure.complex_product`; `product` takes (x, adjoint, out), real."""
        dtype = _arrays.real_dtype(self.place.shape_and_dtype(rows)[1])
        whole = complex_product.adjoint if adjoint else complex_product.forward
        empty = functools.partial(self.empty, dtype=dtype)
        whole(lambda x, y: product(x, adjoint, y), rows, out, empty)

    def as_complex(self, real: Any, dtype: np.dtype) -> Any:
        """Complex rows with the values of real ones."""
        rows = self.empty(real.shape, dtype)
        self.place.assign(rows.real, real)
        self.zero(rows.imag)
        return rows

    def check_beside(self, matrix: Any, name: str) -> None:
        """TypeError unless `matrix` is where the rows are, and of their library."""
        found = self.place.checked_array(matrix, name, (*_arrays.FLOATS, *_arrays.COMPLEX))
        self.place.check_same_place(self._like, "the rows", found, name)


_WITHOUT_FUNCTIONS = (
    "FFTs and parts of complex numbers that homfast knows of torch and CuPy only (cupy.asarray(x) "
    "copies nothing)"
)


def check(op: Any, array: Any, name: str, dtype: np.dtype, place: Any) -> Any:
    """``array``, on a device, as `place`, `homfast._device_arrays`, describes it.

    A complex operator takes real rows of its own precision as complex ones.
    """
    checked = place.checked_array(array, name, (*_arrays.FLOATS, *_arrays.COMPLEX))
    if "c" in (dtype.kind, op.dtype.kind) and checked.library.functions(array) is None:
        raise refused(op, name, array, f"complex numbers rest on {_WITHOUT_FUNCTIONS}")
    if dtype.kind == "c" and checked.dtype == _arrays.real_dtype(dtype):
        with place.current(checked):
            return Described(Device(checked).as_complex(array, dtype), name)
    if checked.dtype != dtype:
        raise TypeError(
            f"{name}: got {checked.dtype}, wanted {dtype}, the dtype of the operator; cast it, or "
            f"make the operator in {checked.dtype}"
        )
    return checked


def product(op: Any, apply: str, inputs: Any, size: int, dtype: np.dtype, out: Any) -> Any:
    """What ``forward``, ``adjoint`` and ``gram`` return: `apply` is the family's method for it."""
    place = _places.place_of(inputs.array)
    at = Device(inputs)
    with place.current(inputs):
        target, finish = place.prepare_out(out, (*inputs.shape[:-1], size), dtype, (inputs,))
        rows = place.as_rows(inputs)
        if not inputs.size or not target.shape[0] or not size or not op.shape[0]:
            at.zero(target)
        elif apply == "_gram_rows":
            measured = at.empty((rows.shape[0], op.shape[0]), op.output_dtype)
            op._device_rows(at, rows, False, measured)
            op._device_rows(at, measured, True, target)
        else:
            op._device_rows(at, rows, apply == "_adjoint_rows", target)
    return finish()


def refused(op: Any, name: str, array: Any, why: str) -> TypeError:
    """What to raise for an array that an operator does not take where it is."""
    return TypeError(
        f"{name}: got a {_arrays._type_name(array)} on {_backends.device_of(array)} for a "
        f"{type(op).__name__} of {op.dtype}, but {why}; move the array to the CPU yourself, "
        "homfast never does"
    )


class Tables:
    """What an operator derives from its seed, uploaded once for each device."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], Any] = {}

    def get(self, at: Device, make: Callable[[], Any]) -> Any:
        """That of the device of `at`; made by the first call there."""
        if at.key not in self._kept:
            self._kept[at.key] = make()
        return self._kept[at.key]


class DeviceMatrix:
    """A matrix on a device, for `homfast.measure.Dense`; `homfast.measure.packed` has the CPU's."""

    def __init__(self, described: Any):
        self.array = described.library.copy(described.array)
        self._complex = described.dtype.kind == "c"
        real = described.library.as_real(self.array) if self._complex else self.array
        self._backend = _places.place_of(self.array).resolve(None, described)
        self._handle = self._backend.pack_weight(real)

    def product(self, at: Device, rows: Any, adjoint: bool, out: Any) -> None:
        """out (batch, m) = rows array^T; or out (batch, n) = rows conj(array)."""
        if self._complex:
            at.complex_product(self._multiply, rows, adjoint, out)
        else:
            self._multiply(rows, adjoint, out)

    def _multiply(self, rows: Any, adjoint: bool, out: Any) -> None:
        if adjoint:
            self._backend.grad_input(rows, self._handle, None, 0.0, out)
        else:
            self._backend.linear(rows, self._handle, out)

    def forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        """TypeError: the rows are on the CPU."""
        raise TypeError(
            f"x: got a {_arrays._type_name(rows)} on the CPU for a Dense whose matrix is on "
            f"{_backends.device_of(self.array)}; move it there yourself, homfast never does"
        )

    adjoint_rows = forward_rows
