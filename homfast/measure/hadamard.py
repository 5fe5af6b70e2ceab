"""Subsampled randomised Hadamard transforms, and the transform itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from homfast import _arrays, _backends, _places
from homfast._backends.streams import HADAMARD_SIGNS, stream_word
from homfast.measure import on_device
from homfast.measure.subsampled import SubsampledTransform

_LARGEST = 1 << 27
_SIGNS = stream_word(HADAMARD_SIGNS)
_TRANSFORM_DTYPES = (*_arrays.FLOATS, np.dtype(np.int32))


def walsh_hadamard(x: Any, *, out: Any = None) -> Any:
    """The Walsh-Hadamard transform of each row, unnormalised: ``x @ scipy.linalg.hadamard(n)``.

    Parameters
    ----------
    x : array, shape (..., n), float32, float64 or int32
        n is a power of two, from 1 to 2^27.
    out : array of the shape and dtype of `x`, optional
        Where to write; it may be `x` itself.

    Returns
    -------
    array, of the shape, dtype and library of `x`
        In natural (Sylvester's) order. int32 is modulo 2^32. Twice the transform is n times x.

    Raises
    ------
    TypeError
        Another dtype, an array on another device, a list, a masked array.
    ValueError
        n is not a power of two from 1 to 2^27, or `out` does not fit.

    Notes
    -----
    n log2(n) additions a row: Fino and Algazi, IEEE Trans. Comput. C-25, 1976. A row of the result
    depends on its row alone.

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.measure import walsh_hadamard
    >>> walsh_hadamard(np.int32([1, 2, 3, 4]))
    array([10, -2, -4,  0], dtype=int32)
    """
    place = _places.host if type(x) is np.ndarray else _places.place_of(x)
    array = place.checked_array(x, "x", _TRANSFORM_DTYPES)
    n = array.shape[-1] if array.ndim else 0
    if not 1 <= n <= _LARGEST or n & (n - 1):
        raise ValueError(
            f"x: got shape {array.shape}, wanted (..., n), n a power of two from 1 to {_LARGEST}; "
            "pad the last axis with zeros"
        )
    target, finish = place.prepare_out(out, array.shape, array.dtype, (array,))
    place.resolve(None, array).walsh_hadamard(place.as_rows(array), target)
    result = finish()
    return result if out is not None else place.result_like(result, x)


class Hadamard(SubsampledTransform):
    """Random rows of a Hadamard matrix times random signs, R H D (SRHT); E[A^H A] = I.

    Parameters
    ----------
    m, n : int
        Measurements and signal length, at least 1. Signals are padded with zeros to the next power
        of two N, at most 2^27; m <= N.
    seed : int, 0 <= seed < 2^64, or integer array (B,) for a batch of B operators
    dtype : float32 or float64
        The entries of both are the same.
    normalize : bool
        Scale by 1/sqrt(m): a finished sum is multiplied by it once. False leaves +1 and -1.

    Raises
    ------
    TypeError
        As `Gaussian`.
    ValueError
        As `Gaussian`; m above N.

    Notes
    -----
    The matrix is ``scipy.linalg.hadamard(N)[op.row_indices][:, :n] * op.signs``, times the
    scale. Rows are drawn without replacement from all N, so that no two columns are parallel.
    Rows and signs are pure functions of (seed, n), the rows of m measurements a prefix of those of
    more; `homfast._backends.rademacher` and `.permutation` specify them. Where n is a power of two
    rows are orthogonal, and the norm is in closed form. Ailon and Chazelle, SIAM J. Comput. 39,
    2009; Tropp, Adv. Adapt. Data Anal. 3, 2011.

    Examples
    --------
    >>> from homfast.measure import Hadamard
    >>> op = Hadamard(16, 64, seed=7)
    >>> op.norm()
    2.0
    """

    largest = ((1 << 63) - 1, _LARGEST)
    _sign_words: np.ndarray | None = None

    @property
    def _size(self) -> int:
        return 1 << (self.shape[1] - 1).bit_length()

    @property
    def signs(self) -> np.ndarray:
        """The diagonal D, +1 and -1, shape (n,), read-only."""
        out = np.empty((1, self.shape[1]), self.dtype)
        _backends.automatic().rademacher_block(self._seed, _SIGNS, 0, 0, out)
        out.flags.writeable = False
        return out[0]

    def _transformed(self, rows: np.ndarray, adjoint: bool, out: np.ndarray) -> None:
        signs, indices = self._words(), self.row_indices
        _backends.automatic().subsampled_hadamard(
            rows, signs, indices, self._size, self._scale, adjoint, out
        )

    def _words(self) -> np.ndarray:
        """The signs, 32 a word."""
        if self._sign_words is None:
            words = np.empty((1, -(-self.shape[1] // 32)), np.uint32)
            _backends.automatic().rademacher_words(self._seed, _SIGNS, 0, 0, words)
            self._sign_words = words[0]
        return self._sign_words

    def _device_tables(self, at: on_device.Device) -> tuple[Any, ...]:
        return (*super()._device_tables(at), at.upload(self._words()))

    def _device_rows(self, at: Any, rows: Any, adjoint: bool, out: Any) -> None:
        indices, signs = self._kept(at)
        at.backend.subsampled_hadamard(rows, signs, indices, self._size, self._scale, adjoint, out)

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._transformed(rows, False, out)

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        self._transformed(rows, True, out)

    def norm(self, rtol: float = 1e-6) -> float:
        """The largest singular value; in closed form where n is a power of two."""
        if self.shape[1] != self._size:
            return super().norm(rtol)
        return self._scale * math.sqrt(self._size) if self.shape[0] else 0.0
