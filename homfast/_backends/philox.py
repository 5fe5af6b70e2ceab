"""Philox4x32-10 in NumPy: the reference that the compiled twins repeat bit for bit.

A counter of four 32-bit words and a key of two give four random words, by ten rounds of two 32x32
products each: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
It has no state, so the words of any matrix entry come straight from its coordinates. Integer
arithmetic alone: every machine gives the same bits. NumPy's own ``Philox`` is the 4x64 variant,
another stream.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ROUNDS = 10
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, as 32-bit fractions

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def philox4x32(
    c0: Any, c1: Any, c2: Any, c3: Any, k0: int, k1: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Four random words for each counter.

    Parameters
    ----------
    c0, c1, c2, c3 : integers or arrays of integers in [0, 2^32), broadcast together
        The words of the counters.
    k0, k1 : int in [0, 2^32)
        The words of the key.

    Returns
    -------
    four uint64 arrays of the broadcast shape, each word in [0, 2^32)
    """
    x0, x1, x2, x3 = (np.asarray(c, np.uint64) for c in (c0, c1, c2, c3))
    for _ in range(ROUNDS):
        p0 = MULTIPLIERS[0] * x0
        p1 = MULTIPLIERS[1] * x2
        x0, x1 = (p1 >> _HALF) ^ x1 ^ np.uint64(k0), p1 & _LOW
        x2, x3 = (p0 >> _HALF) ^ x3 ^ np.uint64(k1), p0 & _LOW
        k0 = (k0 + KEY_STEPS[0]) & 0xFFFFFFFF
        k1 = (k1 + KEY_STEPS[1]) & 0xFFFFFFFF
    return x0, x1, x2, x3
