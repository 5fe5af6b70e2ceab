"""Operators: matrix, forward and adjoint are those of the definition, and rows keep their bits.

The definition is a formula, of entries that the reference's streams give; scales are plain
arithmetic on m and n. The bound is that of sums of n (or m) terms of the magnitudes |A||x|, of a
complex product twice as many, and of 16 roundings more for what scales do. Of operators made of
others it is what the bounds of these add up to: a composition sums magnitudes |A||B||x|, with the
roundings of both. A Fourier transform mixes all terms before it takes them apart again: the error
of what is computed by one is bounded by norms (Higham, Accuracy and Stability of Numerical
Algorithms, chapter 24), 8 + 2 log2(n) roundings of the norm of A's row times that of x.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import homfast
from homfast._backends import rademacher, streams
from homfast._backends.permutation import row_permutation
from homfast.selftesting import entries, sizes
from homfast.selftesting.oracles import ROUNDOFF, WIDE, assert_same_bits, assert_within, gamma

TITLE = "operators: forward and adjoint within bounds, rows alone and on threads"
KEEPS_BITS = False
OF_SCALES = 16  # roundings


class Asked(NamedTuple):
    """What a family is made of."""

    m: int
    n: int  # about: matrices that are measured have sides
    seed: int
    dtype: np.dtype  # of the operator
    store: bool
    rng: np.random.Generator

    @property
    def real(self) -> np.dtype:
        """The dtype of that precision, which decides all else."""
        return np.zeros(0, self.dtype).real.dtype

    @property
    def wide(self) -> np.dtype:
        """That of the oracle."""
        real = np.dtype(WIDE[self.real])
        return np.dtype(f"c{2 * real.itemsize}") if self.dtype.kind == "c" else real


class Known(NamedTuple):
    """An operator with its matrix by definition, and the bound on what it computes."""

    op: Any
    matrix: np.ndarray  # (..., m, n), in wider arithmetic
    sizes: np.ndarray  # the magnitudes that are summed: |A|, or more
    roundings: tuple[int, int, int]  # of a term: in the matrix, forward, in the adjoint
    by_norms: float = 0.0  # roundings of norms, of what is computed by a transform


def plain(op, matrix, roundings=OF_SCALES):
    """What multiplies by its entries."""
    m, n = matrix.shape[-2:]
    parts = 2 if op.dtype.kind == "c" else 1
    counts = roundings, parts * n + roundings, parts * m + roundings
    return Known(op, matrix, np.abs(matrix).astype(float), counts)


def root(number):
    return np.sqrt(np.longdouble(number))


# Of entries ---------------------------------------------------------------------------------------


def matrix_of(family, asked, seed):
    """As `entries` defines it."""
    unscaled, square = entries.definition(family, asked.m, asked.n, seed, asked.dtype)
    return (unscaled.astype(asked.wide) / root(square)).astype(asked.wide)


def seeded(family):
    def make(asked):
        kind = getattr(homfast.measure, family)
        op = kind(asked.m, asked.n, seed=asked.seed, dtype=asked.dtype, store=asked.store)
        return plain(op, matrix_of(family, asked, asked.seed))

    return make


gaussian, sparse_sign = seeded("Gaussian"), seeded("SparseSign")


def seed_batch(asked):
    seeds = [asked.seed, int(asked.rng.integers(2**63))]
    options = {"seed": np.array(seeds, np.uint64), "dtype": asked.dtype, "store": asked.store}
    op = homfast.measure.Gaussian(asked.m, asked.n, **options)
    return plain(op, np.stack([matrix_of("Gaussian", asked, seed) for seed in seeds]))


def dense(asked):
    matrix = draw_rows(asked.rng, (asked.m, asked.n), asked.dtype)
    return plain(homfast.measure.Dense(matrix), matrix.astype(asked.wide), 0)


def places(asked):
    """Some may come twice; a measurement is a copy."""
    d1, d2 = sides(asked)
    where = asked.rng.integers(0, d1 * d2, asked.m)
    op = homfast.measure.Entries(where, (d1, d2), dtype=asked.dtype)
    matrix = np.zeros((asked.m, d1 * d2), asked.wide)
    matrix[np.arange(asked.m), where] = 1
    most = int(np.bincount(where).max())
    return Known(op, matrix, np.abs(matrix).astype(float), (0, 0, most - 1))


def rank_one(asked, symmetric=False):
    d1, d2 = (math.isqrt(asked.n),) * 2 if symmetric else sides(asked)
    options = {"seed": asked.seed, "dtype": asked.dtype, "symmetric": symmetric}
    op = homfast.measure.RankOne(asked.m, (d1, d2), **options)
    a = entries.normals(streams.RANK_ONE_LEFT, asked.m, d1, asked.seed, asked.dtype)
    b = a
    if not symmetric:
        b = entries.normals(streams.RANK_ONE_RIGHT, asked.m, d2, asked.seed, asked.dtype)
    outer = a.astype(asked.wide)[:, :, None] * b[:, None, :]
    known = plain(op, (outer / root(asked.m)).reshape(op.shape).astype(asked.wide))
    # Sums over the columns of X, then over its rows.
    return known._replace(
        roundings=(OF_SCALES, d1 + d2 + OF_SCALES, known.roundings[2]),
    )


def rank_one_symmetric(asked):
    return rank_one(asked, symmetric=True)


def sides(asked):
    """Of matrices of about n elements."""
    d1 = int(asked.rng.integers(1, math.isqrt(asked.n) + 1))
    return d1, asked.n // d1


# By transforms ------------------------------------------------------------------------------------


def transform(family):
    def make(asked):
        op = getattr(homfast.measure, family)(asked.m, asked.n, seed=asked.seed, dtype=asked.dtype)
        formula, scale = FORMULAS[family]
        known = plain(op, (formula(asked) * scale(asked)).astype(asked.wide))
        by_norms = 0 if family == "Hadamard" else 8 + 2 * np.log2(asked.n)
        return known._replace(by_norms=by_norms)

    return make


def hadamard(asked):
    """(-1) to the number of ones that the row's number and the column's share, times a sign."""
    bits = (asked.n - 1).bit_length()
    shared = drawn_rows(asked, 1 << bits) & np.arange(asked.n)
    ones = sum((shared >> bit) & 1 for bit in range(bits))
    signs = np.empty((1, asked.n), asked.dtype)
    rademacher.fill(asked.seed, streams.stream_word(streams.HADAMARD_SIGNS), 0, 0, signs)
    return np.where(ones % 2, -1, 1) * signs.astype(np.longdouble)


def cosine(asked):
    k, j, n = drawn_rows(asked, asked.n), np.arange(asked.n), asked.n
    first = np.sqrt(np.longdouble(0.5)) ** (k == 0)
    return first * np.sqrt(np.longdouble(2) / n) * np.cos(angle(k * (2 * j + 1), 4 * n))


def fourier(asked):
    turns = angle(-drawn_rows(asked, asked.n) * np.arange(asked.n), asked.n)
    return (np.cos(turns) + 1j * np.sin(turns)) / root(asked.n)


def circulant(asked):
    n, kinds = asked.n, (streams.CIRCULANT, streams.COMPLEX_CIRCULANT)
    column = entries.normals(kinds[0], 1, n, asked.seed, asked.dtype, kinds[1])[0]
    return column.astype(asked.wide)[(drawn_rows(asked, n) - np.arange(n)) % n]


def drawn_rows(asked, count):
    """Which of so many rows, as a column."""
    return row_permutation(asked.seed, count, asked.m)[:, None]


def angle(numerator, denominator):
    """2 pi numerator / denominator, of whole numbers."""
    pi = 4 * np.arctan(np.longdouble(1))
    return 2 * pi * (numerator % denominator).astype(np.longdouble) / denominator


def orthonormal_scale(asked):
    return root(asked.n) / root(asked.m)


def normal_scale(asked):
    """Unscaled complex entries have two parts of variance 1."""
    return 1 / root(asked.m * (2 if asked.dtype.kind == "c" else 1))


# The matrix, and its scale.
FORMULAS = {
    "Hadamard": (hadamard, lambda asked: 1 / root(asked.m)),
    "Cosine": (cosine, orthonormal_scale),
    "Fourier": (fourier, orthonormal_scale),
    "Circulant": (circulant, normal_scale),
}


# Of others ----------------------------------------------------------------------------------------


def kronecker(asked):
    n1, n2 = sides(asked)
    m1 = int(asked.rng.integers(1, math.isqrt(asked.m) + 1))
    a = gaussian(asked._replace(m=m1, n=n1))
    b = dense(asked._replace(m=asked.m // m1, n=n2))
    op, matrix = homfast.measure.Kronecker(a.op, b.op), np.kron(a.matrix, b.matrix)
    return Known(op, matrix, np.kron(a.sizes, b.sizes), after(a, b, more=2))


def composition(asked):
    between = int(asked.rng.integers(1, 17))
    a, b = dense(asked._replace(n=between)), gaussian(asked._replace(m=between))
    _, forward, backward = after(a, b)
    counts = forward, forward, backward  # its matrix is that of products with units
    return Known(a.op @ b.op, a.matrix @ b.matrix, a.sizes @ b.sizes, counts)


def difference(asked):
    a, b = gaussian(asked), dense(asked)
    return Known(a.op - b.op, a.matrix - b.matrix, a.sizes + b.sizes, most(a, b, more=1))


def scaled(asked):
    """The factor is rounded, and so is the product, a complex one three times."""
    kind = np.dtype(np.complex128 if asked.dtype.kind == "c" else np.float64)
    factor, known = draw_rows(asked.rng, (1,), kind)[0].item(), gaussian(asked)
    counts = after(known, more=4)
    return Known(factor * known.op, known.matrix * factor, known.sizes * abs(factor), counts)


def stack(asked):
    above = asked.m // 2
    a, b = gaussian(asked._replace(m=above)), dense(asked._replace(m=asked.m - above))
    joined = [np.concatenate([x, y]) for x, y in ((a.matrix, b.matrix), (a.sizes, b.sizes))]
    return Known(homfast.measure.VStack([a.op, b.op]), *joined, most(a, b, more=1))


def adjoint(asked):
    known = gaussian(asked._replace(m=asked.n, n=asked.m))
    of_matrix, forward, backward = known.roundings
    counts = of_matrix, backward, forward
    return Known(known.op.H, known.matrix.conj().T, known.sizes.T, counts)


def conjugate(asked):
    known = gaussian(asked)
    return known._replace(op=known.op.conj(), matrix=known.matrix.conj())


def real_input(asked):
    known = gaussian(asked)
    return known._replace(op=homfast.measure.RealInput(known.op))


def rows_of(make):
    """With the scale of all rows."""

    def rows(asked):
        first, beyond = (int(k) for k in asked.rng.integers(0, 4, 2))
        known = make(asked._replace(m=first + asked.m + beyond))
        part = slice(first, first + asked.m)
        found = known._replace(op=known.op.rows(part.start, part.stop))
        return found._replace(matrix=known.matrix[part], sizes=known.sizes[part])

    return rows


def after(*known, more=0):
    """Those of one part after the other; both parts of a complex number may be wrong together."""
    counts = (sum(counts) for counts in zip(*(k.roundings for k in known), strict=True))
    both = math.sqrt(2) if known[0].op.dtype.kind == "c" else 1
    return tuple(math.ceil(both * count) + more for count in counts)


def most(*known, more):
    """Those of the part that has most, and of what is done with them."""
    return tuple(max(counts) + more for counts in zip(*(k.roundings for k in known), strict=True))


# All of them --------------------------------------------------------------------------------------

SEEDED = {
    "Gaussian": gaussian,
    "Rademacher": seeded("Rademacher"),
    "SparseSign": sparse_sign,
    "Hadamard": transform("Hadamard"),
    "Cosine": transform("Cosine"),
    "Circulant": transform("Circulant"),
    "RankOne": rank_one,
    "RankOne, symmetric": rank_one_symmetric,
}
OTHERS = {
    "Dense": dense,
    "Entries": places,
    "Kronecker": kronecker,
    "Composition": composition,
    "Sum": difference,
    "Scaled": scaled,
    "VStack": stack,
    "Adjoint": adjoint,
    "rows": rows_of(gaussian),
    "RowSlice": rows_of(sparse_sign),
    "SeedBatch": seed_batch,
}
ONLY_COMPLEX = {
    "Fourier": transform("Fourier"),
    "Conjugate": conjugate,
    "RealInput": real_input,
}
ONLY_REAL = (
    *("Rademacher", "SparseSign", "Hadamard", "Cosine", "RankOne", "RankOne, symmetric"),
    "RowSlice",
)
MAKERS = SEEDED | OTHERS | ONLY_COMPLEX
COMPLEX = {f"{name}, complex": name for name in SEEDED | OTHERS if name not in ONLY_REAL}
FAMILIES = (*MAKERS, *COMPLEX)
OFTEN = (*SEEDED, "Fourier", "Gaussian, complex", "Circulant, complex")
CORNERS = (
    *({"family": family, "m": 23, "n": 37, "batch": 5, "store": True} for family in FAMILIES),
    *(
        {"family": name, "m": 31, "n": 130, "batch": 17, "store": False}
        for name in ("Gaussian", "Rademacher", "SparseSign", "Gaussian, complex")
    ),
    {"family": "Circulant", "m": 8, "n": 223, "batch": 34, "store": True},  # a prime
)


def draw(rng, largest):
    n = sizes.size(rng, largest, least=16)
    return {
        "family": str(rng.choice(OFTEN if rng.random() < 0.5 else FAMILIES)),
        "m": min(sizes.size(rng, largest, least=8), n),
        "n": n,
        "batch": sizes.size(rng, 40),
        "store": bool(rng.random() < 0.5),
    }


def make(family, m, n, seed, dtype, store, rng):
    name = COMPLEX.get(family, family)
    if family in COMPLEX or family in ONLY_COMPLEX:
        dtype = np.dtype(f"c{2 * dtype.itemsize}")
    return MAKERS[name](Asked(m, n, seed, dtype, store, rng))


def check(engine, dtype, rng, family, m, n, batch, store):
    known = make(family, m, n, int(rng.integers(2**63)), dtype, store, rng)
    op, matrix = known.op, known.matrix
    outer = matrix.shape[:-2]  # of a batch of operators
    x = draw_rows(rng, (*outer, batch, op.shape[1]), op.input_dtype)
    y = draw_rows(rng, (*outer, batch, op.shape[0]), op.output_dtype)
    case = f"{engine} {op!r} batch {batch}"
    own = float(np.finfo(matrix.dtype).eps) / 2  # of the oracle
    in_matrix, *counts = (gamma(k, ROUNDOFF[dtype]) + gamma(k, own) for k in known.roundings)
    norm = np.linalg.norm(known.sizes, axis=-1).max()
    of_norms = known.by_norms * ROUNDOFF[dtype] * norm
    bound = of_norms + in_matrix * (known.sizes.max() if of_norms else known.sizes)
    within(op.to_dense(), matrix, np.broadcast_to(bound, matrix.shape), f"to_dense {case}")
    found = {"forward": op(x), "adjoint": op.adjoint(y)}
    for (name, result), rows, right, magnitudes, factor in zip(
        found.items(),
        (x, y),
        (np.swapaxes(matrix, -1, -2), matrix.conj()),
        (np.swapaxes(known.sizes, -1, -2), known.sizes),
        counts,
        strict=True,
    ):
        wanted = rows.astype(matrix.dtype) @ right
        of_rows = np.abs(rows).astype(float)
        if of_norms:
            bound = of_norms * np.linalg.norm(of_rows, axis=-1, keepdims=True)
            bound = np.broadcast_to(bound, wanted.shape)
        else:
            bound = factor * (of_rows @ magnitudes)
        within(result, wanted if result.dtype.kind == "c" else wanted.real, bound, f"{name} {case}")
    if engine.keeps_bits:
        row = int(rng.integers(batch))
        homfast.set_num_threads(3)
        alone = op(x[..., row : row + 1, :])[..., 0, :]
        assert_same_bits(alone, found["forward"][..., row, :], f"row {row} {case}")
        alone = op.adjoint(y[..., row, :])
        assert_same_bits(alone, found["adjoint"][..., row, :], f"adjoint, row {row} {case}")


def draw_rows(rng, shape, dtype):
    values = rng.standard_normal((*shape, 2))
    if dtype.kind == "c":
        return (values[..., 0] + 1j * values[..., 1]).astype(dtype)
    return values[..., 0].astype(dtype)


def within(found, wanted, bound, case):
    """`assert_within`, of real and imaginary parts."""
    assert_within(found.real, wanted.real, bound, case)
    if wanted.dtype.kind == "c":
        assert_within(found.imag, wanted.imag, bound, case)
