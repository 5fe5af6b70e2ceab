"""One operator of each family and view, small, by name: what tests of the protocol run on."""

from __future__ import annotations

import numpy as np

from homfast.measure import (
    Circulant,
    Cosine,
    Dense,
    Entries,
    Fourier,
    Gaussian,
    Hadamard,
    Kronecker,
    Operator,
    Rademacher,
    RankOne,
    RealInput,
    SparseSign,
    VStack,
)

M, N = 23, 37


def complex_of(dtype):
    """The complex dtype of that precision."""
    return np.dtype(f"c{2 * np.dtype(dtype).itemsize}")


def real_of(dtype):
    return np.dtype(dtype).type(0).real.dtype


def draw(rng, shape, dtype):
    """Normal random numbers, real or complex."""
    values = rng.standard_normal((*np.atleast_1d(shape), 2))
    if np.dtype(dtype).kind == "c":
        return (values[..., 0] + 1j * values[..., 1]).astype(dtype)
    return values[..., 0].astype(dtype)


def widened(values):
    """In double precision."""
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)


def tolerance(dtype):
    """Of numbers of order 1 that come out of a few dozen roundings."""
    return {"rtol": 1e-4, "atol": 3e-5} if real_of(dtype) == np.float32 else {"atol": 1e-12}


def dense(dtype, m=M, n=N):
    return Dense(draw(np.random.default_rng(5), (m, n), dtype))


class Generic(Operator):
    """The least a family can implement, to test what the base makes of it."""

    def __init__(self, matrix):
        super().__init__(matrix.shape, matrix.dtype)
        self.matrix = matrix

    def _forward_rows(self, rows, out):
        np.matmul(rows, self.matrix.T, out=out)

    def _adjoint_rows(self, rows, out):
        np.matmul(rows, self.matrix.conj(), out=out)


def kronecker(dtype):
    a, b = Gaussian(5, 6, seed=2, dtype=dtype), Dense(draw(np.random.default_rng(6), (4, 7), dtype))
    return Kronecker(a, b)


PLACES = np.random.default_rng(8).integers(0, 35, 23)  # some come twice

# Whose forward and adjoint are products with the entries, in one chain of additions each.
PLAIN = {
    "dense": dense,
    "dense.H": lambda dtype: dense(dtype).H,
    "dense.rows": lambda dtype: dense(dtype).rows(3, 11),
    "gaussian": lambda dtype: Gaussian(M, N, seed=7, dtype=dtype),
    "gaussian not stored": lambda dtype: Gaussian(M, N, seed=7, dtype=dtype, store=False),
    "gaussian not scaled": lambda dtype: Gaussian(M, N, seed=7, dtype=dtype, normalize=False),
    "gaussian.H": lambda dtype: Gaussian(M, N, seed=7, dtype=dtype).H,
    "gaussian.rows": lambda dtype: Gaussian(M, N, seed=7, dtype=dtype).rows(3, 11),
    "gaussian.H.rows": lambda dtype: Gaussian(M, N, seed=7, dtype=dtype).H.rows(3, 11),
    "generic": lambda dtype: Generic(dense(dtype).to_dense()),
    "generic.rows.rows": lambda dtype: Generic(dense(dtype).to_dense()).rows(2, 20).rows(1, 9),
    "rademacher": lambda dtype: Rademacher(M, N, seed=7, dtype=dtype),
    "rademacher not stored": lambda dtype: Rademacher(M, 300, seed=7, dtype=dtype, store=False),
    "rademacher.rows": lambda dtype: Rademacher(M, N, seed=7, dtype=dtype).rows(3, 11),
    "sparse": lambda dtype: SparseSign(M, N, seed=7, dtype=dtype),
    "sparse not stored": lambda dtype: SparseSign(M, N, seed=7, dtype=dtype, store=False),
    "sparse, one": lambda dtype: SparseSign(M, N, nonzeros_per_column=1, seed=7, dtype=dtype),
    "sparse.rows": lambda dtype: SparseSign(M, N, seed=7, dtype=dtype).rows(3, 11),
    "entries": lambda dtype: Entries(PLACES, (5, 7), dtype=dtype),
}
REAL = PLAIN | {
    "hadamard": lambda dtype: Hadamard(M, N, seed=7, dtype=dtype),
    "hadamard, 2^k": lambda dtype: Hadamard(M, 32, seed=7, dtype=dtype, normalize=False),
    "hadamard.rows": lambda dtype: Hadamard(M, N, seed=7, dtype=dtype).rows(3, 11),
    "hadamard.H": lambda dtype: Hadamard(M, N, seed=7, dtype=dtype).H,
    "cosine": lambda dtype: Cosine(M, N, seed=7, dtype=dtype),
    "cosine, even": lambda dtype: Cosine(M, 48, seed=7, dtype=dtype, normalize=False),
    "cosine.rows": lambda dtype: Cosine(M, N, seed=7, dtype=dtype).rows(3, 11),
    "circulant": lambda dtype: Circulant(M, N, seed=7, dtype=dtype),
    "circulant.rows": lambda dtype: Circulant(M, N, seed=7, dtype=dtype).rows(3, 11),
    "rank one": lambda dtype: RankOne(M, (5, 8), seed=7, dtype=dtype),
    "rank one, symmetric": lambda dtype: RankOne(M, (6, 6), seed=7, symmetric=True, dtype=dtype),
    "rank one.rows": lambda dtype: RankOne(M, (5, 8), seed=7, dtype=dtype).rows(3, 11),
    "kronecker": kronecker,
    "composition": lambda dtype: Gaussian(9, M, seed=1, dtype=dtype) @ dense(dtype),
    "composition.rows": lambda dtype: (dense(dtype).H @ Hadamard(M, N, dtype=dtype)).rows(3, 14),
    "sum": lambda dtype: Gaussian(M, N, seed=1, dtype=dtype) - dense(dtype),
    "scaled": lambda dtype: 2.5 * Gaussian(M, N, seed=1, dtype=dtype),
    "stack": lambda dtype: VStack(
        [Gaussian(4, N, dtype=dtype), Hadamard(11, N, dtype=dtype), dense(dtype).rows(3, 11)]
    ),
}


