"""Sums, multiples, compositions, stacks, batches of seeds, sparse input: against dense matrices."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
from operators import ALL, complex_of, draw, tolerance
from oracles import assert_same_bits

from homfast import measure
from homfast.measure import (
    Circulant,
    Cosine,
    Dense,
    Fourier,
    Gaussian,
    Hadamard,
    Rademacher,
    RankOne,
    RealInput,
    SeedBatch,
    SparseSign,
    VStack,
)

A, B = Gaussian(6, 9, seed=1, dtype=np.float64), Hadamard(6, 9, seed=2, dtype=np.float64)
C = Cosine(9, 9, dtype=np.float64)
Z = Gaussian(6, 9, seed=1, dtype=np.complex128)


def close(op, matrix):
    np.testing.assert_allclose(op.to_dense(), matrix, atol=1e-12)
    np.testing.assert_allclose(op(np.eye(op.shape[1])).T, matrix, atol=1e-12)
    assert op.dot_test() and op.H.dot_test() and op.shape == matrix.shape


def test_algebra_is_that_of_matrices():
    a, b, c, z = (op.to_dense() for op in (A, B, C, Z))
    close(A + B, a + b)
    close(A - B, a - b)
    close(-A, -a)
    close(2 * A, 2 * a)
    close(A * np.float64(3), 3 * a)
    close(A / 4, a / 4)
    close((1 - 2j) * Z, (1 - 2j) * z)
    close(A @ C, a @ c)
    close(A @ C @ B.H, a @ c @ b.T)
    close(A.H @ A + C, a.T @ a + c)
    close(VStack([A, B, C]), np.concatenate([a, b, c]))
    close(VStack([A, B, C]).rows(3, 14), np.concatenate([a, b, c])[3:14])
    close((2 * (A - B) @ C).rows(1, 3).H, 2 * ((a - b) @ c)[1:3].T)
    close(
        (Fourier(6, 6, dtype=np.complex128) @ Z).conj(),
        (Fourier(6, 6, dtype=np.complex128).to_dense() @ z).conj(),
    )
    assert A + B == A + B != B + A and 2 * A == A * 2 != 3 * A and hash(A @ C) == hash(A @ C)
    assert A + B != A - B and VStack([A]) != VStack([A, A]) and A @ C != "A @ C"
    assert (2 * A).factor == 2 and (2 * A).seed == A.seed and (A + B).parts == (A, B)
    assert abs((-2 * A).norm() - 2 * A.norm()) < 1e-12 and VStack([A]).norm() == A.norm()


def test_combinations_refuse():
    single = Gaussian(6, 9)
    for call, error, message in (
        (lambda: A @ A, ValueError, r"@: got operators of shapes \(6, 9\) and \(6, 9\)"),
        (lambda: A + C, ValueError, r"\+: got operators of shapes"),
        (lambda: A + single, TypeError, "nothing is cast"),
        (lambda: A.H @ Z, TypeError, "RealInput"),
        (lambda: Fourier(6, 6) @ single, TypeError, "RealInput"),
        (lambda: A + 1, TypeError, "unsupported operand"),
        (lambda: A * "2", TypeError, "multiply|unsupported"),
        (lambda: True * A, TypeError, "factor: got True"),
        (lambda: 1j * A, TypeError, "factor: got 1j for an operator of float64"),
        (lambda: 1j * RealInput(Z), TypeError, "wanted a real number"),
        (lambda: RealInput(A), TypeError, "real_input: got float64"),
        (lambda: RealInput(np.eye(3)), TypeError, "real_input: got ndarray"),
        (lambda: VStack([]), TypeError, "at least one operator"),
        (lambda: VStack([A, np.eye(9)]), TypeError, "nothing else"),
        (lambda: VStack([A, single]), TypeError, "nothing is cast"),
        (lambda: VStack([A, A.H]), ValueError, "wanted one n"),
        (
            lambda: Gaussian(4, 4, seed=np.arange(3)) @ Gaussian(4, 4, seed=np.arange(2)),
            ValueError,
            r"batches of \[2, 3\] operators",
        ),
    ):
        with pytest.raises(error, match=message):
            call()


# A batch of different operators -----------------------------------------------------------------

BATCHES = {
    "gaussian": lambda **k: Gaussian(7, 20, **k),
    "gaussian stored": lambda **k: Gaussian(7, 20, store=True, **k),
    "gaussian complex": lambda **k: Gaussian(7, 20, dtype=np.complex64, **k),
    "on reals": lambda **k: Gaussian(7, 20, dtype=np.complex64, real_input=True, **k),
    "rademacher": lambda **k: Rademacher(7, 20, **k),
    "sparse": lambda **k: SparseSign(7, 20, nonzeros_per_column=3, **k),
    "hadamard": lambda **k: Hadamard(7, 20, dtype=np.float64, **k),
    "cosine": lambda **k: Cosine(7, 20, **k),
    "fourier": lambda **k: Fourier(7, 20, normalize=False, **k),
    "circulant": lambda **k: Circulant(7, 20, **k),
    "rank one": lambda **k: RankOne(7, (4, 5), **k),
    "symmetric": lambda **k: RankOne(7, (4, 4), symmetric=True, **k),
}
SEEDS = np.array([5, 0, 2**64 - 1], np.uint64)


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("inner", [(), (4,), (2, 3), (0,)])
def test_a_batch_of_seeds_is_each_operator_alone(name, inner, rng):
    make = BATCHES[name]
    op = make(seed=SEEDS)
    alone = [make(seed=int(seed)) for seed in SEEDS]
    m, n = op.shape
    assert isinstance(op, SeedBatch) and alone[0].shape == (m, n) and op.dtype == alone[0].dtype
    assert op.operators == tuple(alone) and (op.seed == SEEDS).all()
    x, y = draw(rng, (3, *inner, n), op.input_dtype), draw(rng, (3, *inner, m), op.output_dtype)
    for product, argument in (("forward", x), ("adjoint", y), ("gram", x)):
        found = getattr(op, product)(argument)
        wanted = np.stack(
            [getattr(each, product)(a) for each, a in zip(alone, argument, strict=True)]
        )
        assert_same_bits(found, wanted, f"{name} {product}")
        part = op.rows(2, 5)
        if product == "forward":
            pairs = zip(alone, x, strict=True)
            assert_same_bits(part(x), np.stack([e.rows(2, 5)(a) for e, a in pairs]), "rows")
    assert_same_bits(op.H(y), op.adjoint(y), "H")


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_of_seeds_answers_the_protocol(name, rng):
    op = BATCHES[name](seed=SEEDS)
    m, n = op.shape
    matrices = op.to_dense()
    assert matrices.shape == (3, m, n)
    np.testing.assert_array_equal(op.T.to_dense(), np.swapaxes(matrices, 1, 2))
    np.testing.assert_array_equal(op.rows(1, 3).to_dense(), matrices[:, 1:3])
    assert op.norm().shape == (3,) and op.dot_test() and op.H.dot_test() and op.T.dot_test()
    X = draw(rng, (3, n, 4), op.input_dtype)
    wanted = matrices @ X
    for found in (op @ X, op.matmat(X)):
        np.testing.assert_allclose(found, wanted, **tolerance(op.dtype))
    np.testing.assert_allclose(op.matvec(X[..., 0]), wanted[..., 0], **tolerance(op.dtype))
    for each in (op, op.rows(1, 5), op.rows(1, 5).rows(1, 2), op.H):
        unpickled = pickle.loads(pickle.dumps(each))
        rebuilt = eval(repr(each), vars(measure))
        assert unpickled == rebuilt == each and hash(unpickled) == hash(each)
        assert_same_bits(unpickled.to_dense(), each.to_dense(), repr(each))
    assert len(pickle.dumps(BATCHES[name](seed=np.arange(100)))) < 1500
    assert op != BATCHES[name](seed=SEEDS[::-1].copy())
    for wrong in (np.ones(n), np.ones((2, n)), np.ones((4, 3, n))):
        with pytest.raises(ValueError, match="that of the 3 operators"):
            op(wrong.astype(op.input_dtype))
    with pytest.raises(ValueError, match="X: got 2 axes"):
        op @ X[..., 0]
    combined = 2 * (Dense(np.eye(m, dtype=op.output_dtype)) @ op)
    np.testing.assert_allclose(combined.to_dense(), 2 * matrices, **tolerance(op.dtype))


@pytest.mark.parametrize("name", BATCHES)
def test_norms_of_what_is_made_of_a_batch_are_those_of_each_alone(name):
    op, other = BATCHES[name](seed=SEEDS), BATCHES[name](seed=SEEDS[::-1].copy())
    single = BATCHES[name](seed=7)
    m, _ = op.shape
    left = Dense(draw(np.random.default_rng(1), (5, m), op.output_dtype))
    makers = {
        "composition": lambda a, b, c: left @ a,
        "its rows": lambda a, b, c: (left @ a).rows(1, 4),
        "both": lambda a, b, c: a.H @ b,
        "sum": lambda a, b, c: a + b,
        "sum with one": lambda a, b, c: c - a,
        "multiple": lambda a, b, c: 3 * (a + b),
        "stack": lambda a, b, c: VStack([c, a, b]),
        "rows of a stack": lambda a, b, c: VStack([a, b]).rows(2, 9),
        "adjoint": lambda a, b, c: (a + b).H,
        "rows of an adjoint": lambda a, b, c: (left @ a).H.rows(1, 9),
        "conjugate": lambda a, b, c: (left @ a).conj(),
    }
    if op.input_dtype.kind == "c":
        makers["on reals"] = lambda a, b, c: RealInput(a)
    for what, make in makers.items():
        pairs = zip(op.operators, other.operators, strict=True)
        made, alone = make(op, other, single), [make(a, b, single) for a, b in pairs]
        norms = made.norm()
        assert norms.dtype == np.float64 and made.operators == tuple(alone), what
        assert norms.tolist() == [each.norm() for each in alone], what
    assert single.operators == (single,) and (left @ single).operators == (left @ single,)
    with pytest.raises(ValueError, match="rtol: got 1"):
        (op + other).norm(1)


def test_a_batch_of_seeds_has_no_other_home():
    op = Gaussian(7, 20, seed=np.arange(3))
    for method in (op.to_scipy, op.to_pylops, lambda: op.to_deepinv((1, 4, 5))):
        with pytest.raises(TypeError, match="a batch of 3 operators"):
            method()


# Sparse input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (0,)])
def test_sparse_input(name, dtype, rng, batch):
    op = ALL[name](dtype)
    m, n = op.shape
    for s in (0, 1, 4):
        indices = rng.integers(0, n, (*batch, s))
        values = draw(rng, (*batch, s), op.input_dtype)
        x = np.zeros((*batch, n), op.input_dtype)
        for place in np.ndindex(*batch, s):
            x[(*place[:-1], indices[place])] += values[place]
        y = op.forward_sparse(indices, values)
        assert y.shape == (*batch, m) and y.dtype == op.output_dtype
        np.testing.assert_allclose(y, op(x), **tolerance(op.dtype))


@pytest.mark.parametrize("name", ["gaussian not stored", "gaussian, complex", "sparse", "hadamard"])
def test_sparse_rows_have_their_bits_alone(name, dtype, rng):
    op = ALL[name](dtype)
    indices = rng.integers(0, op.shape[1], (30, 5))
    values = draw(rng, (30, 5), op.input_dtype)
    y = op.forward_sparse(indices, values)
    for i in (0, 11, 29):
        assert_same_bits(op.forward_sparse(indices[i], values[i]), y[i], f"row {i}")


def test_sparse_input_of_a_batch_of_seeds(rng):
    op = Gaussian(7, 20, seed=SEEDS)
    indices, values = rng.integers(0, 20, (3, 4, 2)), draw(rng, (3, 4, 2), np.float32)
    y = op.forward_sparse(indices, values)
    for b, each in enumerate(op.operators):
        assert_same_bits(each.forward_sparse(indices[b], values[b]), y[b], f"operator {b}")
    x = np.zeros((3, 4, 7), np.float32)
    x[..., 2] = 1
    found = op.H.forward_sparse(np.full((3, 4, 1), 2), np.ones((3, 4, 1), np.float32))
    np.testing.assert_allclose(found, op.adjoint(x), atol=1e-6)


def test_sparse_input_of_an_operator_too_large_to_multiply():
    op = SparseSign(1000, 2**40)
    y = op.forward_sparse(np.array([2**39, 7]), np.float32([1, 2]))
    assert np.count_nonzero(y) in range(9, 17) and abs((y**2).sum() - 5) < 3


def test_sparse_input_refuses():
    op = Gaussian(5, 9)
    for indices, values, error, message in (
        ([9], [1.0], ValueError, "indices: got 9, wanted 0 <= index < 9"),
        ([-1], [1.0], ValueError, "indices: got -1"),
        ([1.0], [1.0], TypeError, "indices: got dtype float64"),
        ([1, 2], [1.0], ValueError, r"indices: got shape \(2,\), wanted \(1,\)"),
        (1, 1.0, ValueError, r"values: got shape \(\)"),
        (np.ma.array([1]), [1.0], TypeError, "indices: got dtype"),
    ):
        given = indices if isinstance(indices, np.ma.MaskedArray) else np.array(indices)
        with pytest.raises(error, match=message):
            op.forward_sparse(given, np.array(values, np.float32))
    with pytest.raises(TypeError, match="values: got float64"):
        op.forward_sparse(np.array([1]), np.array([1.0]))
    with pytest.raises(TypeError, match="values: got complex64"):
        op.forward_sparse(np.array([1]), np.ones(1, complex_of(np.float32)))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.complex64, np.int8, int, Fraction])
def test_the_type_of_a_divisor_loses_nothing(kind):
    op = Gaussian(3, 5, seed=1, dtype=np.complex128 if kind is np.complex64 else np.float64)
    assert repr(op / kind(3)) == repr(op * (1 / 3))
    with pytest.raises(ZeroDivisionError):
        op / kind(0)


def test_a_divisor_whose_inverse_is_not_finite():
    op = Gaussian(3, 5, seed=1, dtype=np.float64)
    for divisor in (1e-310, np.float64(-1e-310), 1e-310j):
        with pytest.raises((ValueError, TypeError), match=r"^factor: got"):
            op / divisor
    assert repr(op / float("inf")) == repr(op * 0.0)


def test_numbers_are_also_arrays_without_axes():
    op = Gaussian(3, 5, seed=1)
    for factor in (2, 2.0, np.float32(2), np.array(2.0), np.array(2, np.int8)):
        assert repr(factor * op) == repr(op * factor) == repr(2.0 * op)
        assert repr(op / factor) == repr(0.5 * op)
    for factor in (np.ones(3), np.ones(1), np.array("a"), "a", None):
        with pytest.raises(TypeError):
            op * factor
        with pytest.raises(TypeError):
            factor * op
