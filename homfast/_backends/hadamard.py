"""The Walsh-Hadamard transform in NumPy."""

from __future__ import annotations

import numpy as np

_LOW = 64  # steps below this run on a transposed copy, where each is long and contiguous
_CHUNK = 1 << 16  # entries of the rows taken together, at least one row


def walsh_hadamard(x: np.ndarray, out: np.ndarray) -> None:
    """out = x H, unnormalised, H = scipy.linalg.hadamard(n): Sylvester's natural order.

    Butterflies (a, b) -> (a + b, a - b) of distance 1, 2, 4, ..., n / 2, in this order; each sum
    and difference is rounded once, in int32 modulo 2^32. A row of the result depends on its row.

    Parameters
    ----------
    x, out : arrays, shape (rows, n), float32, float64 or int32
        n is a power of two. They are the same array, or do not overlap.
    """
    rows, n = x.shape
    low = min(n, _LOW)
    step = max(1, _CHUNK // n)
    with np.errstate(all="ignore"):
        for i in range(0, rows, step):
            across = np.array(x[i : i + step].reshape(-1, low).T, order="C")  # never a view
            _butterflies(across, low)
            values = np.ascontiguousarray(across.T).reshape(-1, n // low, low)
            _butterflies(values, n // low)
            out[i : i + step] = values.reshape(-1, n)


def _butterflies(values: np.ndarray, size: int) -> None:
    """The steps of a transform of `size` adjacent slices, in place, for each run of them."""
    inner = values.shape[-1]
    h = 1
    while h < size:
        pairs = values.reshape(-1, 2, h * inner)
        first, second = pairs[:, 0], pairs[:, 1]
        difference = first - second
        first += second
        second[...] = difference
        h *= 2
