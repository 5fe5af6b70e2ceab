"""The families: what their matrices are, their scale and statistics, what they refuse."""

import inspect
import math
import pickle

import numpy as np
import pytest
from operators import complex_of, draw, tolerance, widened
from oracles import assert_same_bits

from homfast import _backends, measure
from homfast.measure import (
    Circulant,
    Cosine,
    Entries,
    Fourier,
    Gaussian,
    Hadamard,
    Kronecker,
    Rademacher,
    RankOne,
    SparseSign,
)
from homfast.selftesting.entries import GOLDEN, digest, golden_entries

SHAPES = [(1, 1), (1, 2), (3, 5), (8, 8), (20, 37), (64, 64), (50, 101)]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    assert digest(golden_entries(name)) == GOLDEN[name]


# What they are ----------------------------------------------------------------------------------


@pytest.mark.parametrize("m, n", SHAPES)
def test_hadamard_is_scipys(dtype, m, n):
    linalg = pytest.importorskip("scipy.linalg")
    op = Hadamard(m, n, seed=3, dtype=dtype)
    size = 1 << (n - 1).bit_length()
    wanted = (linalg.hadamard(size)[op.row_indices][:, :n] * op.signs).astype(dtype)
    assert_same_bits(op.to_dense(), wanted * dtype.type(1 / np.sqrt(m)), "scaled")
    plain = Hadamard(m, n, seed=3, dtype=dtype, normalize=False)
    assert_same_bits(plain.to_dense(), wanted, "not scaled")
    assert len(set(op.row_indices.tolist())) == m


@pytest.mark.parametrize("m, n", SHAPES)
def test_cosine_and_fourier_are_scipys(dtype, m, n):
    fft = pytest.importorskip("scipy.fft")
    eye = np.eye(n)
    for op, full in (
        (Cosine(m, n, seed=3, dtype=dtype), fft.dct(eye, norm="ortho", axis=0)),
        (Fourier(m, n, seed=3, dtype=complex_of(dtype)), fft.fft(eye, norm="ortho", axis=0)),
    ):
        wanted = full[op.row_indices] * np.sqrt(n / m)
        np.testing.assert_allclose(op.to_dense(), wanted, **tolerance(dtype))
        plain = type(op)(m, n, seed=3, dtype=op.dtype, normalize=False)
        np.testing.assert_allclose(plain.to_dense(), full[op.row_indices], **tolerance(dtype))
        assert len(set(op.row_indices.tolist())) == m


@pytest.mark.parametrize("m, n", SHAPES)
@pytest.mark.parametrize("field", ["real", "complex"])
def test_circulant_is_scipys(dtype, m, n, field):
    linalg = pytest.importorskip("scipy.linalg")
    dtype = dtype if field == "real" else complex_of(dtype)
    op = Circulant(m, n, seed=3, dtype=dtype)
    wanted = linalg.circulant(op.first_column)[op.row_indices]
    scale = np.sqrt(m * (2 if field == "complex" else 1))
    np.testing.assert_allclose(op.to_dense(), wanted / scale, rtol=1e-6)
    x = draw(np.random.default_rng(0), (3, n), dtype)
    np.testing.assert_allclose(op(x), widened(x) @ widened(wanted).T / scale, **tolerance(dtype))


def test_kronecker_is_numpys(dtype, rng):
    a, b = draw(rng, (3, 5), dtype), draw(rng, (4, 2), dtype)
    wanted = np.kron(a, b)
    op = Kronecker(a, b)
    assert_same_bits(op.to_dense(), wanted, "dense")
    np.testing.assert_allclose(op(np.eye(10, dtype=dtype)).T, wanted, **tolerance(dtype))
    seeded = Kronecker(Hadamard(4, 8, dtype=dtype), Gaussian(3, 5, dtype=dtype))
    parts = [part.to_dense() for part in seeded.parts]
    np.testing.assert_allclose(
        seeded(np.eye(40, dtype=dtype)).T, np.kron(*parts), **tolerance(dtype)
    )


