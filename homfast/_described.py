"""An array on a CUDA device in NumPy's words: shape, strides, dtype, address; and its library."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from homfast import _arrays, _tensors
from homfast._arrays import BFLOAT16
from homfast._backends.device_library import library_of


class Described:
    """An array on a device, with NumPy's words for what it is."""

    __slots__ = ("address", "array", "dtype", "library", "read_only", "shape", "strides")

    def __init__(self, array: Any, name: str):
        self.array, self.library = array, library_of(array)
        interface = _interface(array, name, self.library)
        self.dtype = _dtype(array, interface["typestr"])
        self.shape = tuple(interface["shape"])
        strides = interface.get("strides")
        self.strides = tuple(strides) if strides is not None else contiguous_strides(self)
        self.address, self.read_only = interface["data"]

    @property
    def ndim(self) -> int:
        """How many axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many elements."""
        return math.prod(self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    @property
    def place(self) -> str:
        """The device, for messages and comparisons."""
        return f"GPU {self.library.device(self.array)}"

    @property
    def contiguous(self) -> bool:
        """Whether elements lie one after the other."""
        wanted = contiguous_strides(self)
        pairs = zip(self.shape, self.strides, wanted, strict=True)
        return not self.size or all(n == 1 or step == fit for n, step, fit in pairs)

    @property
    def span(self) -> tuple[int, int]:
        """The first and behind the last byte."""
        if not self.size:
            return 0, 0
        reach = [(n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)]
        low = self.address + sum(r for r in reach if r < 0)
        return low, self.address + sum(r for r in reach if r > 0) + self.itemsize


def _interface(array: Any, name: str, library: Any) -> dict[str, Any]:
    """What ``__cuda_array_interface__`` says; TypeError for arrays that are not plain memory."""
    if _tensors.is_tensor(array):
        _tensors.check_memory(array, name)
    try:
        interface = library.bits(array).__cuda_array_interface__
    except (AttributeError, TypeError, RuntimeError, KeyError) as error:
        raise TypeError(
            f"{name}: got a {_arrays._type_name(array)} that is no plain memory of a GPU "
            f"({error}); wanted a dense array of float32 or float64"
        ) from error
    if library.name == "array API":  # torch and CuPy say what the interface wants
        _check_interface(interface, name)
    if interface.get("mask") is not None:
        raise TypeError(f"{name}: got a masked array, whose mask would be lost; fill it first")
    stream = interface.get("stream")
    handle = isinstance(stream, (int, np.integer)) and not isinstance(stream, bool)
    if stream is not None and not handle:
        raise TypeError(
            f"{name}: its __cuda_array_interface__ names the stream {stream!r}, a "
            f"{_arrays._type_name(stream)}, wanted None or the handle of a stream, an integer"
        )
    if stream is not None and not 0 < stream < 1 << 64:
        raise ValueError(
            f"{name}: its __cuda_array_interface__ names stream {stream}, which the interface "
            "forbids; wanted 1 for the legacy default stream, 2 for that of the thread, or a handle"
        )
    if library.name == "array API" and not hasattr(array, "__array_namespace__"):
        raise TypeError(
            f"{name}: got a {_arrays._type_name(array)} on a GPU, whose library has no array "
            "namespace to make results in; pass CuPy arrays or torch tensors, for instance "
            f"cupy.asarray({name}), which copies nothing"
        )
    return interface


def _check_interface(interface: Any, name: str) -> None:
    """TypeError unless the fields are there and are what the interface says that they are."""

    def integers(value: Any, least: int) -> bool:
        if not isinstance(value, (tuple, list)):
            return False
        return all(isinstance(n, (int, np.integer)) and n >= least for n in value)

    told: dict[str, Any] = interface if isinstance(interface, dict) else {}
    shape, strides, data = (told.get(field) for field in ("shape", "strides", "data"))
    right = {
        "shape": integers(shape, 0),
        "strides": strides is None or integers(strides, -(1 << 63)),
        "data": isinstance(data, tuple) and len(data) == 2 and integers(data, 0),
        "typestr": _is_dtype(told.get("typestr")),
    }
    if all(right.values()) and strides is not None:
        right["strides"] = len(strides) == len(told["shape"])
    wrong = [field for field, is_right in right.items() if not is_right]
    if wrong:
        found = "; ".join(f"{field} {told.get(field)!r}" for field in wrong)
        raise TypeError(
            f"{name}: its __cuda_array_interface__ has {found}; wanted shape and strides of as "
            "many integers, data (address, read_only) and a typestr of NumPy"
        )


def _is_dtype(typestr: Any) -> bool:
    try:
        return isinstance(typestr, str) and isinstance(np.dtype(typestr), np.dtype)
    except TypeError:
        return False


def _dtype(array: Any, typestr: str) -> np.dtype:
    own = getattr(array, "dtype", None)
    if "bfloat16" in str(own) and library_of(array).name != "array API":
        return BFLOAT16
    return np.dtype(typestr)


def contiguous_strides(described: Any) -> tuple[int, ...]:
    """Steps in bytes of a contiguous array of that shape and dtype."""
    steps, step = [], described.dtype.itemsize
    for n in reversed(described.shape):
        steps.append(step)
        step *= n
    return tuple(reversed(steps))
