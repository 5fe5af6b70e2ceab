"""The questions of `homfast._arrays`, asked of arrays on a CUDA device; the same names.

`checked_array` describes an array in NumPy's words, so that one set of checks serves both places;
`as_rows` and `prepare_out` give the arrays of the caller's library that backends take. Nothing is
moved between devices, and arrays that are not where the others are are refused.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from homfast import _arrays, _backends, _tensors
from homfast._arrays import BFLOAT16, FLOATS, dtype_name
from homfast._backends.device_library import is_on_device, library_of
from homfast._described import Described

on_device = True
_UNSIGNED = np.dtype(np.uint8)


def checked_array(value: Any, name: str, dtypes: tuple[np.dtype, ...] = FLOATS) -> Described:
    """``value`` described, of one of `dtypes`; TypeError for what is not on a CUDA device."""
    if isinstance(value, Described):
        return value
    if not is_on_device(value):
        if not hasattr(value, "__dlpack__") and not hasattr(value, "__array_interface__"):
            _arrays.host_array(value, name, dtypes)  # complains of lists and the like
        where = "the CPU" if isinstance(value, np.ndarray) else _backends.device_of(value)
        raise TypeError(
            f"{name}: got a {_arrays._type_name(value)} on {where} beside arrays on a GPU, wanted "
            "all on one device; move it there yourself, homfast never does"
        )
    described = Described(value, name)
    if described.dtype not in dtypes:
        tensor = _tensors.is_tensor(value)
        raise TypeError(_arrays._dtype_complaint(described.dtype, name, dtypes, tensor))
    return described


def check_same_place(first: Described, first_name: str, second: Described, name: str) -> None:
    """TypeError unless both are arrays of one library on one device."""
    if second.library is not first.library:
        raise TypeError(
            f"{name}: got a {_arrays._type_name(second.array)} beside {first_name}, a "
            f"{_arrays._type_name(first.array)}; wanted arrays of one library, whose streams are "
            "one: convert one of them, for instance by from_dlpack"
        )
    if second.size and first.size and second.place != first.place:
        raise TypeError(
            f"{name}: got an array on {second.place} beside {first_name} on {first.place}, wanted "
            "both on one device; move one of them yourself, homfast never does"
        )


def resolve(name: str | None, array: Described) -> Any:
    """The backend for an array: `homfast._backends.resolve`."""
    return _backends.resolve(name, array.array)


# Kernel layouts ----------------------------------------------------------------------------------


def _has_kernel_layout(matrix: Described) -> bool:
    row_stride, column_stride = matrix.strides
    return not matrix.size or (
        matrix.address % matrix.itemsize == 0
        and (column_stride == matrix.itemsize or matrix.shape[1] <= 1)
        and row_stride % matrix.itemsize == 0
    )


def as_kernel_matrix(array: Described) -> Any:
    """The array of the library, in a layout kernels take; any other is copied once."""
    return array.array if _has_kernel_layout(array) else array.library.contiguous(array.array)


def as_rows(array: Described) -> Any:
    """(..., features) as the library's (rows, features); copied once if not in kernel layout."""
    if array.ndim == 2:
        return as_kernel_matrix(array)
    flat = array.array if array.contiguous else array.library.contiguous(array.array)
    return array.library.reshape(flat, _two_axes(array.shape))


def _two_axes(shape: tuple[int, ...]) -> tuple[int, int]:
    return math.prod(shape[:-1]), shape[-1]


def contiguous(rows: Any) -> Any:
    """Rows that are contiguous as a whole."""
    return library_of(rows).contiguous(rows)


def kept(rows: Any, source: Any) -> Any:
    """Rows that stay what they are if the caller writes to `source`."""
    return library_of(rows).copy(rows)