@pytest.mark.parametrize("symmetric", [False, True])
def test_rank_one_rows_are_outer_products(dtype, rng, symmetric):
    op = RankOne(9, (6, 6), seed=3, symmetric=symmetric, dtype=dtype)
    a, b = op.factors
    assert np.array_equal(a, b) is symmetric and op.symmetric is symmetric
    rows = np.stack([np.outer(a[i], b[i]).ravel() for i in range(9)])
    np.testing.assert_allclose(op.to_dense(), rows / 3, rtol=1e-6)
    X = draw(rng, (6, 6), dtype)
    wanted = np.einsum("ij,jk,ik->i", widened(a), widened(X), widened(b)) / 3
    np.testing.assert_allclose(op(X.ravel()), wanted, **tolerance(dtype))


def test_rank_one_of_any_tile(bit_engine, dtype, rng, monkeypatch):
    from homfast.measure import rank_one

    monkeypatch.setattr(_backends, "_automatic", bit_engine.module)
    op = RankOne(30, (7, 5), seed=3, dtype=dtype)
    x, y = draw(rng, (6, 35), dtype), draw(rng, (6, 30), dtype)
    wanted = op(x), op.adjoint(y)
    for chunk in (1, 60, 210, 500):
        monkeypatch.setattr(rank_one, "_CHUNK", chunk)
        assert_same_bits(op(x), wanted[0], f"forward in {chunk}")
        assert_same_bits(op.adjoint(y), wanted[1], f"adjoint in {chunk}")


def test_entries_are_the_entries(dtype, rng):
    pairs = np.array([[0, 1], [2, 3], [0, 1], [1, 0]])
    op = Entries(pairs, (3, 4), dtype=dtype)
    X, y = draw(rng, (5, 3, 4), dtype), draw(rng, (5, 4), dtype)
    assert_same_bits(op(X.reshape(5, 12)), X[:, pairs[:, 0], pairs[:, 1]], "forward")
    back = np.zeros((5, 3, 4), dtype)
    for i, (row, column) in enumerate(pairs):
        back[:, row, column] += y[:, i]
    assert_same_bits(op.adjoint(y), back.reshape(5, 12), "adjoint")
    assert op == Entries(pairs @ [4, 1], (3, 4), dtype=dtype)
    assert np.array_equal(op.indices, pairs) and op.norm() == np.sqrt(2)
    assert Entries([], (3, 4)).shape == (0, 12) and Entries([5], (3, 4)).norm() == 1


def test_sparse_sign_columns(dtype):
    for nonzeros in (1, 3, 8, 20):
        dense = SparseSign(20, 90, nonzeros_per_column=nonzeros, dtype=dtype).to_dense()
        assert (np.count_nonzero(dense, axis=0) == nonzeros).all()
        assert set(np.abs(dense[dense != 0])) == {dtype.type(1 / np.sqrt(nonzeros))}


# Nested operators -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [Rademacher, Hadamard, Cosine, Fourier, Circulant, "rank one"])
def test_unscaled_rows_are_the_same_for_every_m(family):
    def make(m):
        if family == "rank one":
            return RankOne(m, (5, 8), seed=4, normalize=False)
        dtype = np.complex64 if family is Fourier else np.float32
        return family(m, 40, seed=4, dtype=dtype, normalize=False)

    whole = make(40).to_dense()
    for m in (1, 7, 39):
        np.testing.assert_array_equal(make(m).to_dense(), whole[:m])
        np.testing.assert_array_equal(make(40).rows(0, m).to_dense(), whole[:m])


def test_signs_are_those_of_both_dtypes():
    for family in (Rademacher, SparseSign, Hadamard):
        single, double = (
            family(30, 50, seed=4, dtype=d, normalize=False).to_dense() for d in ("f4", "f8")
        )
        assert_same_bits(single.astype(np.float64), double, str(family))


