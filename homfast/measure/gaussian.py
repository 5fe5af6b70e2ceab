"""Gaussian measurements, the ensemble that most guarantees of compressed sensing are stated for."""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast import _arrays, _backends
from homfast._backends.streams import COMPLEX_GAUSSIAN, GAUSSIAN, stream_word
from homfast.measure import normal
from homfast.measure.seeded_matrix import SeededMatrix


class Gaussian(SeededMatrix):
    """A matrix of independent N(0, 1/m) entries, determined by its seed; E[A^H A] = I.

    Parameters
    ----------
    m, n : int
        Measurements and signal length, at least 1.
    seed : int, 0 <= seed < 2^64
    dtype : float32, float64, complex64 or complex128
        Each has entries of its own, not roundings of another's. Complex entries have independent
        real and imaginary parts of variance 1/2m each; those of column j are the columns 2j and
        2j + 1 of the stream COMPLEX_GAUSSIAN.
    normalize : bool
        Scale by 1/sqrt(m): a finished sum is multiplied by it once. False leaves variance 1.
    store : {"auto", True, False}
        False makes entries on the fly, in blocks of 512 KiB (or, in adjoints of many measurements,
        of 16 columns), in each product anew. "auto" stores, from the first product on, unless the
        matrix takes more than a quarter of the memory; `stored` tells.
    real_input : bool
        A complex operator on real signals: the result is a `RealInput`.

    A `seed` that is an integer array (B,) gives a batch of B operators, `SeedBatch`.

    Raises
    ------
    TypeError
        `m`, `n` or `seed` is not an integer (True is not), or the dtype is another.
    ValueError
        `m` or `n` below 1, a seed out of range, an unknown `store`.
    MemoryError
        In a product: the matrix to store does not fit.

    Notes
    -----
    An unscaled entry is a pure function of (seed, row, column, dtype), the same on every machine
    and backend; `homfast._backends.normal` specifies it. So operators are nested: whatever m and n,
    unscaled rows and columns of one seed agree where they overlap. The results of products are the
    same, to the bit, stored or not, on every backend but `reference`.

    On the fly, time goes into making m n entries a product: nanoseconds each on `native` (1.5 in
    float32, 4 in float64 with AVX2 on one thread), tens of them on `reference`. That pays with many
    rows a call, or where the matrix would not fit. `gram` makes each entry once for up to 16 rows,
    a few rows of the matrix at a time, in the order of ``adjoint(forward(x))``.

    Examples
    --------
    >>> import homfast
    >>> op = homfast.measure.Gaussian(100, 400, seed=7)
    >>> op.rows(20, 40)
    Gaussian(100, 400, seed=7, dtype='float32').rows(20, 40)
    >>> len(__import__("pickle").dumps(op)) < 200
    True
    """

    dtypes = (*_arrays.FLOATS, *_arrays.COMPLEX)

    def _block(self, rows: range, columns: range) -> np.ndarray:
        return normal.gaussian_block(self.seed, rows, columns, self.dtype)

    def _seeded_gram(self, rows: np.ndarray, out: np.ndarray) -> bool:
        if self.dtype.kind == "c":
            return False
        m, scale, stream = self.shape[0], self._scale, stream_word(GAUSSIAN, self.dtype.itemsize)
        backend = _backends.automatic()
        return backend.gaussian_gram(self.seed, stream, self._first, m, scale, rows, out)

    def _seeded_product(self, backend: Any, rows: Any, adjoint: bool, out: Any) -> bool:
        kind = COMPLEX_GAUSSIAN if self.dtype.kind == "c" else GAUSSIAN
        stream = stream_word(kind, _arrays.real_dtype(self.dtype).itemsize)
        return backend.gaussian_product(self.seed, stream, self._first, rows, adjoint, out)
