"""What the constructions ask of their arguments, so that each complaint names the argument."""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast import _arrays
from homfast.measure import Operator

_LARGEST_BYTES = 1 << 33
_RANGE = 2.0**400  # beyond it, or below its inverse, products of two entries and norms lose digits


def finite_matrix(
    value: Any, name: str = "A", *, any_scale: bool = False
) -> tuple[np.ndarray, np.dtype]:
    """A matrix or operator as a float64 array (m, n), m, n >= 1, and the dtype it came in.

    TypeError for a complex one, whose imaginary part would be lost; ValueError for one so large or
    small that squares leave the range, unless at any scale.
    """
    if isinstance(value, Operator) and value.dtype in _arrays.COMPLEX:
        raise TypeError(
            f"{name}: got an operator of {value.dtype}, wanted float32 or float64; pass its real "
            "and imaginary rows, numpy.vstack([D.real, D.imag]) with D its to_dense()"
        )
    given = value.to_dense() if isinstance(value, Operator) else value
    array = _arrays.host_array(given, name)
    _arrays.check_matrix(array, name, "(m, n)")
    if 0 in array.shape:
        raise ValueError(f"{name}: got shape {array.shape}, wanted at least one row and one column")
    matrix = finite(array, name)
    largest = float(np.abs(matrix).max())
    if largest > 0 and not any_scale and not 1 / _RANGE <= largest <= _RANGE:
        raise ValueError(
            f"{name}: the largest entry is {largest:.3g}, whose square leaves the range of "
            f"float64; multiply {name} by a power of two"
        )
    return matrix, array.dtype


def check_memory(count: float, name: str, what: str, fix: str = "wanted smaller sizes") -> None:
    """MemoryError for more than 8 GiB of float64 numbers, before they are asked for."""
    if 8 * count > _LARGEST_BYTES:
        raise MemoryError(f"{name}: {what} take {8 * count / 2**30:.3g} GiB, more than 8; {fix}")


def finite(array: np.ndarray, name: str) -> np.ndarray:
    """A float64 copy; ValueError that says where a value is not finite, TypeError for complex."""
    if np.iscomplexobj(array):
        raise TypeError(f"{name}: got complex numbers, wanted real ones; pass the real part")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise ValueError(
            f"{name}: got {array[place]} at {place}, wanted finite numbers; "
            f"{len(bad)} of {array.size} are not"
        )
    return np.array(array, np.float64)


def point_rows(value: Any, name: str, features: int) -> np.ndarray:
    """Points, shape (N, features), N >= 1, as float64."""
    array = _arrays.host_array(value, name)
    if array.ndim != 2 or array.shape[0] == 0 or array.shape[1] != features:
        raise ValueError(
            f"{name}: got shape {array.shape}, wanted (N, {features}), one point a row, N >= 1"
        )
    return finite(array, name)


def whole(value: Any, name: str, least: int, most: int | None = None) -> int:
    """An integer within bounds."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: got {value!r}, wanted an integer")
    if value < least or (most is not None and value > most):
        wanted = f">= {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}: got {value}, wanted an integer {wanted}")
    return int(value)


def real(
    value: Any, name: str, least: float = -np.inf, below: float = np.inf, *, strict: bool = False
) -> float:
    """A finite number, ``least <= value < below``, or ``least < value`` where strict."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(
        value, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"{name}: got {value!r}, wanted a number")
    number = float(value)
    too_low = number <= least if strict else number < least
    if not np.isfinite(number) or too_low or number >= below:
        parts = ["a finite number"]
        if np.isfinite(least):
            parts.append(f"{'>' if strict else '>='} {least:g}")
        if np.isfinite(below):
            parts.append(f"< {below:g}")
        raise ValueError(f"{name}: got {value}, wanted {' '.join(parts)}")
    return number


def nonzero_columns(matrix: np.ndarray, name: str = "A") -> np.ndarray:
    """The norms of the columns; ValueError that names a column of zeros, or too small to invert."""
    zero = np.flatnonzero(~matrix.any(axis=0))
    if len(zero):
        raise ValueError(
            f"{name}: column {zero[0]} is zero, so that its coefficient leaves no trace in y; "
            "drop the column"
        )
    exponent = np.frexp(np.abs(matrix).max(axis=0))[1]  # squares of tiny entries would vanish
    norms = np.ldexp(np.linalg.norm(np.ldexp(matrix, -exponent), axis=0), exponent)
    small = np.flatnonzero(norms < 1.0 / np.finfo(np.float64).max)
    if len(small):
        raise ValueError(
            f"{name}: column {small[0]} has norm {norms[small[0]]:.3g}, whose inverse leaves the "
            "range of float64; multiply the column by a power of two"
        )
    return norms