# Statistics -------------------------------------------------------------------------------------

ENSEMBLES = {
    "gaussian": lambda seed: Gaussian(16, 24, seed=seed, dtype=np.float64),
    "gaussian complex": lambda seed: Gaussian(16, 24, seed=seed, dtype=np.complex128),
    "rademacher": lambda seed: Rademacher(16, 24, seed=seed, dtype=np.float64),
    "sparse": lambda seed: SparseSign(16, 24, seed=seed, dtype=np.float64),
    "hadamard": lambda seed: Hadamard(16, 24, seed=seed, dtype=np.float64),
    "cosine": lambda seed: Cosine(16, 24, seed=seed, dtype=np.float64),
    "fourier": lambda seed: Fourier(16, 24, seed=seed, dtype=np.complex128),
    "circulant": lambda seed: Circulant(16, 24, seed=seed, dtype=np.float64),
    "circulant complex": lambda seed: Circulant(16, 24, seed=seed, dtype=np.complex128),
    "rank one": lambda seed: RankOne(16, (4, 6), seed=seed, dtype=np.float64),
}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_isotropic_in_expectation(name):
    """E[A^H A] = I: each entry of the mean over seeds within 5.5 of its standard errors."""
    count = 400
    grams = []
    for seed in range(count):
        matrix = ENSEMBLES[name](seed).to_dense()
        grams.append(matrix.conj().T @ matrix)
    mean, spread = np.mean(grams, axis=0), np.std(grams, axis=0) / np.sqrt(count)
    assert (np.abs(mean - np.eye(24)) <= 5.5 * spread + 1e-12).all(), name


def test_symmetric_rank_one_in_expectation():
    """E[A^H A] X = X + X^T + tr(X) I."""
    grams = []
    for seed in range(2000):
        matrix = RankOne(8, (3, 3), seed=seed, symmetric=True, dtype=np.float64).to_dense()
        grams.append(matrix.T @ matrix)
    eye = np.eye(3)
    swap = np.einsum("il,jk->ijkl", eye, eye).reshape(9, 9)
    wanted = np.eye(9) + swap + np.outer(eye, eye)
    spread = np.std(grams, axis=0) / np.sqrt(2000)
    assert (np.abs(np.mean(grams, axis=0) - wanted) <= 5.5 * spread + 1e-12).all()


def test_complex_gaussian_has_independent_parts_of_one_half():
    matrix = Gaussian(300, 400, seed=2, dtype=np.complex128, normalize=False).to_dense()
    for part in (matrix.real, matrix.imag):
        assert abs(part.mean()) < 5 * np.sqrt(0.5 / matrix.size)
        assert abs(part.var() - 0.5) < 5 * 0.5 * np.sqrt(2 / matrix.size)
    assert abs((matrix**2).mean()) < 5 / np.sqrt(matrix.size)
    real = Gaussian(300, 400, seed=2, dtype=np.float64).to_dense()
    for part in (matrix.real, matrix.imag):
        assert abs(np.corrcoef(part.ravel(), real.ravel())[0, 1]) < 5 / np.sqrt(matrix.size)


def test_hadamard_columns_are_not_parallel():
    matrix = Hadamard(60, 100, seed=1, dtype=np.float64).to_dense()
    assert np.abs(matrix.T @ matrix - np.eye(100)).max() < 0.75


# Norms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [True, False])
def test_norms_in_closed_form(dtype, normalize):
    for op in (
        Hadamard(20, 64, dtype=dtype, normalize=normalize),
        Cosine(20, 63, dtype=dtype, normalize=normalize),
        Fourier(20, 63, dtype=complex_of(dtype), normalize=normalize),
        Kronecker(Cosine(3, 8, dtype=dtype), Hadamard(2, 4, dtype=dtype)),
    ):
        for each in (op, op.rows(3, 5), op.H):
            exact = np.linalg.norm(widened(each.to_dense()), 2)
            assert abs(each.norm() - exact) <= 4 * np.finfo(dtype).eps * exact
        assert op.rows(2, 2).norm() == 0


