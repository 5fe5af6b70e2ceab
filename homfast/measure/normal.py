"""The random streams of the operators: standard normal entries addressed by their coordinates.

An entry is a pure function of (class, version, seed, row, column, dtype), the same to the bit on
every backend, target and machine; `homfast._backends.normal` specifies it.
"""

from __future__ import annotations

import numpy as np

from homfast import _backends

PROBE, GAUSSIAN = 0, 1  # classes; probes are the random vectors of norm and dot_test
VERSION = 1  # of every stream here; a change of one bit anywhere needs a new one


def gaussian_block(seed: int, rows: range, columns: range, dtype: np.dtype) -> np.ndarray:
    """Entries of the Gaussian operators of `seed`, before any scaling.

    Parameters
    ----------
    seed : int in [0, 2^64)
    rows, columns : range, of step 1
        Coordinates; any tile gives the same entries.
    dtype : float32 or float64

    Returns
    -------
    array, shape (len(rows), len(columns))
    """
    return normal_block(GAUSSIAN, seed, rows, columns, dtype)


def normal_block(kind: int, seed: int, rows: range, columns: range, dtype: np.dtype) -> np.ndarray:
    """Standard normal entries of the stream of class `kind`; else as `gaussian_block`."""
    result = np.empty((len(rows), len(columns)), dtype)
    stream = kind << 24 | VERSION << 16 | result.itemsize
    backend = _backends.resolve(None, result)
    backend.gaussian_block(seed, stream, rows.start, columns.start, result)
    return result
