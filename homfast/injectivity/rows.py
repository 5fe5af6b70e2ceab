"""Which rows of a layer are one half-space, and which are two that cover the space.

Both are found by sorting, not by looking at all pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_SAME = 2.0**49  # unit rows on one point of a grid this fine differ by their rounding
_BLOCK = 1 << 22  # entries of candidates at a time


class Pairs(NamedTuple):
    """Rows of antiparallel pairs, one a pair, and how far each pair is from exactly so.

    rows : indices, those with the exactest partners first; slips : the angle, or the gap between
    the biases relative to them.
    """

    rows: np.ndarray
    slips: np.ndarray


def distinct(units: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Indices of unit rows, with biases, of which none is another again, in order.

    Positive multiples of one row are one half-space, whose unit rows agree but for rounding.
    """
    mantissa, exponent = np.frexp(shifts)
    grid = np.column_stack([units * _SAME, mantissa * _SAME, exponent])
    keys = np.rint(grid).astype(np.int64)
    return np.sort(np.unique(keys, axis=0, return_index=True)[1])


def always_active(units: np.ndarray, shifts: np.ndarray, tolerance: float) -> Pairs:
    """Antiparallel pairs within `tolerance`, of which one row is active at every x.

    Along any line the rows of a pair cancel: candidates are those that do along one drawn at
    random.
    """
    m, n = units.shape
    line: np.ndarray = np.random.default_rng(0).standard_normal((n,))
    line /= np.linalg.norm(line)
    along = units @ line
    order = np.argsort(along, kind="stable")
    width = tolerance + 1e-14
    first = np.searchsorted(along[order], -along - width)
    counts = np.searchsorted(along[order], -along + width, side="right") - first
    slips = np.full(m, np.inf)
    ends = np.cumsum(counts)
    start = 0
    while start < m:
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _BLOCK // n, side="right")))
        i = np.repeat(np.arange(start, stop), counts[start:stop])
        place = np.arange(len(i)) - np.repeat(
            ends[start:stop] - counts[start:stop] - before, counts[start:stop]
        )
        j = order[first[i] + place]
        i, j = i[i < j], j[i < j]
        angle = np.linalg.norm(units[i] + units[j], axis=1)
        gap = np.maximum(0.0, -(shifts[i] + shifts[j]))
        size = np.maximum(np.abs(shifts[i]), np.abs(shifts[j]))
        slip = np.maximum(angle, np.divide(gap, size, out=np.zeros(len(i)), where=gap > 0))
        np.minimum.at(slips, i, slip)
        start = stop
    rows = np.flatnonzero(slips <= tolerance)
    rows = rows[np.argsort(slips[rows], kind="stable")]
    return Pairs(rows, slips[rows])
