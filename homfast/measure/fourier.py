"""Subsampled orthonormal cosine and Fourier transforms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from homfast import _arrays, _backends
from homfast._backends import transforms
from homfast.measure.subsampled import WholeTransform


class _Orthonormal(WholeTransform):
    def _scaling(self) -> float:
        return math.sqrt(self.shape[1] / self._m) if self._normalize else 1.0

    def norm(self, rtol: float = 1e-6) -> float:
        """The largest singular value, the scale: the rows are orthonormal but for it."""
        return self._scale if self.shape[0] else 0.0


class Cosine(_Orthonormal):
    """Random rows of the orthonormal discrete cosine transform (DCT-II); E[A^H A] = I.

    Parameters
    ----------
    m, n : int
        Measurements and signal length, 1 <= m <= n.
    seed : int, 0 <= seed < 2^64, or integer array (B,) for a batch of B operators
    dtype : float32 or float64
    normalize : bool
        Scale by sqrt(n/m): a finished sum is multiplied by it once. False leaves orthonormal rows.

    Raises
    ------
    TypeError
        As `Gaussian`.
    ValueError
        As `Gaussian`; m above n.

    Notes
    -----
    The matrix is ``scipy.fft.dct(numpy.eye(n), norm="ortho", axis=0)[op.row_indices]`` times the
    scale. Rows are drawn without replacement, those of m measurements a prefix of those of more;
    `homfast._backends.permutation` specifies them. Candes and Tao, IEEE Trans. Inf. Theory 52,
    2006; Rudelson and Vershynin, Comm. Pure Appl. Math. 61, 2008.

    Products are fast transforms, whose error is bounded by norms and not by the terms of each
    result: at most (8 + 2 log2 n) roundings of ||a_i|| ||x||, a_i a row of the matrix (Higham,
    Accuracy and Stability of Numerical Algorithms, chapter 24).

    Examples
    --------
    >>> from homfast.measure import Cosine
    >>> Cosine(16, 64, normalize=False).norm()
    1.0
    """

    def _transform(self, rows: np.ndarray, out: np.ndarray) -> None:
        _backends.automatic().cosine(rows, out)

    def _transform_adjoint(self, rows: np.ndarray, out: np.ndarray) -> None:
        _backends.automatic().inverse_cosine(rows, out)

    def _device_tables(self, at: Any) -> tuple[Any, ...]:
        twiddles = (
            transforms.twiddles(self.shape[1], self.dtype, inverse) for inverse in (False, True)
        )
        return (*super()._device_tables(at), *(tuple(map(at.upload, pair)) for pair in twiddles))

    def _device_transform(
        self, xp: Any, rows: Any, adjoint: bool, tables: tuple[Any, ...], out: Any
    ) -> None:
        transform = transforms.inverse_cosine_rows if adjoint else transforms.cosine_rows
        transform(xp, rows, tables[adjoint], out)


class Fourier(_Orthonormal):
    """Random rows of the orthonormal discrete Fourier transform; E[A^H A] = I.

    Parameters
    ----------
    m, n : int
        Measurements and signal length, 1 <= m <= n.
    seed : int, 0 <= seed < 2^64, or integer array (B,) for a batch of B operators
    dtype : complex64 or complex128
    normalize : bool
        Scale by sqrt(n/m): a finished sum is multiplied by it once. False leaves orthonormal rows.
    real_input : bool
        For real signals: the result is a `RealInput`, whose adjoint returns the real part.

    Raises
    ------
    TypeError
        As `Gaussian`.
    ValueError
        As `Gaussian`; m above n.

    Notes
    -----
    The matrix is ``scipy.fft.fft(numpy.eye(n), norm="ortho")[op.row_indices]`` times the scale;
    rows and errors as in `Cosine`. The norm on real signals is smaller, and found by iteration.

    Examples
    --------
    >>> from homfast.measure import Fourier
    >>> Fourier(16, 64).norm()
    2.0
    """

    dtypes = _arrays.COMPLEX

    def __init__(
        self,
        m: int,
        n: int,
        *,
        seed: int = 0,
        dtype: Any = np.complex64,
        normalize: bool = True,
        real_input: bool = False,
    ):
        super().__init__(m, n, seed=seed, dtype=dtype, normalize=normalize)

    def _transform(self, rows: np.ndarray, out: np.ndarray) -> None:
        _backends.automatic().fourier(rows, out)

    def _transform_adjoint(self, rows: np.ndarray, out: np.ndarray) -> None:
        _backends.automatic().inverse_fourier(rows, out)

    def _device_transform(
        self, xp: Any, rows: Any, adjoint: bool, tables: tuple[Any, ...], out: Any
    ) -> None:
        out[...] = (xp.fft.ifft if adjoint else xp.fft.fft)(rows, norm="ortho")
