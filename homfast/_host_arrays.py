"""Arrays in the CPU's memory: by the same names what `homfast._device_arrays` has for a GPU's.

Code that serves both places asks `homfast._places.place_of` for one of the two modules.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from homfast import _arrays
from homfast._arrays import as_kernel_matrix, as_rows, host_array, prepare_out, result_like
from homfast._backends import resolve

__all__ = ["as_kernel_matrix", "as_rows", "prepare_out", "resolve", "result_like"]

on_device = False
checked_array = host_array
contiguous = np.ascontiguousarray
zeros_like = np.zeros_like


def check_same_place(first: Any, first_name: str, second: Any, name: str) -> None:
    """Nothing to see: `checked_array` refused what is elsewhere."""


def mask_rows(mask: Any, like: np.ndarray) -> np.ndarray:
    """Check a bit mask for pre-activations of the shape of `like`, and return it as rows."""
    return _arrays.mask_rows(mask, like.shape)


def kept(rows: np.ndarray, source: Any) -> np.ndarray:
    """Rows that stay what they are if the caller writes to `source`: a trace copies them."""
    return rows


def empty(shape: tuple[int, ...], dtype: Any, like: Any) -> np.ndarray:
    """A new array."""
    return _arrays.new(shape, dtype)


def empty_masks(rows: int, widths: Iterable[int], like: Any) -> list[np.ndarray]:
    """Room for the bit masks of layers of these widths."""
    return [_arrays.new((rows, (width + 7) // 8), np.uint8) for width in widths]


def broadcast_rows(masks: list[np.ndarray], rows: int) -> list[np.ndarray]:
    """Masks of one row as masks of many."""
    return [np.broadcast_to(m, (rows, m.shape[1])) for m in masks]


def reshaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A contiguous array in another shape."""
    return array.reshape(shape)


def copied(array: np.ndarray) -> np.ndarray:
    """A contiguous copy."""
    return np.array(array, order="C")


def assign(array: np.ndarray, values: np.ndarray) -> None:
    """array[...] = values."""
    array[...] = values


def to_host(array: np.ndarray) -> np.ndarray:
    """The array: it is there."""
    return array


def shape_and_dtype(array: Any) -> tuple[tuple[int, ...], Any]:
    """Of an array, or of what NumPy takes for one."""
    return np.shape(array), getattr(array, "dtype", None)


def halves(array: np.ndarray) -> np.ndarray:
    """A bfloat16 array as 16-bit integers, in the same memory."""
    return array["bfloat16"]  # its only field: a tenth of the time of a view


def current(array: Any) -> contextlib.AbstractContextManager[Any]:
    """Nothing: the CPU is one."""
    return contextlib.nullcontext()