def mask_rows(mask: Any, like: Described) -> Any:
    """Check a bit mask for pre-activations of the shape of `like`, and return it as rows."""
    found = checked_array(mask, "mask", (_UNSIGNED,))
    check_same_place(like, "grad_output", found, "mask")
    shape = like.shape
    wanted = (*shape[:-1], (shape[-1] + 7) // 8)
    if found.shape != wanted:
        raise ValueError(
            f"mask: got shape {found.shape}, wanted {wanted}, one bit for each of {shape}"
        )
    return as_rows(found)


# New arrays --------------------------------------------------------------------------------------


def empty(shape: tuple[int, ...], dtype: np.dtype, like: Any) -> Any:
    """An array of the library of `like`, on its device."""
    array = like.array if isinstance(like, Described) else like
    return library_of(array).empty(shape, dtype, array)


def empty_masks(rows: int, widths: Iterable[int], like: Any) -> list[Any]:
    """Room for the bit masks of layers of these widths."""
    return [empty((rows, (width + 7) // 8), _UNSIGNED, like) for width in widths]


def broadcast_rows(masks: list[Any], rows: int) -> list[Any]:
    """Masks of one row as masks of many."""
    return [library_of(mask).repeated(mask, rows) for mask in masks]


def reshaped(array: Any, shape: tuple[int, ...]) -> Any:
    """A contiguous array in another shape."""
    return library_of(array).reshape(array, shape)


def swapped(array: Any) -> Any:
    """A contiguous copy of an array of three axes with the last two exchanged."""
    return library_of(array).swapped(array)


def copied(array: Described) -> Any:
    """A contiguous copy, an array of the library, also of what belongs to a larger one."""
    return array.library.copy(array.array)


def assign(array: Any, values: Any) -> None:
    """array[...] = values."""
    library_of(array).assign(array, values)


def zero(array: Any) -> None:
    """array[...] = +0.0."""
    library_of(array).zero(array)


def add(array: Any, values: Any) -> None:
    """array += values."""
    library_of(array).add(array, values)


def zeros_like(array: Any) -> Any:
    """Zeros of the shape and dtype of an array of the library."""
    described = Described(array, "weights")
    return described.library.upload(np.zeros(described.shape, described.dtype), array)


def to_host(array: Any) -> np.ndarray:
    """A NumPy copy, bfloat16 as the package's own dtype: for what asks for one, such as a file."""
    described = Described(array, "weights")
    found = np.asarray(described.library.download(array))
    return found.view(BFLOAT16) if described.dtype == BFLOAT16 else found


def upload(array: np.ndarray, like: Any) -> Any:
    """A copy of a host array beside `like`, for what asks for one, such as ``net.to(like)``."""
    return library_of(like).upload(array, like)


def shape_and_dtype(array: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Of an array of the library."""
    described = Described(array, "array")
    return described.shape, described.dtype


def prepare_out(
    out: Any, shape: tuple[int, ...], dtype: np.dtype, inputs: tuple[Described, ...]
) -> tuple[Any, Callable[[], Any]]:
    """As `_arrays.prepare_out`: where a kernel is to write, and what to call after it has."""
    like = inputs[0]
    if out is None:
        result = empty(shape, dtype, like)
        return _as_two_axes(result, shape), lambda: result
    target = checked_array(out, "out", (dtype, *_arrays.LAYER_DTYPES, np.dtype(np.int32)))
    check_same_place(like, "the inputs", target, "out")
    if target.dtype != dtype:
        raise TypeError(
            f"out: got dtype {dtype_name(target.dtype)}, wanted {dtype_name(dtype)}, the dtype of "
            "the result"
        )
    if target.shape != shape:
        raise ValueError(f"out: got shape {target.shape}, wanted {shape}")
    if target.read_only:
        raise ValueError("out: got a read-only array, wanted a writable one")
    apart = target.ndim == 2 and _has_kernel_layout(target) and _rows_are_apart(target)
    direct = (target.contiguous and target.address % target.itemsize == 0) or apart
    if direct and not any(_overlap(target, each) for each in inputs):
        return (out if target.ndim == 2 else _as_two_axes(out, shape)), lambda: out
    _arrays.check_elements_apart(shape, target.strides, target.itemsize)
    buffer = empty(shape, dtype, like)

    def finish() -> Any:
        target.library.assign(out, buffer)
        return out

    return _as_two_axes(buffer, shape), finish


def _as_two_axes(array: Any, shape: tuple[int, ...]) -> Any:
    return array if len(shape) == 2 else reshaped(array, _two_axes(shape))


def _rows_are_apart(matrix: Described) -> bool:
    return matrix.shape[0] <= 1 or abs(matrix.strides[0]) >= matrix.shape[1] * matrix.itemsize


def _overlap(first: Described, second: Described) -> bool:
    (low, high), (other_low, other_high) = first.span, second.span
    return low < other_high and other_low < high


def result_like(result: Any, source: Any) -> Any:
    """`result`: it is of the caller's library already."""
    return result


def halves(array: Any) -> Any:
    """A bfloat16 array of the library as 16-bit integers, in the same memory."""
    return library_of(array).bits(array)


def current(array: Any) -> contextlib.AbstractContextManager[Any]:
    """In its context the library allocates on the device of `array`."""
    array = array.array if isinstance(array, Described) else array
    return library_of(array).current(array)
