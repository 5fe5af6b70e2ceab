"""FISTA and the spectral start: what they find, by row, and what they refuse."""

import functools
import warnings

import numpy as np
import pytest
from operators import complex_of, draw, tolerance, widened
from oracles import assert_same_bits

import homfast
from homfast.measure import (
    Circulant,
    Cosine,
    Dense,
    Fourier,
    Gaussian,
    Hadamard,
    Intensity,
    Rademacher,
    SparseSign,
    solvers,
)

MAKERS = {
    "gaussian": lambda dtype: Gaussian(40, 80, seed=1, dtype=dtype),
    "gaussian complex": lambda dtype: Gaussian(40, 80, seed=1, dtype=complex_of(dtype)),
    "rademacher": lambda dtype: Rademacher(40, 80, seed=1, dtype=dtype),
    "sparse": lambda dtype: SparseSign(40, 80, seed=1, dtype=dtype),
    "hadamard": lambda dtype: Hadamard(40, 80, seed=1, dtype=dtype),
    "cosine": lambda dtype: Cosine(40, 80, seed=1, dtype=dtype),
    "fourier": lambda dtype: Fourier(40, 80, seed=1, dtype=complex_of(dtype)),
    "fourier on reals": lambda dtype: Fourier(
        40, 80, seed=1, dtype=complex_of(dtype), real_input=True
    ),
    "circulant": lambda dtype: Circulant(40, 80, seed=1, dtype=dtype),
}


def sparse_signals(rng, batch, n, dtype):
    x = np.zeros((batch, n), dtype)
    for row in x:
        row[rng.choice(n, 4, replace=False)] = draw(rng, 4, dtype)
    return x


@pytest.mark.parametrize("name", MAKERS)
def test_fista_recovers_sparse_signals(name, dtype, rng):
    op = MAKERS[name](dtype)
    x = sparse_signals(rng, 6, 80, op.input_dtype)
    found = solvers.fista(op, op(x), regularization=1e-3, iterations=800)
    assert found.dtype == op.input_dtype and found.shape == x.shape
    error = np.linalg.norm(found - x, axis=1) / np.linalg.norm(x, axis=1)
    assert error.max() < 0.02, error


@pytest.mark.parametrize("name", ["gaussian", "gaussian complex", "fourier on reals"])
def test_fista_meets_the_optimality_conditions(name, rng):
    """A^H (y - A x) is lambda sign(x) where x is not 0, and at most lambda elsewhere."""
    op = MAKERS[name](np.dtype(np.float64))
    y = op(sparse_signals(rng, 3, 80, op.input_dtype)) + 0.05 * draw(rng, (3, 40), op.output_dtype)
    weights = np.array([0.05, 0.2, 0.4])
    x = solvers.fista(op, y, regularization=weights, iterations=5000)
    dual = op.adjoint(y - op(x)) / weights[:, None]
    active = np.abs(x) > 1e-6
    assert active.any(axis=1).all() and np.abs(dual).max() < 1 + 1e-5
    np.testing.assert_allclose(dual[active], x[active] / np.abs(x[active]), atol=1e-4)


def test_fista_is_scikit_learns_lasso(rng):
    linear_model = pytest.importorskip("sklearn.linear_model")
    op = Gaussian(40, 80, seed=1, dtype=np.float64)
    y = op(sparse_signals(rng, 1, 80, np.float64))[0] + 0.05 * draw(rng, 40, np.float64)
    lasso = linear_model.Lasso(alpha=0.05 / 40, fit_intercept=False, tol=1e-12, max_iter=100_000)
    wanted = lasso.fit(op.to_dense(), y).coef_
    found = solvers.fista(op, y, regularization=0.05, iterations=5000)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_fista_rows_start_step_and_zero(rng):
    op = Gaussian(40, 80, seed=1)
    y = draw(rng, (2, 3, 40), np.float32)
    found = solvers.fista(op, y, regularization=0.1, iterations=20)
    assert found.shape == (2, 3, 80)
    np.testing.assert_allclose(
        solvers.fista(op, y[1, 2], regularization=0.1, iterations=20), found[1, 2], atol=1e-6
    )
    largest = np.abs(op.adjoint(y)).max()
    assert not solvers.fista(op, y, regularization=1.01 * largest).any()
    assert not solvers.fista(op, y, regularization=0.1, iterations=0).any()
    start = draw(rng, (2, 3, 80), np.float32)
    same = solvers.fista(op, y, regularization=0.1, iterations=0, start=start)
    assert np.array_equal(same, start) and same is not start
    step = 1 / (1.001 * op.norm()) ** 2
    given = solvers.fista(op, y, regularization=0.1, iterations=20, step=step)
    np.testing.assert_allclose(given, found, rtol=1e-3, atol=1e-3)
    zero = Dense(np.zeros((3, 4)))
    assert not solvers.fista(zero, np.ones(3), regularization=0.1).any()


