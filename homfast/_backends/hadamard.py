"""The Walsh-Hadamard transform and the operator R H D made of it: the specification.

Sums and differences are taken at distances 1, 2, 4, .. n / 2, each rounded once: the bits of a
result are a function of its row alone, the same on every target.
"""

from __future__ import annotations

import numpy as np


def walsh_hadamard(x: np.ndarray, out: np.ndarray) -> None:
    """out = x H, unscaled, H symmetric in Sylvester's order; int32 is modulo 2^32.

    Parameters
    ----------
    x, out : arrays, shape (rows, n), n a power of two; float32, float64 or int32
    """
    work = np.array(x, order="C")
    rows, n = work.shape
    step = 1
    with np.errstate(all="ignore"):
        while step < n:
            pairs = work.reshape(rows, n // (2 * step), 2, step)
            first, second = pairs[:, :, 0].copy(), pairs[:, :, 1].copy()
            np.add(first, second, out=pairs[:, :, 0])
            np.subtract(first, second, out=pairs[:, :, 1])
            step *= 2
    out[...] = work


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