def complex_gaussian(dtype, **options):
    return Gaussian(M, N, seed=7, dtype=complex_of(dtype), **options)


COMPLEX = {
    "dense, complex": lambda dtype: dense(complex_of(dtype)),
    "dense.T, complex": lambda dtype: dense(complex_of(dtype)).T,
    "dense.conj, complex": lambda dtype: dense(complex_of(dtype)).conj(),
    "gaussian, complex": complex_gaussian,
    "gaussian not stored, complex": lambda dtype: complex_gaussian(dtype, store=False),
    "gaussian not scaled, complex": lambda dtype: complex_gaussian(dtype, normalize=False),
    "gaussian.H, complex": lambda dtype: complex_gaussian(dtype).H,
    "gaussian.rows, complex": lambda dtype: complex_gaussian(dtype).rows(3, 11),
    "gaussian.conj.rows, complex": lambda dtype: complex_gaussian(dtype).conj().rows(3, 11),
    "generic, complex": lambda dtype: Generic(dense(complex_of(dtype)).to_dense()),
    "fourier": lambda dtype: Fourier(M, N, seed=7, dtype=complex_of(dtype)),
    "fourier.rows": lambda dtype: Fourier(M, N, seed=7, dtype=complex_of(dtype)).rows(3, 11),
    "fourier.T": lambda dtype: Fourier(M, N, seed=7, dtype=complex_of(dtype)).T,
    "circulant, complex": lambda dtype: Circulant(M, N, seed=7, dtype=complex_of(dtype)),
    "entries, complex": lambda dtype: Entries(PLACES, (5, 7), dtype=complex_of(dtype)),
    "kronecker, complex": lambda dtype: kronecker(complex_of(dtype)),
    "composition, complex": lambda dtype: (
        Fourier(M, M, dtype=complex_of(dtype)) @ dense(complex_of(dtype))
    ),
    "scaled, complex": lambda dtype: (1 - 2j) * complex_gaussian(dtype),
    "stack, complex": lambda dtype: VStack(
        [complex_gaussian(dtype), Fourier(9, N, dtype=complex_of(dtype))]
    ),
}
ON_REAL_SIGNALS = {
    "gaussian on reals": lambda dtype: complex_gaussian(dtype, real_input=True),
    "gaussian on reals.rows": lambda dtype: complex_gaussian(dtype, real_input=True).rows(3, 11),
    "gaussian on reals.H": lambda dtype: complex_gaussian(dtype, real_input=True).H,
    "fourier on reals": lambda dtype: Fourier(M, N, dtype=complex_of(dtype), real_input=True),
    "dense on reals": lambda dtype: RealInput(dense(complex_of(dtype))),
    "fourier of real": lambda dtype: (
        Fourier(M, M, dtype=complex_of(dtype), real_input=True) @ dense(dtype)
    ),
}
ALL = REAL | COMPLEX | ON_REAL_SIGNALS


def _large(m=300, n=700):
    """Each family at a size that threads share."""

    def both(make):
        return {"": make, ", complex": lambda dtype: make(complex_of(dtype))}

    families = {
        "dense": both(lambda dtype: dense(dtype, m, n)),
        "gaussian": both(lambda dtype: Gaussian(m, n, dtype=dtype, store=True)),
        "gaussian not stored": both(lambda dtype: Gaussian(m, n, dtype=dtype, store=False)),
        "rademacher": {"": lambda dtype: Rademacher(m, n, dtype=dtype, store=True)},
        "rademacher not stored": {"": lambda dtype: Rademacher(m, n, dtype=dtype, store=False)},
        "sparse": {"": lambda dtype: SparseSign(m, 9 * n, dtype=dtype)},
        "sparse not stored": {"": lambda dtype: SparseSign(m, 25 * n, dtype=dtype, store=False)},
        "hadamard": {"": lambda dtype: Hadamard(m, n, dtype=dtype)},
        "hadamard, long": {"": lambda dtype: Hadamard(9 * m, 1 << 17, dtype=dtype)},
        "cosine": {"": lambda dtype: Cosine(m, 5 * n, dtype=dtype)},
        "fourier": {"": lambda dtype: Fourier(m, 5 * n, dtype=complex_of(dtype))},
        "circulant": both(lambda dtype: Circulant(m, 5 * n, dtype=dtype)),
        "rank one": {"": lambda dtype: RankOne(m, (20, n // 20), dtype=dtype)},
        "entries": both(lambda dtype: Entries(PLACES * 13, (20, n // 20), dtype=dtype)),
        "kronecker": both(
            lambda dtype: Kronecker(dense(dtype, 20, 30), Gaussian(40, 20, dtype=dtype))
        ),
        "composition": both(lambda dtype: dense(dtype, 90, m) @ Gaussian(m, n, dtype=dtype)),
        "sum": both(lambda dtype: 2 * Gaussian(m, n, dtype=dtype) - dense(dtype, m, n)),
        "stack": both(lambda dtype: VStack([Gaussian(m, n, dtype=dtype), dense(dtype, 9, n)])),
        "on reals": {"": lambda dtype: RealInput(dense(complex_of(dtype), m, n))},
    }
    return {family + kind: f for family, each in families.items() for kind, f in each.items()}


LARGE = _large()
