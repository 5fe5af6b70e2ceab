"""Products with a sparse matrix of entries +1 and -1, given by its columns: the specification."""

from __future__ import annotations

import numpy as np


class PackedSparseSign:
    """An m x n matrix with the same number of entries in each column.

    Parameters
    ----------
    rows : int64, shape (n, per_column), below m
        Where the entries of column j are.
    signs : int8, shape (n, per_column)
        Negative for -1, else +1.
    m : int
    """

    def __init__(self, rows: np.ndarray, signs: np.ndarray, m: int):
        self._rows, self._shape = rows, (m, rows.shape[0])
        self._negative = signs < 0

    def product(self, x: np.ndarray, adjoint: bool, out: np.ndarray) -> None:
        """out (batch, m) = x A^T, summed by ascending columns, or (batch, n) = x A.

        Adjoint sums are in the order of the table. All start at +0.
        """
        one = x.dtype.type(1)
        factors = np.where(self._negative, -one, one)
        out[...] = 0
        with np.errstate(all="ignore"):
            if adjoint:
                for rows, factor in zip(self._rows.T, factors.T, strict=True):
                    out += x[:, rows] * factor
            else:
                for source, target in zip(x, out, strict=True):
                    np.add.at(target, self._rows.ravel(), (source[:, None] * factors).ravel())