def test_norms_of_kronecker_products_keep_every_tolerance(dtype):
    """Also where half of it, or a quarter, is less than any factor is found to."""
    a, b = (Gaussian(3, 4, seed=seed, dtype=dtype) for seed in (1, 2))
    least = 4 * float(np.finfo(dtype).eps)
    for op in (Kronecker(a, b), Kronecker(Kronecker(a, b), a), Kronecker(b, Kronecker(b, a))):
        exact = np.linalg.norm(widened(op.to_dense()), 2)
        for rtol in (1e-6, 0.1, 1.5 * least, least):
            assert abs(op.norm(rtol) - exact) <= (rtol + least) * exact, (op, rtol)
        for rtol in (0.5 * least, 1.0, 1.5, np.nan):
            with pytest.raises(ValueError, match=rf"^rtol: got {rtol!r}, wanted"):
                op.norm(rtol)
        with pytest.raises(TypeError, match=r"^rtol: got 'a', wanted a number"):
            op.norm("a")
    root = math.sqrt(32)  # of three in closed form: nothing is found to a tolerance
    closed = Hadamard(2, 32, dtype=dtype, normalize=False)
    assert Kronecker(Kronecker(closed, closed), closed).norm() == root * root * root


# What is refused --------------------------------------------------------------------------------