def test_fista_of_a_batch_of_operators(rng):
    op = Gaussian(40, 80, seed=np.arange(3), dtype=np.float64)
    x = np.stack([sparse_signals(rng, 2, 80, np.float64) for _ in range(3)])
    found = solvers.fista(op, op(x), regularization=1e-3, iterations=500)
    assert np.abs(found - x).max() < 0.03
    alone = solvers.fista(op.operators[1], op(x)[1], regularization=1e-3, iterations=500)
    np.testing.assert_allclose(found[1], alone, atol=1e-9)


def test_fista_of_what_is_made_of_a_batch(rng):
    op = Gaussian(30, 40, seed=np.arange(3), dtype=np.float64) @ Gaussian(40, 60, dtype=np.float64)
    y = op(np.stack([sparse_signals(rng, 2, 60, np.float64) for _ in range(3)]))
    found = solvers.fista(op, y, regularization=1e-3, iterations=50)
    for b, alone in enumerate(op.operators):
        wanted = solvers.fista(alone, y[b], regularization=1e-3, iterations=50)
        np.testing.assert_allclose(found[b], wanted, atol=1e-12)
    for call in (solvers.spectral_init, functools.partial(solvers.fista, regularization=1)):
        with pytest.raises(ValueError, match=r"^y: got leading axes \(2,\), wanted \(3, "):
            call(op, np.ones((2, 30)))


# Scales at which squares leave the range ---------------------------------------------------------

FAR = {"float32": (-110, -100, -70, -40, 40, 70, 100, 105), "float64": (-1000, -500, 500, 1000)}
FIELDS = pytest.mark.parametrize("field", ["real", "complex"])


def times(array, k):
    """The array, real or complex, times 2^k."""
    real = array.real.dtype
    return np.ldexp(array.view(real), k).view(array.dtype)


def scaled(rng, dtype, field, k):
    """A matrix (60, 12), and the operators of it and of 2^k times it."""
    matrix = draw(rng, (60, 12), dtype if field == "real" else complex_of(dtype))
    return matrix, Dense(matrix), Dense(times(matrix, k))


