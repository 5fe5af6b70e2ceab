"""Products of operators with rows on a CUDA device.

A family that has them implements `_device_rows`; the others are refused by name, for nothing is
moved to the CPU in silence. Seeded operators are made on the fly there, whatever `store` says: they
are pure functions of their seed, so nothing of theirs is on one device or another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from homfast import _arrays, _backends, _places


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

    def empty(self, rows: Any, features: int) -> Any:
        """Room for results, one row for each of `rows`."""
        return self.place.empty((rows.shape[0], features), self._like.dtype, self._like)

    def upload(self, table: np.ndarray) -> Any:
        """A table that an operator has derived from its seed, on the device."""
        return self.place.upload(np.ascontiguousarray(table), self._like.array)

    def zero(self, out: Any) -> None:
        """out = +0.0."""
        zeros = np.zeros((1, out.shape[1]), self._like.dtype)
        rows = self.place.broadcast_rows([self.upload(zeros)], out.shape[0])
        self.place.assign(out, rows[0])

    def add(self, out: Any, term: Any) -> None:
        """out += term, each element rounded once, by the library."""
        self.place.add(out, term)

    def scale(self, out: Any, factor: float) -> None:
        """out *= factor, unless that is 1."""
        if factor != 1.0:
            self.backend.scale(out, factor)

    def check_beside(self, matrix: Any, name: str) -> None:
        """TypeError unless `matrix` is where the rows are, and of their library."""
        found = self.place.checked_array(matrix, name)
        self.place.check_same_place(self._like, "the rows", found, name)


def check(op: Any, array: Any, name: str, dtype: np.dtype) -> Any:
    """``array``, on a device, as `homfast._device_arrays` describes it."""
    if (dtype.kind == "c" or op.dtype.kind == "c") and not op._complex_on_device:
        raise refused(op, name, array, "complex operators like it compute on the CPU")
    dtypes = (*_arrays.FLOATS, *_arrays.COMPLEX)
    checked = _places.place_of(array).checked_array(array, name, dtypes)
    if checked.dtype != dtype:
        raise TypeError(
            f"{name}: got {checked.dtype}, wanted {dtype}, the dtype of the operator; cast it, or "
            f"make the operator in {checked.dtype}"
        )
    return checked


def product(op: Any, apply: str, inputs: Any, size: int, out: Any) -> Any:
    """What ``forward``, ``adjoint`` and ``gram`` return: `apply` is the family's method for it."""
    place = _places.place_of(inputs.array)
    shape = (*inputs.shape[:-1], size)
    at = Device(inputs)
    with place.current(inputs):
        target, finish = place.prepare_out(out, shape, inputs.dtype, (inputs,))
        rows = place.as_rows(inputs)
        if not inputs.size or not target.shape[0] or not size:
            at.zero(target)
        elif apply == "_gram_rows":
            measured = at.empty(rows, op.shape[0])
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
        self.place = _places.place_of(described.array)
        self.array = self.place.copied(described)
        self._backend = self.place.resolve(None, described)
        self._handle = self._backend.pack_weight(self.array)

    def forward_rows(self, rows: Any, out: Any) -> None:
        """out (batch, m) = rows (batch, n) array^T."""
        self._check(rows)
        self._backend.linear(rows, self._handle, out)

    def adjoint_rows(self, rows: Any, out: Any) -> None:
        """out (batch, n) = rows (batch, m) array."""
        self._check(rows)
        self._backend.grad_input(rows, self._handle, None, 0.0, out)

    def _check(self, rows: Any) -> None:
        if _places.place_of(rows) is not self.place:
            raise TypeError(
                f"x: got a {_arrays._type_name(rows)} on the CPU for a Dense whose matrix is on "
                f"{_backends.device_of(self.array)}; move it there yourself, homfast never does"
            )
