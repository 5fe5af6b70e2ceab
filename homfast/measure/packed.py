"""Matrices in memory, as backends know them."""

from __future__ import annotations

import numpy as np

from homfast import _arrays, _backends


class PackedMatrix:
    """A matrix (m, n) and the handle under which a backend knows it; nobody writes to either.

    The handle, rather than the plain array, is what makes products with few rows sum in the same
    order as products with many. A complex matrix is packed as the real (m, 2 n) that it is in
    memory, so that nothing is held twice.
    """

    def __init__(self, array: np.ndarray):
        self.array = array
        real = _arrays.real_view(np.ascontiguousarray(array))
        self._backend = _backends.resolve(None, real)
        self._handle = self._backend.pack_weight(real)

    def forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, m) = rows (batch, n) array^T."""
        if rows.dtype.kind == "f":
            self._backend.linear(rows, self._handle, out)
            return
        # Re(A x) and Im(A x) are the products of the pairs (a, b) with (Re x, -Im x), (Im x, Re x).
        batch = len(rows)
        pairs = np.empty((2, *rows.shape, 2), out.real.dtype)
        pairs[0, ..., 0], pairs[1, ..., 0] = rows.real, rows.imag
        np.negative(rows.imag, out=pairs[0, ..., 1])
        pairs[1, ..., 1] = rows.real
        parts = np.empty((2 * batch, out.shape[1]), pairs.dtype)
        self._backend.linear(pairs.reshape(2 * batch, 2 * rows.shape[1]), self._handle, parts)
        out.real, out.imag = parts[:batch], parts[batch:]

    def adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, n) = rows (batch, m) conj(array)."""
        if rows.dtype.kind == "f":
            self._backend.grad_input(rows, self._handle, None, 0.0, out)
            return
        batch, n = out.shape
        stacked = np.empty((2 * batch, rows.shape[1]), out.real.dtype)  # whatever strides rows has
        stacked[:batch], stacked[batch:] = rows.real, rows.imag
        products = np.empty((2 * batch, 2 * n), stacked.dtype)
        self._backend.grad_input(stacked, self._handle, None, 0.0, products)
        pairs = products.reshape(2, batch, n, 2)  # (Re y, Im y) times (a, b)
        out.real = pairs[0, ..., 0] + pairs[1, ..., 1]
        out.imag = pairs[1, ..., 0] - pairs[0, ..., 1]