@FIELDS
def test_spectral_start_at_every_scale(dtype, rng, field):
    """Of an operator 2^k times as large and intensities 2^(2 j) times as large, to the bit."""
    limit = np.finfo(dtype).maxexp - 20
    for k in FAR[dtype.name]:
        _, op, far = scaled(rng, dtype, field, k)
        y = Intensity(op)(draw(rng, (3, 12), op.dtype))
        wanted = solvers.spectral_init(op, y)
        assert (np.linalg.norm(wanted, axis=1) > 0.5).all()
        for j in {0, k, k // 2, limit // 2, -limit // 2}:
            if abs(2 * j) <= limit and abs(j - k) <= limit:
                found = solvers.spectral_init(far, np.ldexp(y, 2 * j))
                assert_same_bits(found, times(wanted, j - k), f"{k} {j}")


def test_spectral_start_of_small_and_large_intensities():
    matrix, x = Gaussian(400, 20, seed=1).to_dense(), np.ones(20, np.float32)
    for scale in (1e-19, 1e-12, 1e-11, 1, 1e10, 1e18):
        op = Dense(np.float32(scale) * matrix)
        found = solvers.spectral_init(op, Intensity(op)(x))
        assert abs(np.linalg.norm(found) - 4.4) < 0.2, scale
    for scale in (1e-150, 1e-82, 1e100, 1e150):
        op = Dense(scale * matrix.astype(np.float64))
        found = solvers.spectral_init(op, Intensity(op)(x.astype(np.float64)))
        assert abs(np.linalg.norm(found) - 4.4) < 0.2, scale


def test_spectral_start_of_a_row_is_that_of_the_row_alone(dtype, rng):
    """Whatever the scales of the others are, and the layout."""
    op = Gaussian(70, 12, seed=1, dtype=dtype, store=True)
    y = Intensity(op)(draw(rng, (6, 12), dtype))
    far = np.finfo(dtype).maxexp - 30
    y = np.ldexp(y, np.array([[0], [far], [-far], [4], [7], [0]]))
    y[5] = 0
    found = solvers.spectral_init(op, y)
    assert not found[5].any() and (np.linalg.norm(found[:5], axis=1) > 0).all()
    assert_same_bits(solvers.spectral_init(op, np.asfortranarray(y)), found, "by columns")
    for i, row in enumerate(y):
        assert_same_bits(solvers.spectral_init(op, row), found[i], f"row {i}")


def test_fista_of_a_row_is_that_of_the_row_alone(dtype, rng):
    """Whatever the scales of the others are: these are powers of two, and the regularization's."""
    op = Gaussian(40, 80, seed=1, dtype=dtype)
    far = np.finfo(dtype).maxexp - 30
    shifts = np.array([0, far, -far, 4, 0, 0])
    y = np.ldexp(draw(rng, (6, 40), dtype), shifts[:, None])
    y[4], y[5] = 0, np.nan
    weights = np.ldexp(0.1, shifts)
    found = solvers.fista(op, y, regularization=weights, iterations=20)
    assert found[:4].any(axis=1).all() and not found[4].any() and np.isnan(found[5]).all()
    for i, row in enumerate(y):
        alone = solvers.fista(op, row, regularization=weights[i], iterations=20)
        assert_same_bits(alone, found[i], f"row {i}")


def test_what_leaves_the_range_is_refused():
    """Nothing becomes 0, infinite or NaN in silence."""
    matrix, y = Gaussian(20, 9).to_dense(), np.ones((2, 20), np.float32)
    y[1] = 0
    small, large = (Dense(np.float32(scale) * matrix) for scale in (1e-25, 1e25))
    op, wide = Dense(matrix), Dense(matrix.astype(np.float64))
    fista = functools.partial(solvers.fista, regularization=0, iterations=60)
    for call, message in (
        (
            lambda: fista(op, y, step=1e-60),
            "^step: got 1e-60, wanted a finite number from 1.2e-38",
        ),
        (
            lambda: fista(op, y, step=1e-40),
            "^step: got 1e-40, wanted a finite number from 1.2e-38",
        ),
        (lambda: fista(op, y, step=1e60), "^step: got 1e+60, wanted .* those of float32, .* op"),
        (lambda: fista(wide, np.ones(20), step=np.inf), "^step: got inf, wanted"),
        (lambda: fista(op, y, step=1e3), "^step: got 1000.0, with which .* wanted at most"),
        (lambda: fista(small, y), "^op: got an operator of norm 1.*e-25, whose step .* float32; "),
        (lambda: fista(large, y), "^op: got an operator of norm 1.*e+25, whose step .* scale it"),
        (lambda: fista(1e-15 * op, y * 1e25), "^y: got a row of which .* another scale"),
        (lambda: solvers.spectral_init(small, y * 1e38), "^y: got a row whose result is beyond"),
        (lambda: solvers.spectral_init(large, y * 1e-44), "^y: got a row whose result is beyond"),
        (lambda: fista(Dense(matrix * np.nan), y), "^op: got products that are not finite"),
        (lambda: fista(Dense(np.sign(matrix) * 3e38), y), "^op: got products that are not finite"),
        (
            lambda: solvers.spectral_init(Dense(np.sign(matrix) * 3e38), y),
            "^op: got products that are not finite",
        ),
    ):
        pattern = message.replace("+", "[+]")
        with warnings.catch_warnings(), pytest.raises(ValueError, match=pattern):
            warnings.simplefilter("error")
            call()


def test_solvers_of_operators_of_no_size(dtype):
    for m, n in ((0, 3), (3, 0), (0, 0)):
        op, y = Dense(np.empty((m, n), dtype)), np.ones((2, m), dtype)
        for found in (solvers.spectral_init(op, y), solvers.fista(op, y, regularization=1)):
            assert_same_bits(found, np.zeros((2, n), dtype), f"{m} {n}")


@pytest.mark.parametrize("field", ["real", "complex"])
def test_spectral_start_is_near(dtype, rng, field):
    kind = dtype if field == "real" else complex_of(dtype)
    op = Gaussian(600, 30, seed=1, dtype=kind)
    x = draw(rng, (4, 30), kind) * np.array([[1], [10], [0.1], [0]], dtype)
    found = solvers.spectral_init(op, Intensity(op)(x))
    assert found.dtype == kind and found.shape == x.shape and not found[3].any()
    norms = np.linalg.norm(x[:3], axis=1)
    correlation = np.abs((widened(found) * widened(x).conj()).sum(axis=1))[:3]
    assert (correlation > 0.75 * norms * np.linalg.norm(found[:3], axis=1)).all()
    np.testing.assert_allclose(np.linalg.norm(found[:3], axis=1), norms, rtol=0.2)
    alone = solvers.spectral_init(op, Intensity(op)(x[1]))
    np.testing.assert_allclose(alone, found[1], **tolerance(dtype) | {"atol": 1e-3})


def test_spectral_start_leads_to_the_signal(rng):
    """Gradient steps on the intensities from there (Wirtinger flow)."""
    op = Gaussian(400, 30, seed=1, dtype=np.complex128)
    measured = Intensity(op)
    x = draw(rng, (2, 30), np.complex128)
    y = measured(x)
    z = solvers.spectral_init(op, y)
    for _ in range(600):
        value, vjp = measured.vjp(z)
        z = z - 0.2 * 400 / (y.sum(axis=1, keepdims=True) * 4) * vjp(value - y)
    phase = (z.conj() * x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(z * phase / np.abs(phase), x, atol=1e-4)


def test_torch_in_torch_out():
    torch = pytest.importorskip("torch")
    op = Gaussian(20, 9)
    found = solvers.fista(op, torch.ones(2, 20), regularization=0.1, iterations=3)
    assert isinstance(found, torch.Tensor) and found.shape == (2, 9)
    assert isinstance(solvers.spectral_init(op, torch.ones(20)), torch.Tensor)


def test_refuses():
    op = Gaussian(5, 9)
    y = np.ones(5, np.float32)
    for call, error, message in (
        (lambda: solvers.fista(op, y[1:], regularization=1), ValueError, "y: got shape"),
        (lambda: solvers.fista(op, y.astype("f8"), regularization=1), TypeError, "y: got float64"),
        (lambda: solvers.fista(op, [1.0], regularization=1), TypeError, "y: got list"),
        (lambda: solvers.fista(op, y, regularization=-1), ValueError, "regularization: got"),
        (lambda: solvers.fista(op, y, regularization=np.nan), ValueError, "regularization: got"),
        (lambda: solvers.fista(op, y, regularization=1, step=0), ValueError, "step: got 0"),
        (lambda: solvers.fista(op, y, regularization=1, iterations=-1), ValueError, "iterations"),
        (lambda: solvers.fista(op, y, regularization=1, iterations=2.0), TypeError, "iterations"),
        (lambda: solvers.fista(op, y, regularization=1, start=y), ValueError, "start: got"),
        (lambda: solvers.spectral_init(op, -y), ValueError, "y: got an intensity"),
        (lambda: solvers.spectral_init(op, y * np.nan), ValueError, "y: got an intensity"),
        (lambda: solvers.spectral_init(op, y.astype("f8")), TypeError, "y: got float64"),
        (lambda: solvers.spectral_init(op, y[1:]), ValueError, "y: got shape"),
        (lambda: solvers.spectral_init(op, y, truncation=0), ValueError, "truncation: got 0"),
        (lambda: solvers.spectral_init(op, y, seed=-1), ValueError, "seed: got -1"),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize(
    "op", [np.eye(3), homfast.measure.Intensity(homfast.measure.Dense(np.eye(3)))]
)
def test_what_is_no_linear_operator_is_named(op):
    with pytest.raises(TypeError, match=r"^op: got .*Dense"):
        solvers.fista(op, np.ones(3), regularization=0.1)
    with pytest.raises(TypeError, match=r"^op: got .*Dense"):
        solvers.spectral_init(op, np.ones(3))
