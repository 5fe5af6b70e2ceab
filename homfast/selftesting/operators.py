"""Operators: matrix, forward and adjoint are those of the formula, and rows keep their bits.

The bound is that of sums of n (or m) terms of the magnitudes |A||x|, and of 16 roundings more for
what scales do. A Fourier transform mixes all terms before it takes them apart again: the error of
what is computed by one is bounded by norms (Higham, Accuracy and Stability of Numerical Algorithms,
chapter 24), 8 + 2 log2(n) roundings of the norm of A's row times that of x.
"""

from __future__ import annotations

import numpy as np

import homfast
from homfast.selftesting import sizes
from homfast.selftesting.oracles import ROUNDOFF, assert_same_bits, assert_within, gamma

TITLE = "operators: forward and adjoint within bounds, rows alone and on threads"
KEEPS_BITS = False
BY_TRANSFORM = ("Cosine", "Fourier", "Circulant")
FAMILIES = ("Gaussian", "Rademacher", "SparseSign", "Hadamard", "Cosine", "Fourier", "Circulant")
CORNERS = (
    *({"family": family, "m": 23, "n": 37, "batch": 5, "store": True} for family in FAMILIES),
    *({"family": name, "m": 31, "n": 130, "batch": 17, "store": False} for name in FAMILIES[:3]),
    {"family": "Circulant", "m": 8, "n": 223, "batch": 34, "store": True},  # a prime
)


def draw(rng, largest):
    n = sizes.size(rng, largest, least=16)
    return {
        "family": str(rng.choice(FAMILIES)),
        "m": min(sizes.size(rng, largest, least=8), n),
        "n": n,
        "batch": sizes.size(rng, 40),
        "store": bool(rng.random() < 0.5),
    }


def check(engine, dtype, rng, family, m, n, batch, store):
    op = make(family, m, n, int(rng.integers(2**63)), dtype, store)
    x, y = draw_rows(rng, (batch, n), op.dtype), draw_rows(rng, (batch, m), op.dtype)
    case = f"{engine} {op!r} batch {batch}"
    wide = np.dtype(np.complex128 if op.dtype.kind == "c" else np.float64)
    if dtype == np.float64:
        wide = np.dtype(np.clongdouble if op.dtype.kind == "c" else np.longdouble)
    entries = matrix_of(family, op, wide)
    dense = op.to_dense()
    norm = np.linalg.norm(np.abs(entries).astype(float), axis=1).max()
    bound = (8 + 2 * np.log2(n)) * ROUNDOFF[dtype] * norm if family in BY_TRANSFORM else 0
    bound = np.full(entries.shape, bound + 16 * ROUNDOFF[dtype] * np.abs(entries).max())
    within(dense, entries, bound, f"to_dense {case}")
    found = {"forward": op(x), "adjoint": op.adjoint(y)}
    for name, rows, matrix in (("forward", x, entries.T), ("adjoint", y, entries.conj())):
        wanted = rows.astype(wide) @ matrix
        if family in BY_TRANSFORM:
            bound = (8 + 2 * np.log2(n)) * ROUNDOFF[dtype] * norm * norms(rows)
        else:
            bound = gamma(len(matrix) + 16, ROUNDOFF[dtype]) * (np.abs(rows) @ np.abs(matrix))
        within(found[name], wanted, bound, f"{name} {case}")
    if engine.keeps_bits:
        row = int(rng.integers(batch))
        homfast.set_num_threads(3)
        assert_same_bits(op(x[row : row + 1])[0], found["forward"][row], f"row {row} {case}")
        assert_same_bits(op.adjoint(y[row]), found["adjoint"][row], f"adjoint, row {row} {case}")


def matrix_of(family, op, wide):
    """The matrix by its formula, of the rows, signs and entries that the seed gives.

    Those of Gaussian, Rademacher and SparseSign are their own: the idea `entries` compares them.
    """
    n = op.shape[1]
    if family not in FORMULAS:
        return op.to_dense().astype(wide)
    scale = np.sqrt(np.longdouble(n if family in ("Cosine", "Fourier") else 1) / op.shape[0])
    return (scale * FORMULAS[family](op, n)).astype(wide)


def hadamard(op, n):
    """(-1) to the number of ones that the row's number and the column's share."""
    shared = op.row_indices[:, None] & np.arange(n)
    ones = sum((shared >> bit) & 1 for bit in range(n.bit_length() + 1))
    return np.where(ones % 2, -1, 1) * op.signs.astype(np.longdouble)


def cosine(op, n):
    k, j = op.row_indices[:, None], np.arange(n)
    first = np.sqrt(np.longdouble(0.5)) ** (k == 0)
    return first * np.sqrt(np.longdouble(2) / n) * np.cos(angle(k * (2 * j + 1), 4 * n))


def fourier(op, n):
    turns = angle(-op.row_indices[:, None] * np.arange(n), n)
    return (np.cos(turns) + 1j * np.sin(turns)) / np.sqrt(np.longdouble(n))


def circulant(op, n):
    return op.first_column.astype(np.longdouble)[(op.row_indices[:, None] - np.arange(n)) % n]


def angle(numerator, denominator):
    """2 pi numerator / denominator, of whole numbers."""
    pi = 4 * np.arctan(np.longdouble(1))
    return 2 * pi * (numerator % denominator).astype(np.longdouble) / denominator


FORMULAS = {"Hadamard": hadamard, "Cosine": cosine, "Fourier": fourier, "Circulant": circulant}


def make(family, m, n, seed, dtype, store):
    from homfast import measure

    options = {"seed": seed, "dtype": dtype}
    if family == "Fourier":
        options["dtype"] = np.dtype(f"c{2 * dtype.itemsize}")
    if family in FAMILIES[:3]:
        options["store"] = store
    return getattr(measure, family)(m, n, **options)


def draw_rows(rng, shape, dtype):
    values = rng.standard_normal((*shape, 2))
    if dtype.kind == "c":
        return (values[..., 0] + 1j * values[..., 1]).astype(dtype)
    return values[..., 0].astype(dtype)


def norms(rows):
    """Of each row, as a column."""
    return np.linalg.norm(np.abs(rows).astype(float), axis=1, keepdims=True)


def within(found, wanted, bound, case):
    """`assert_within`, of real and imaginary parts."""
    assert_within(found.real, wanted.real, bound, case)
    if wanted.dtype.kind == "c":
        assert_within(found.imag, wanted.imag, bound, case)
