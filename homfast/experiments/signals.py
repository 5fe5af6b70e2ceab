"""Signals that several experiments draw, and errors measured on them."""

from __future__ import annotations

from typing import Any

import numpy as np


def sparse(
    count: int, n: int, s: int, generator: np.random.Generator, dtype: Any = np.float64
) -> np.ndarray:
    """Rows (count, n) of norm one with s Gaussian entries on random supports."""
    places = generator.random((count, n)).argpartition(s - 1, axis=1)[:, :s]
    values = generator.standard_normal((count, s))
    x = np.zeros((count, n))
    np.put_along_axis(x, places, values / np.linalg.norm(values, axis=1, keepdims=True), axis=1)
    return x.astype(dtype)


def unit_vectors(n: int, dtype: Any = np.float64) -> np.ndarray:
    """Rows e_1 .. e_n, -e_1 .. -e_n."""
    return np.vstack([np.eye(n), -np.eye(n)]).astype(dtype)


def errors(net: Any, matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """``|net(A x) - x|_2`` for each row, summed in float64."""
    dtype = net.weights[0].dtype
    found = net((x @ matrix.T).astype(dtype)).astype(np.float64)
    return np.linalg.norm(found - x, axis=-1)


def gaussian(m: int, n: int, generator: np.random.Generator) -> np.ndarray:
    """A matrix of independent N(0, 1/m) entries."""
    return generator.standard_normal((m, n)) / np.sqrt(m)


def hadamard_matrix(order: int) -> np.ndarray:
    """Sylvester's, by the package's transform; `order` a power of two."""
    from homfast.measure import walsh_hadamard

    return walsh_hadamard(np.eye(order))


def incoherent(m: int) -> np.ndarray:
    """``[I, H / sqrt(m)]``, shape (m, 2m), coherence 1 / sqrt(m)."""
    return np.hstack([np.eye(m), hadamard_matrix(m) / np.sqrt(m)])


def slope(x: Any, y: Any) -> float:
    """Of the line through (log x, log y)."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
