"""Random signs: the cheapest matrix that most guarantees for Gaussian ones hold for."""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast import _backends
from homfast._backends.streams import RADEMACHER, stream_word
from homfast.measure.seeded_matrix import SeededMatrix


class Rademacher(SeededMatrix):
    """A matrix of independent signs over sqrt(m), determined by its seed; E[A^H A] = I.

    Parameters
    ----------
    m, n : int
        Measurements and signal length, at least 1.
    seed : int, 0 <= seed < 2^64, or integer array (B,) for a batch of B operators
    dtype : float32 or float64
        The signs of both are the same.
    normalize : bool
        Scale by 1/sqrt(m): a finished sum is multiplied by it once. False leaves +1 and -1.
    store : {"auto", True, False}
        As in `Gaussian`; but "auto" also makes matrices from 8 MiB on on the fly on `native`,
        which is faster there (`homfast.measure.storing`). The results are the same to the bit.

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `Gaussian`.

    Notes
    -----
    An entry is a pure function of (seed, row, column), one bit of a counter;
    `homfast._backends.rademacher` specifies it. Unscaled rows and columns of one seed agree
    whatever m and n. Achlioptas, J. Comput. Syst. Sci. 66, 2003; Baraniuk, Davenport, DeVore,
    Wakin, Constr. Approx. 28, 2008.

    Examples
    --------
    >>> from homfast.measure import Rademacher
    >>> Rademacher(2, 8, seed=7, normalize=False).to_dense().shape
    (2, 8)
    """

    signs = True

    def _block(self, rows: range, columns: range) -> np.ndarray:
        out = np.empty((len(rows), len(columns)), self.dtype)
        stream = stream_word(RADEMACHER)
        _backends.automatic().rademacher_block(self.seed, stream, rows.start, columns.start, out)
        return out

    def _seeded_product(self, backend: Any, rows: Any, adjoint: bool, out: Any) -> bool:
        stream = stream_word(RADEMACHER)
        return backend.rademacher_product(self.seed, stream, self._first, rows, adjoint, out)
