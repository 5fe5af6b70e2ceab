"""Products with a seeded matrix that is made a part at a time and not kept: the reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# Entries made at a time, except that a part has at least 128 rows or columns.
_CHUNK = 1 << 18


def seeded_product(
    fill: Callable[..., None],
    seed: int,
    stream: int,
    row: int,
    x: np.ndarray,
    adjoint: bool,
    out: np.ndarray,
) -> None:
    """out = x A^T, or x A if `adjoint`, where A has the rows from `row` on that ``fill`` makes.

    Parts are such that each element of the result is one product over all of k.
    """
    step = max(128, _CHUNK // max(1, x.shape[1]) // 128 * 128)
    for first in range(0, out.shape[1], step):
        part = out[:, first : first + step]
        shape = (x.shape[1], part.shape[1]) if adjoint else (part.shape[1], x.shape[1])
        matrix = np.empty(shape, x.dtype)
        fill(seed, stream, row if adjoint else row + first, first if adjoint else 0, matrix)
        with np.errstate(all="ignore"):
            part[...] = x @ (matrix if adjoint else matrix.T)


def seeded_gram(
    fill: Callable[..., None],
    seed: int,
    stream: int,
    row: int,
    m: int,
    scale: float,
    x: np.ndarray,
    out: np.ndarray,
) -> None:
    """out = (scale x A^T) A, where A has the m rows from `row` on that ``fill`` makes."""
    measured = np.empty((len(x), m), x.dtype)
    seeded_product(fill, seed, stream, row, x, False, measured)
    with np.errstate(all="ignore"):
        measured *= x.dtype.type(scale)
    seeded_product(fill, seed, stream, row, measured, True, out)
