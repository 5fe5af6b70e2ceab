"""The Walsh-Hadamard transform and the operator R H D made of it: the specification."""

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


def subsampled_hadamard(
    x: np.ndarray,
    signs: np.ndarray,
    rows: np.ndarray,
    size: int,
    scale: float,
    adjoint: bool,
    out: np.ndarray,
) -> None:
    """out = scale R H D x for each row of x, or the adjoint.

    Parameters
    ----------
    x, out : arrays (batch, n) and (batch, m), or (batch, m) and (batch, n) if `adjoint`
    signs : uint32, shape (ceil(n / 32),)
        As `rademacher.words` writes them: D changes the sign of input 32 w + k if bit k of word w
        is set.
    rows : int64, shape (m,), distinct
        The rows of H that R picks, below `size`.
    size : a power of two, at least n
        Of H; what x lacks is 0.
    scale : float
        Finished sums are multiplied by it once.
    """
    n = out.shape[1] if adjoint else x.shape[1]
    bits = np.unpackbits(signs.astype("<u4").view(np.uint8), count=n, bitorder="little")
    flips = np.where(bits, x.dtype.type(-1), x.dtype.type(1))
    work = np.zeros((x.shape[0], size), x.dtype)
    factor = x.dtype.type(scale)
    with np.errstate(all="ignore"):
        if adjoint:
            work[:, rows] = x
            walsh_hadamard(work, work)
            out[...] = work[:, :n] * factor * flips
        else:
            work[:, :n] = x * flips
            walsh_hadamard(work, work)
            out[...] = work[:, rows] * factor
