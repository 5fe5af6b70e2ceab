"""Random signs addressed by their coordinates: one counter gives those of 128 columns.

The sign of (row i, column j) is bit ``j mod 32``, least significant first, of word ``j mod 128 div
32`` of ``philox4x32(counter=(j div 128, i mod 2^32, i div 2^32, stream), key=seed)``. A bit that
is set means -1. The signs of all dtypes are the same.
"""

from __future__ import annotations

import numpy as np

from homfast._backends import rademacher
from homfast._backends.streams import HADAMARD_SIGNS, RADEMACHER, stream_word


def rademacher_entries(seed: int, rows: range, columns: range, dtype: np.dtype) -> np.ndarray:
    """Entries of the Rademacher operators of `seed`, before any scaling.

    Parameters
    ----------
    seed : int in [0, 2^64)
    rows, columns : range, of step 1, within [0, 2^63) and [0, 2^39)
        Coordinates; any tile gives the same entries.
    dtype : float32 or float64

    Returns
    -------
    array of +1 and -1, shape (len(rows), len(columns))
    """
    return _sign_block(seed, stream_word(RADEMACHER), rows, columns, dtype)


def hadamard_signs(seed: int, n: int, dtype: np.dtype) -> np.ndarray:
    """The diagonal of +1 and -1 in front of a Walsh-Hadamard transform: row 0 of its stream."""
    return _sign_block(seed, stream_word(HADAMARD_SIGNS), range(1), range(n), dtype)[0]


def _sign_block(seed: int, stream: int, rows: range, columns: range, dtype: np.dtype) -> np.ndarray:
    out = np.empty((len(rows), len(columns)), dtype)
    if out.size:
        rademacher.fill(seed, stream, rows.start, columns.start, out)
    return out
