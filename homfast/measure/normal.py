"""The random streams of the operators: standard normal entries addressed by their coordinates.

An entry is a pure function of (class, version, seed, row, column, dtype), the same to the bit on
every backend, target and machine; `homfast._backends.normal` specifies it.
"""

from __future__ import annotations

import numpy as np

from homfast import _backends
from homfast._backends.streams import COMPLEX_GAUSSIAN, GAUSSIAN, PROBE, VERSION, stream_word

__all__ = ["COMPLEX_GAUSSIAN", "GAUSSIAN", "PROBE", "VERSION", "gaussian_block", "normal_block"]


def gaussian_block(seed: int, rows: range, columns: range, dtype: np.dtype) -> np.ndarray:
    """Entries of the Gaussian operators of `seed`, before any scaling.

    Parameters
    ----------
    seed : int in [0, 2^64)
    rows, columns : range, of step 1
        Coordinates; any tile gives the same entries.
    dtype : float32, float64, complex64 or complex128

    Returns
    -------
    array, shape (len(rows), len(columns))
        Of variance 1; complex entries have real and imaginary parts of variance 1 each.
    """
    return normal_block(GAUSSIAN, seed, rows, columns, dtype, COMPLEX_GAUSSIAN)


def normal_block(
    kind: int,
    seed: int,
    rows: range,
    columns: range,
    dtype: np.dtype,
    complex_kind: int | None = None,
) -> np.ndarray:
    """Standard normal entries of the stream of class `kind`; else as `gaussian_block`.

    For a complex dtype the parts of column j are the columns 2j and 2j + 1 of the real stream of
    `complex_kind` (by default `kind`) of that precision.
    """
    if dtype.kind == "c":
        real = np.dtype(f"f{dtype.itemsize // 2}")
        pairs = range(2 * columns.start, 2 * columns.stop)
        kind = kind if complex_kind is None else complex_kind
        return normal_block(kind, seed, rows, pairs, real).view(dtype)
    result = np.empty((len(rows), len(columns)), dtype)
    word = stream_word(kind, result.itemsize)
    backend = _backends.resolve(None, result)
    backend.gaussian_block(seed, word, rows.start, columns.start, result)
    return result