FAMILIES = {
    "gaussian": Gaussian,
    "rademacher": Rademacher,
    "sparse": SparseSign,
    "hadamard": Hadamard,
    "cosine": Cosine,
    "fourier": lambda m, n, **k: Fourier(m, n, **{"dtype": np.complex64, **k}),
    "circulant": Circulant,
    "rank one": lambda m, n, **k: RankOne(m, (n, 2), **k),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_refused_arguments(name):
    make = FAMILIES[name]
    for arguments, options, error, message in (
        ((0, 8), {}, ValueError, "m: got 0, wanted 1 <= m"),
        ((8, 0), {}, ValueError, "(n|d1): got 0, wanted 1 <= (n|d1)"),
        ((8, -1), {}, ValueError, "(n|d1): got -1"),
        ((8.0, 9), {}, TypeError, "m: got 8.0, wanted an integer"),
        ((8, True), {}, TypeError, "(n|d1): got True"),
        ((8, 9), {"seed": -1}, ValueError, "seed: got -1, wanted 0 <= seed < 2"),
        ((8, 9), {"seed": 2**64}, ValueError, "seed: got 18446744073709551616"),
        ((8, 9), {"seed": 1.5}, TypeError, "seed: got 1.5"),
        ((8, 9), {"seed": np.array([1, -1])}, ValueError, "seed: got -1"),
        ((8, 9), {"seed": np.array([1.0])}, TypeError, "seed: got dtype float64"),
        ((8, 9), {"seed": np.array([[1]])}, ValueError, r"seed: got shape \(1, 1\), wanted \(B,\)"),
        ((8, 9), {"seed": np.array([], int)}, ValueError, r"seed: got shape \(0,\)"),
        ((8, 9), {"dtype": np.float16}, TypeError, "dtype: got"),
        ((8, 9), {"dtype": "words"}, TypeError, "dtype: got 'words'"),
        ((8, 9), {"normalize": 1}, TypeError, "normalize: got 1"),
        ((8, 9), {"colour": 1}, TypeError, "colour"),
    ):
        with pytest.raises(error, match=message):
            make(*arguments, **options)


def test_more_measurements_than_rows_to_draw():
    for family, m, n, most in (
        (Hadamard, 65, 40, 64),
        (Cosine, 41, 40, 40),
        (Fourier, 41, 40, 40),
        (Circulant, 41, 40, 40),
    ):
        dtype = np.complex64 if family is Fourier else np.float32
        with pytest.raises(ValueError, match=f"m: got {m}, wanted 1 <= m <= {most}"):
            family(m, n, dtype=dtype)
        assert family(most, n, dtype=dtype).shape == (most, n)


def test_refused_by_one_family():
    for call, error, message in (
        (
            lambda: SparseSign(4, 9),
            ValueError,
            "nonzeros_per_column: got 8, wanted 1 <= .* <= 4, m",
        ),
        (lambda: SparseSign(2**33, 9), ValueError, "m: got"),
        (lambda: Hadamard(4, 2**27 + 1), ValueError, "n: got"),
        (lambda: Rademacher(4, 2**39 + 1), ValueError, "n: got"),
        (lambda: Rademacher(4, 9, dtype=np.complex64), TypeError, "dtype: got"),
        (lambda: Fourier(4, 9, dtype=np.float32), TypeError, "wanted complex64 or complex128"),
        (lambda: Hadamard(4, 9, real_input=True), TypeError, "real_input: got float32"),
        (lambda: RankOne(4, (3, 4), symmetric=True), ValueError, "wanted d1 = d2"),
        (lambda: RankOne(4, 12), TypeError, "shape: got 12, wanted"),
        (lambda: RankOne(4, (3, 4), symmetric="yes"), TypeError, "symmetric: got 'yes'"),
        (lambda: Entries([12], (3, 4)), ValueError, "indices: got 12, wanted places in"),
        (lambda: Entries([-1], (3, 4)), ValueError, "indices: got -1"),
        (lambda: Entries([[1, 4]], (3, 4)), ValueError, r"indices: got \[1, 4\]"),
        (lambda: Entries([1.0], (3, 4)), TypeError, "indices: got dtype float64"),
        (lambda: Entries([[1, 2, 3]], (3, 4)), ValueError, r"indices: got shape \(1, 3\)"),
        (lambda: Entries([1], (0, 4)), ValueError, "d1: got 0"),
        (lambda: Kronecker(np.ones((2, 2)), np.ones((2, 2), "f4")), TypeError, "one dtype"),
        (lambda: Kronecker(np.ones((2, 2)), [[1.0]]), TypeError, "b: got list"),
        (
            lambda: Kronecker(*[Fourier(2, 2, real_input=True)] * 2),
            TypeError,
            "one dtype throughout",
        ),
    ):
        with pytest.raises(error, match=message):
            call()


def test_results_that_do_not_fit():
    """MemoryError before anything is written, not a kill."""
    op = Rademacher(2**40, 8, store=False)
    with pytest.raises(MemoryError):
        op(np.ones(8, np.float32))
    with pytest.raises(MemoryError, match="to_dense"):
        Rademacher(2**40, 2**20).to_dense()
    with pytest.raises(MemoryError):
        Gaussian(2, 4)(np.broadcast_to(np.float32(1), (2**44, 4)))


def test_pickles_of_another_stream_are_refused(monkeypatch):
    for op in (Hadamard(3, 4), Hadamard(3, 4, seed=np.arange(3))):
        saved = pickle.dumps(op)
        with monkeypatch.context() as patched:
            patched.setattr(Hadamard, "version", 2)
            with pytest.raises(ValueError, match="got version 1 of the Hadamard stream, wanted 2"):
                pickle.loads(saved)


def test_read_only_parts():
    op = Hadamard(3, 4)
    for array in (op.row_indices, op.signs):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert set(vars(measure)) >= {"walsh_hadamard", "solvers"}


@pytest.mark.parametrize(
    "family", [Circulant, Cosine, Fourier, Gaussian, Hadamard, Rademacher, RankOne, SparseSign]
)
def test_signatures_show_the_arguments(family):
    names = list(inspect.signature(family).parameters)
    assert names[:2] == ["m", "shape" if family is RankOne else "n"]
    assert {"seed", "dtype", "normalize"} <= set(names)
