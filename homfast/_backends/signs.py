"""Random signs addressed by their coordinates: one counter gives those of 128 columns.

The sign of (row i, column j) is bit ``j mod 32``, least significant first, of word ``j mod 128 div
32`` of ``philox4x32(counter=(j div 128, i mod 2^32, i div 2^32, stream), key=seed)``. A bit that
is set means -1. The signs of all dtypes are the same.
"""

from __future__ import annotations

import numpy as np

from homfast._backends.philox import philox4x32
from homfast._backends.streams import HADAMARD_SIGNS, RADEMACHER, stream_word

WIDTH = 128  # columns of a counter
_CHUNK = 1 << 18  # entries made at a time


def rademacher_block(seed: int, rows: range, columns: range, dtype: np.dtype) -> np.ndarray:
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
    if not out.size:
        return out
    first, last = columns.start // WIDTH, -(-columns.stop // WIDTH)
    block_step = max(1, _CHUNK // WIDTH)
    for start in range(first, last, block_step):
        blocks = np.arange(start, min(start + block_step, last), dtype=np.uint64)
        left = max(columns.start, start * WIDTH)
        right = min(columns.stop, (start + blocks.size) * WIDTH)
        row_step = max(1, _CHUNK // (blocks.size * WIDTH))
        for top in range(0, len(rows), row_step):
            part = rows[top : top + row_step]
            bits = _bits(seed, stream, part, blocks)[
                :, left - start * WIDTH : right - start * WIDTH
            ]
            target = out[top : top + len(part), left - columns.start : right - columns.start]
            np.subtract(out.dtype.type(1), 2 * bits.astype(np.int8), out=target)
    return out


def _bits(seed: int, stream: int, rows: range, blocks: np.ndarray) -> np.ndarray:
    """uint8 0 and 1, shape (len(rows), 128 * len(blocks))."""
    row = np.arange(rows.start, rows.stop, dtype=np.uint64)[:, None]
    words = philox4x32(
        blocks,
        row & np.uint64(0xFFFFFFFF),
        row >> np.uint64(32),
        stream,
        seed & 0xFFFFFFFF,
        seed >> 32,
    )
    octets = np.stack(words, axis=-1).astype("<u4").reshape(len(rows), -1).view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little")
