"""Products of a linear map with vectors and columns, as SciPy means them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from homfast import _arrays, _memory
from homfast.measure.products import RowProducts, Rows, Space, apply_rows


class ColumnProducts(RowProducts):
    """`matvec`, `matmat` and ``@`` on top of the products with rows."""

    def matvec(self, x: Any) -> Any:
        """``A x`` for one vector x of shape (n,) or (n, 1); the result has as many axes."""
        return self._vector(self._forward_rows, x, "x", *self._spaces)

    def rmatvec(self, y: Any) -> Any:
        """``A^H y`` for one vector y of shape (m,) or (m, 1); the result has as many axes."""
        return self._vector(self._adjoint_rows, y, "y", *self._spaces[::-1])

    def matmat(self, X: Any) -> Any:
        """``A X`` for columns X of shape (n, K), shape (m, K)."""
        return self._columns(self._forward_rows, X, "X", *self._spaces)

    def rmatmat(self, Y: Any) -> Any:
        """``A^H Y`` for columns Y of shape (m, K), shape (n, K)."""
        return self._columns(self._adjoint_rows, Y, "Y", *self._spaces[::-1])

    def __matmul__(self, X: Any) -> Any:
        ndim = self._check(X, "X", self.input_dtype).ndim - len(self._batch_shape)
        if ndim not in (1, 2) or (ndim == 1 and self._batch_shape):
            n, axes = self.shape[1], ndim + len(self._batch_shape)
            raise ValueError(
                f"X: got {axes} axes, wanted ({n},) or columns ({n}, K), in a batch of operators "
                f"(B, {n}, K); for rows call op.forward(X)"
            )
        return self.matvec(X) if ndim == 1 else self.matmat(X)

    def __rmatmul__(self, X: Any) -> Any:
        # (X A)^T = A^T X^T: the rows of X through the transpose.
        return self.H.conj().forward(X)

    def _vector(self, apply: Rows, array: Any, name: str, source: Space, destination: Space) -> Any:
        batch, size = self._batch_shape, source[0]
        shape = self._check(array, name, source[1]).shape
        if shape == (*batch, size):
            return self._product(apply, array, name, source, destination, None)
        if shape == (*batch, size, 1):
            return self._columns(apply, array, name, source, destination)
        raise ValueError(
            f"{name}: got shape {shape}, wanted {(*batch, size)} or {(*batch, size, 1)}; columns "
            "go to matmat and rmatmat, rows to forward and adjoint"
        )

    def _columns(
        self, apply: Rows, array: Any, name: str, source: Space, destination: Space
    ) -> Any:
        batch, size = self._batch_shape, source[0]
        columns = self._check_on_host(array, name, source[1])
        if columns.ndim != len(batch) + 2 or columns.shape[:-1] != (*batch, size):
            wanted = ", ".join(map(str, (*batch, size, "K")))
            raise ValueError(
                f"{name}: got shape {columns.shape}, wanted columns ({wanted}) to match the "
                f"operator of shape {self.shape}; rows go to forward and adjoint"
            )
        rows = np.swapaxes(columns, -1, -2)
        out = _memory.empty((*rows.shape[:-1], destination[0]), destination[1])
        target = out.reshape(math.prod(rows.shape[:-1]), out.shape[-1])
        apply_rows(apply, _arrays.as_rows(rows), target)
        return _arrays.result_like(np.swapaxes(out, -1, -2), array)
