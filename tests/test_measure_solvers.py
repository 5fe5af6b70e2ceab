"""FISTA and the spectral start: what they find, by row, and what they refuse."""

import numpy as np
import pytest
from operators import complex_of, draw, tolerance, widened

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
