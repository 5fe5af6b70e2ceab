"""Products with a sparse matrix of entries +1 and -1, given by its columns: the specification.

A sum of the forward product runs over the columns in ascending order, one of the adjoint over its
column in the order of the table, one addition an entry, from +0.0 or from what is there already:
nothing else determines the bits.
"""

from __future__ import annotations

import numpy as np

_CHUNK_BYTES = 1 << 22  # of temporaries in a product


class PackedSparseSign:
    """An m x n matrix with the same number of entries in each column.

    Parameters
    ----------
    rows : int64, shape (n, per_column), below m
        Where the entries of column j are, in distinct rows.
    signs : int8, shape (n, per_column)
        Negative for -1, else +1.
    m : int
    """

    def __init__(self, rows: np.ndarray, signs: np.ndarray, m: int):
        self._m = m
        # Entries that are added in one step, as (places in a result, places in a row, signs): those
        # that are the k-th of their column for the adjoint, the k-th of their row for the forward.
        every = np.arange(rows.shape[0])
        self._adjoint = [(every, *entries) for entries in zip(rows.T, signs.T < 0, strict=True)]
        flat = rows.ravel()  # ascending columns
        order = np.argsort(flat, kind="stable")
        by_row = flat[order]
        rank = np.arange(by_row.size) - np.searchsorted(by_row, by_row)
        by_rank = np.argsort(rank, kind="stable")
        ends = np.cumsum(np.bincount(rank))[:-1]
        order, by_row = order[by_rank], by_row[by_rank]
        columns, negative = order // max(1, rows.shape[1]), signs.ravel()[order] < 0
        split = (np.split(each, ends) for each in (by_row, columns, negative))
        self._forward = list(zip(*split, strict=True))

    def product(
        self, x: np.ndarray, adjoint: bool, out: np.ndarray, accumulate: bool = False
    ) -> None:
        """out (batch, m) = x A^T, or (batch, n) = x A; or that much more where sums accumulate."""
        steps = self._adjoint if adjoint else self._forward
        one = x.dtype.type(1)
        if not accumulate:
            out[...] = 0
        batch = max(1, _CHUNK_BYTES // (max(1, x.shape[1] + out.shape[1]) * x.itemsize))
        for i in range(0, len(x), batch):
            values = np.ascontiguousarray(x[i : i + batch].T)
            sums = np.ascontiguousarray(out[i : i + batch].T)
            with np.errstate(all="ignore"):
                for into, source, negative in steps:
                    sums[into] += values[source] * np.where(negative, -one, one)[:, None]
            out[i : i + batch] = sums.T
