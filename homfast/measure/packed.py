"""Matrices in memory, as backends know them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from homfast import _arrays, _backends
from homfast.measure import complex_product


class PackedMatrix:
    """A matrix (m, n) and the handle under which a backend knows it; nobody writes to either.

    The handle, rather than the plain array, is what makes products with few rows sum in the same
    order as products with many. A complex matrix is packed as the real (m, 2 n) that it is in
    memory.
    """

    def __init__(self, array: np.ndarray):
        self.array = array
        real = _arrays.real_view(np.ascontiguousarray(array))
        self._empty = functools.partial(np.empty, dtype=real.dtype)
        self._backend = _backends.resolve(None, real)
        self._handle = self._backend.pack_weight(real)

    def forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, m) = rows (batch, n) array^T."""
        if rows.dtype.kind == "c":
            complex_product.forward(self._forward, rows, out, self._empty)
        else:
            self._forward(rows, out)

    def adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        """out (batch, n) = rows (batch, m) conj(array)."""
        if rows.dtype.kind == "c":
            complex_product.adjoint(self._adjoint, rows, out, self._empty)
        else:
            self._adjoint(rows, out)

    def _forward(self, rows: Any, out: Any) -> None:
        self._backend.linear(rows, self._handle, out)

    def _adjoint(self, rows: Any, out: Any) -> None:
        self._backend.grad_input(rows, self._handle, None, 0.0, out)
