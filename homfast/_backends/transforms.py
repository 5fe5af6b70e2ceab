"""Orthonormal cosine and Fourier transforms and circular convolution, on rows.

On the CPU all rest on ``numpy.fft``, which keeps single precision and transforms one row at a time,
so that a row of the result depends on its row alone; on a device on the FFT of the arrays' library,
whose bits they inherit. Products of complex numbers are written out in real ones, each rounded
once: NumPy's own may contract them in some lanes of a vector and not in others.

Functions that end in ``_rows`` take those of a library, `xp`: `device_library` has a device's.
"""

from __future__ import annotations

import functools
import math
import types
from typing import Any

import numpy as np

from homfast._backends.device_library import dtype_of

_NUMPY = types.SimpleNamespace(
    empty=np.empty, concatenate=np.concatenate, reverse=lambda rows: rows[:, ::-1], fft=np.fft
)


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
    cosine_rows(_NUMPY, x, twiddles(x.shape[1], x.dtype), out)


def inverse_cosine(x: np.ndarray, out: np.ndarray) -> None:
    """out = x C, the adjoint of `cosine`."""
    inverse_cosine_rows(_NUMPY, x, twiddles(x.shape[1], x.dtype, inverse=True), out)


def cosine_rows(xp: Any, x: Any, twiddled: Any, out: Any) -> None:
    """`cosine` on arrays of a library; `twiddled` are `twiddles` among them."""
    n = x.shape[1]
    folded = xp.concatenate((x[:, 0::2], xp.reverse(x[:, 1::2])), 1)
    real, imag = _parts(xp.fft.rfft(folded))  # of n // 2 + 1 frequencies
    c, s = twiddled
    out[:, : n // 2 + 1] = real * c + imag * s  # Re(e^(-i theta_k) V_k)
    mirrored = slice(1, 1 + (n - 1) // 2)  # those above n / 2, -Im(e^(-i theta_k) V_k) at n - k
    above = real[:, mirrored] * s[mirrored] - imag[:, mirrored] * c[mirrored]
    out[:, n // 2 + 1 :] = xp.reverse(above)
    out[:, 0] *= math.sqrt(0.5)


def inverse_cosine_rows(xp: Any, x: Any, twiddled: Any, out: Any) -> None:
    """`inverse_cosine` on arrays of a library; `twiddled` are the inverse `twiddles` among them."""
    n = x.shape[1]
    size, half = n // 2 + 1, (n + 1) // 2
    c, s = twiddled
    dtype = dtype_of(x)
    even, odd = (xp.empty((x.shape[0], size), dtype) for _ in range(2))
    even[...] = x[:, :size]  # X_k
    even[:, 0] *= math.sqrt(2.0)
    odd[:, 0] = 0  # X_(n - k), 0 at k = 0
    odd[:, 1:] = xp.reverse(x[:, n - size + 1 :])
    spectrum = xp.empty((x.shape[0], size), np.result_type(dtype, np.complex64))
    real, imag = _parts(spectrum)  # e^(i theta_k) (X_k - i X_(n - k))
    real[...] = even * c + odd * s
    imag[...] = even * s - odd * c
    folded = xp.fft.irfft(spectrum, n)
    out[:, 0::2] = folded[:, :half]
    out[:, 1::2] = xp.reverse(folded[:, half:])


@functools.lru_cache(16)
def twiddles(n: int, dtype: np.dtype, inverse: bool = False) -> tuple[np.ndarray, np.ndarray]:
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
    _filter(transformed, spectrum, adjoint)
    if real:
        np.fft.irfft(transformed, x.shape[1], out=out)
    else:
        np.fft.ifft(transformed, out=out)


def convolve_rows(xp: Any, x: Any, spectrum: Any, adjoint: bool, out: Any) -> None:
    """`convolve` on arrays of a library."""
    real = dtype_of(x).kind == "f"
    transformed = xp.fft.rfft(x) if real else xp.fft.fft(x)
    _filter(transformed, spectrum, adjoint)
    out[...] = xp.fft.irfft(transformed, x.shape[1]) if real else xp.fft.ifft(transformed)


def _filter(transformed: Any, spectrum: Any, adjoint: bool) -> None:
    """transformed *= spectrum, or its conjugate."""
    a, b = _parts(transformed)
    c, d = _parts(spectrum)
    if adjoint:
        d = -d
    real = a * c - b * d
    b[...] = a * d + b * c
    a[...] = real


def _parts(values: Any) -> tuple[Any, Any]:
    """The real and the imaginary parts, views of a complex array."""
    return values.real, values.imag
