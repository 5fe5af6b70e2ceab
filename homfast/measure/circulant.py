"""Partial random circulant matrices: subsampled convolution with random noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from homfast import _arrays, _backends, _memory
from homfast._backends import transforms
from homfast._backends.streams import CIRCULANT, COMPLEX_CIRCULANT
from homfast.measure import normal
from homfast.measure.subsampled import WholeTransform


class Circulant(WholeTransform):
    """Random rows of a circulant matrix of independent normal entries; E[A^H A] = I.

    Parameters
    ----------
    m, n : int
        Measurements and signal length, 1 <= m <= n.
    seed : int, 0 <= seed < 2^64, or integer array (B,) for a batch of B operators
    dtype : float32, float64, complex64 or complex128
        Each has entries of its own; complex ones as in `Gaussian`.
    normalize : bool
        Scale by 1/sqrt(m): a finished sum is multiplied by it once. False leaves variance 1.
    real_input : bool
        A complex operator on real signals: the result is a `RealInput`.

    Raises
    ------
    TypeError
        As `Gaussian`.
    ValueError
        As `Gaussian`; m above n.

    Notes
    -----
    The matrix is ``scipy.linalg.circulant(op.first_column)[op.row_indices]`` times the scale; row
    i, column j of the circulant is ``first_column[(i - j) mod n]``. Rows and errors as in `Cosine`;
    products are convolutions by FFT. Rauhut, Romberg, Tropp, Appl. Comput. Harmon. Anal. 32, 2012;
    Krahmer, Mendelson, Rauhut, Comm. Pure Appl. Math. 67, 2014.

    Examples
    --------
    >>> from homfast.measure import Circulant
    >>> Circulant(16, 64).first_column.shape
    (64,)
    """

    dtypes = (*_arrays.FLOATS, *_arrays.COMPLEX)

    _spectrum: np.ndarray | None = None

    @property
    def first_column(self) -> np.ndarray:
        """The first column of the whole circulant matrix, unscaled, shape (n,), a new array."""
        _memory.check((self.shape[1],), self.dtype, "first_column: entries", "take a smaller n")
        one, all_columns = range(1), range(self.shape[1])
        return normal.normal_block(
            CIRCULANT, self._seed, one, all_columns, self.dtype, COMPLEX_CIRCULANT
        )[0]

    def _make_spectrum(self) -> None:
        room = (2 * self.shape[1],)  # for the column and its transform
        _memory.check(room, np.dtype(np.complex128), "the spectrum", "take a smaller n")
        single = self.dtype.itemsize // (2 if self.dtype.kind == "c" else 1) == 4
        wide = self.first_column.astype(np.complex128 if self.dtype.kind == "c" else np.float64)
        spectrum = np.fft.fft(wide) if self.dtype.kind == "c" else np.fft.rfft(wide)
        self._spectrum = spectrum.astype(np.complex64) if single else spectrum

    def _in_chunks(self, transform: Callable[..., None], rows: np.ndarray, out: np.ndarray) -> None:
        if self._spectrum is None:
            self._make_spectrum()  # here, and not in each of the threads
        super()._in_chunks(transform, rows, out)

    def _convolve(self, rows: np.ndarray, adjoint: bool, out: np.ndarray) -> None:
        _backends.automatic().convolve(rows, self._spectrum, adjoint, out)

    def _transform(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._convolve(rows, False, out)

    def _transform_adjoint(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._convolve(rows, True, out)

    def _device_tables(self, at: Any) -> tuple[Any, ...]:
        if self._spectrum is None:
            self._make_spectrum()
        return (*super()._device_tables(at), at.upload(self._spectrum))

    def _device_transform(
        self, xp: Any, rows: Any, adjoint: bool, tables: tuple[Any, ...], out: Any
    ) -> None:
        transforms.convolve_rows(xp, rows, tables[0], adjoint, out)

    def to_dense(self) -> np.ndarray:
        """The matrix, a new array of shape (m, n)."""
        self._check_dense()
        n = self.shape[1]
        matrix = self.first_column[(self.row_indices[:, None] - np.arange(n)) % n]
        self._rescale(matrix)
        return matrix
