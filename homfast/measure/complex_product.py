"""Products of complex rows with a complex matrix A (m, n), by products of real ones.

The real matrix R (m, 2 n) is A as it is in memory, real and imaginary part of an entry side by
side: nothing is held twice, and a product sums in the order that the real one has. Arrays are
NumPy's, CuPy's or torch's alike; ``empty(shape)`` makes real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

RealProduct = Callable[[Any, Any], None]  # of (x, out)
Empty = Callable[[tuple[int, ...]], Any]


def forward(product: RealProduct, rows: Any, out: Any, empty: Empty) -> None:
    """out (batch, m) = rows (batch, n) A^T, where `product` is out = x R^T."""
    # Re(A x) and Im(A x) are the products of the pairs (a, b) with (Re x, -Im x), (Im x, Re x).
    batch, n = rows.shape
    pairs = empty((2, batch, n, 2))
    pairs[0, ..., 0] = rows.real
    pairs[0, ..., 1] = -rows.imag
    pairs[1, ..., 0] = rows.imag
    pairs[1, ..., 1] = rows.real
    parts = empty((2 * batch, out.shape[1]))
    product(pairs.reshape(2 * batch, 2 * n), parts)
    out.real[...] = parts[:batch]
    out.imag[...] = parts[batch:]


def adjoint(product: RealProduct, rows: Any, out: Any, empty: Empty) -> None:
    """out (batch, n) = rows (batch, m) conj(A), where `product` is out = x R."""
    batch, n = out.shape
    stacked = empty((2 * batch, rows.shape[1]))
    stacked[:batch] = rows.real
    stacked[batch:] = rows.imag
    products = empty((2 * batch, 2 * n))
    product(stacked, products)
    pairs = products.reshape(2, batch, n, 2)  # (Re y, Im y) times (a, b)
    out.real[...] = pairs[0, ..., 0] + pairs[1, ..., 1]
    out.imag[...] = pairs[1, ..., 0] - pairs[0, ..., 1]
