"""Entries +1 and -1 addressed by their coordinates: the specification of the stream.

``w0 w1 w2 w3 = philox4x32(counter=(b, i mod 2^32, i div 2^32, id), key=(seed mod 2^32, seed div
2^32))`` are the signs of columns 128 b to 128 b + 127 of row i: column 128 b + 32 w + k is -1 where
bit k of word w is set, least significant first, and +1 where it is not. The dtype does not matter:
float32 and float64 have the same signs. Kernels repeat it to the bit. The matrix of `Rademacher` is
the stream RADEMACHER, the diagonal of `Hadamard` row 0 of HADAMARD_SIGNS.
"""

from __future__ import annotations

import numpy as np

from homfast._backends.philox import philox4x32

# Words made at a time.
_CHUNK = 1 << 16


def words(seed: int, stream: int, row: int, column: int, out: np.ndarray) -> None:
    """Write the words of the block of `out`'s shape that begins at (row, column) into `out`.

    Parameters
    ----------
    seed : int in [0, 2^64)
    stream : int in [0, 2^32)
        The last word of each counter.
    row, column : int
        The coordinates of ``out[0, 0]``; column counts words, of 32 signs.
    out : array, shape (rows, columns), uint32
    """
    blocks = np.arange(column // 4, -(-(column + out.shape[1]) // 4), dtype=np.uint64)
    skip = column % 4
    step = max(1, _CHUNK // max(1, 4 * blocks.size))
    for top in range(0, out.shape[0], step):
        part = out[top : top + step]
        rows = np.arange(row + top, row + top + part.shape[0], dtype=np.uint64)[:, None]
        low, high = rows & np.uint64(0xFFFFFFFF), rows >> np.uint64(32)
        made = philox4x32(blocks, low, high, stream, seed & 0xFFFFFFFF, seed >> 32)
        joined = np.stack(made, axis=-1).reshape(part.shape[0], -1)
        part[...] = joined[:, skip : skip + out.shape[1]]


def fill(seed: int, stream: int, row: int, column: int, out: np.ndarray) -> None:
    """Write the entries +1 and -1 into `out`, float32 or float64; column counts entries."""
    skip = column % 32
    made = np.empty((out.shape[0], -(-(skip + out.shape[1]) // 32)), np.uint32)
    words(seed, stream, row, column // 32, made)
    little = made.astype("<u4", copy=False).view(np.uint8)
    bits = np.unpackbits(little, axis=-1, bitorder="little")[:, skip : skip + out.shape[1]]
    out[...] = np.where(bits, out.dtype.type(-1), out.dtype.type(1))
