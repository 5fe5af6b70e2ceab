"""Orthonormal cosine and Fourier transforms and circular convolution, on rows.

All rest on ``numpy.fft``, which keeps single precision and transforms one row at a time, so that a
row of the result depends on its row alone. Products of complex numbers are written out in real
ones, each rounded once: NumPy's own may contract them in some lanes of a vector and not in others.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np


def fourier(x: np.ndarray, out: np.ndarray) -> None:
    """out = x F^T, F[k, j] = exp(-2 pi i j k / n) / sqrt(n); complex rows."""
    np.fft.fft(x, norm="ortho", out=out)


def inverse_fourier(x: np.ndarray, out: np.ndarray) -> None:
    """out = x conj(F), the adjoint of `fourier`."""
    np.fft.ifft(x, norm="ortho", out=out)


def cosine(x: np.ndarray, out: np.ndarray) -> None:
    """out = x C^T, C the orthonormal DCT-II; real rows.

    Through a real FFT of length n (Makhoul, IEEE Trans. Acoust. Speech Signal Process. 28, 1980).
    """
    cosine_rows(np, x, out)


def inverse_cosine(x: np.ndarray, out: np.ndarray) -> None:
    """out = x C, the adjoint of `cosine`."""
    inverse_cosine_rows(np, x, out)


def cosine_rows(xp: Any, x: Any, out: Any) -> None:
    """`cosine` on arrays of the library `xp`."""
    n = x.shape[1]
    folded = xp.empty(x.shape, x.dtype)
    half = (n + 1) // 2
    folded[:, :half] = x[:, 0::2]
    folded[:, half:] = x[:, 1::2][:, ::-1]
    spectrum = xp.fft.rfft(folded)  # n // 2 + 1 frequencies
    real, imag = _parts(spectrum)
    c, s = map(xp.asarray, _twiddles(n, x.dtype))
    out[:, : len(c)] = real * c + imag * s  # Re(e^(-i theta_k) V_k)
    tail = (n - 1) // 2  # those above n / 2, from -Im(e^(-i theta_k) V_k) at n - k
    if tail:
        mirrored = slice(1, 1 + tail)
        out[:, : n // 2 : -1] = real[:, mirrored] * s[mirrored] - imag[:, mirrored] * c[mirrored]
    out[:, 0] *= x.dtype.type(np.sqrt(0.5))


def inverse_cosine_rows(xp: Any, x: Any, out: Any) -> None:
    """`inverse_cosine` on arrays of the library `xp`."""
    n = x.shape[1]
    size = n // 2 + 1
    c, s = map(xp.asarray, _twiddles(n, x.dtype, inverse=True))
    even = xp.array(x[:, :size])  # X_k
    even[:, 0] *= x.dtype.type(np.sqrt(2.0))
    odd = xp.zeros_like(even)  # X_(n - k), 0 at k = 0
    odd[:, 1:] = x[:, : n - size : -1] if n > 1 else 0
    spectrum = xp.empty(even.shape, np.result_type(x.dtype, np.complex64))
    real, imag = _parts(spectrum)  # e^(i theta_k) (X_k - i X_(n - k))
    real[...] = even * c + odd * s
    imag[...] = even * s - odd * c
    folded = xp.fft.irfft(spectrum, n)
    half = (n + 1) // 2
    out[:, 0::2] = folded[:, :half]
    out[:, 1::2] = folded[:, half:][:, ::-1]


@functools.lru_cache(16)
def _twiddles(n: int, dtype: np.dtype, inverse: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of pi k / 2 n for k = 0 ... n // 2, times sqrt(2 / n), or its inverse."""
    theta = np.arange(n // 2 + 1) * (np.pi / (2 * n))
    scale = np.sqrt(n / 2) if inverse else np.sqrt(2 / n)
    c, s = (np.cos(theta) * scale).astype(dtype), (np.sin(theta) * scale).astype(dtype)
    c.flags.writeable = s.flags.writeable = False
    return c, s


def convolve(x: np.ndarray, spectrum: np.ndarray, adjoint: bool, out: np.ndarray) -> None:
    """out = the circular convolution of each row with the signal of that spectrum.

    Parameters
    ----------
    x, out : arrays, shape (rows, n), of one dtype
    spectrum : complex array
        Of the signal: ``numpy.fft.rfft`` for real rows, ``fft`` for complex ones.
    adjoint : bool
        Whether to correlate instead: the transposed, conjugated circulant matrix.
    """
    real = x.dtype.kind == "f"
    transformed = np.fft.rfft(x) if real else np.fft.fft(x)
    a, b = _parts(transformed)
    c, d = _parts(spectrum)
    if adjoint:
        d = -d
    product = np.empty_like(transformed)
    _parts(product)[0][...] = a * c - b * d
    _parts(product)[1][...] = a * d + b * c
    if real:
        np.fft.irfft(product, x.shape[1], out=out)
    else:
        np.fft.ifft(product, out=out)


def _parts(values: Any) -> tuple[Any, Any]:
    """The real and the imaginary parts, views of a complex array."""
    return values.real, values.imag
