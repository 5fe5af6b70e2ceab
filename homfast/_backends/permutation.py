"""Seeded permutations whose prefixes do not depend on how many entries are asked for."""

from __future__ import annotations

import numpy as np

from homfast._backends.philox import philox4x32
from homfast._backends.streams import ROW_PERMUTATION, stream_word

_CHUNK = 1 << 18


def row_permutation(seed: int, count: int, m: int) -> np.ndarray:
    """The first `m` entries of the permutation of ``range(count)`` that belongs to `seed`.

    The permutation sorts 0, 1, ... by 64-bit keys, those of equal keys by index. The key of i is
    ``w[2 (i mod 2)] 2^32 + w[2 (i mod 2) + 1]``, where w are the four words of
    ``philox4x32(counter=(i div 2, 0, 0, stream), key=seed)``.

    Parameters
    ----------
    seed : int in [0, 2^64)
    count : int in [0, 2^33]
    m : int in [0, count]

    Returns
    -------
    int64 array, shape (m,)
    """
    if m == 0:
        return np.empty(0, np.int64)
    keys = np.empty(count + count % 2, np.uint64)
    for start in range(0, keys.size // 2, _CHUNK):
        blocks = np.arange(start, min(start + _CHUNK, keys.size // 2), dtype=np.uint64)
        word = stream_word(ROW_PERMUTATION)
        w0, w1, w2, w3 = philox4x32(blocks, 0, 0, word, seed & 0xFFFFFFFF, seed >> 32)
        pair = keys[2 * start : 2 * (start + blocks.size)]
        pair[0::2], pair[1::2] = w0 << np.uint64(32) | w1, w2 << np.uint64(32) | w3
    keys = keys[:count]
    # Only what can be among the first m is sorted; ties with the m-th are candidates too.
    candidates = np.flatnonzero(keys <= np.partition(keys, m - 1)[m - 1])
    return candidates[np.argsort(keys[candidates], kind="stable")[:m]].astype(np.int64)
