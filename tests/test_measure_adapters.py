"""Operators in SciPy, PyLops and deepinv."""

import pickle
import sys

import numpy as np
import pytest
from operators import ALL, draw, real_of, tolerance, widened

from homfast.measure import (
    Cosine,
    Dense,
    Fourier,
    Gaussian,
    Hadamard,
    Rademacher,
    SparseSign,
    solvers,
)

M, N = 30, 50


@pytest.fixture(params=["gaussian", "dense"])
def op(dtype, request):
    gaussian = Gaussian(M, N, seed=2, dtype=dtype)
    return gaussian if request.param == "gaussian" else Dense(gaussian.to_dense())


@pytest.fixture
def linalg():
    return pytest.importorskip("scipy.sparse.linalg")


def close(dtype):
    return {"rtol": 2e-4, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}


# SciPy ------------------------------------------------------------------------------------------


def test_scipy_products(op, linalg):
    adapter, matrix = op.to_scipy(), op.to_dense()
    assert isinstance(adapter, linalg.LinearOperator)
    assert linalg.aslinearoperator(adapter) is adapter
    assert adapter.shape == op.shape and adapter.dtype == op.dtype and adapter.operator is op
    x, y = np.arange(N), np.linspace(-1, 1, M)  # integers, float64: both are cast
    X, Y = np.stack([x, x + 1, -x], axis=1), np.stack([y, 2 * y], axis=1)
    for result, wanted in (
        (adapter @ x, matrix @ x),
        (adapter.matvec(x), matrix @ x),
        (adapter.rmatvec(y), matrix.T @ y),
        (adapter @ X, matrix @ X),
        (adapter.matmat(X), matrix @ X),
        (adapter.rmatmat(Y), matrix.T @ Y),
        (adapter.H @ Y, matrix.T @ Y),
        (adapter.T @ y, matrix.T @ y),
        ((2 * adapter).H @ y, 2 * matrix.T @ y),
    ):
        np.testing.assert_allclose(result, wanted, **close(op.dtype))
    assert (adapter @ X).dtype == op.dtype
    with pytest.raises(TypeError, match="complex"):
        adapter @ (1j * x)


def test_scipy_vectors_of_either_version(op, linalg):
    """What SciPy hands to a subclass: (n, 1) before 1.18, from then on batches of rows too."""
    adapter, matrix = op.to_scipy(), op.to_dense()
    X = np.random.default_rng(0).standard_normal((4, 3, N))
    np.testing.assert_allclose(adapter._matvec(X), X @ matrix.T, **close(op.dtype))
    np.testing.assert_allclose(adapter._rmatvec(X @ matrix.T), X @ matrix.T @ matrix, rtol=1e-3)
    columns = np.swapaxes(X, -1, -2)
    np.testing.assert_allclose(adapter._matmat(columns), matrix @ columns, **close(op.dtype))
    Y = matrix @ columns
    np.testing.assert_allclose(adapter._rmatmat(Y), matrix.T @ Y, rtol=1e-3)
    assert adapter._matvec(X[0, 0][:, None]).shape == (M, 1)
    assert adapter._rmatvec(Y[0, :, :1]).shape == (N, 1)


def test_scipy_columns_are_one_product(linalg, monkeypatch):
    op = Gaussian(M, N)
    adapter, calls = op.to_scipy(), []
    forward = op._forward_rows
    monkeypatch.setattr(op, "_forward_rows", lambda r, o: (calls.append(len(r)), forward(r, o)))
    adapter @ np.ones((N, 7))
    assert calls == [7]


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")  # SciPy's lsmr
def test_scipy_solvers(op, linalg):
    adapter, matrix = op.to_scipy(), op.to_dense().astype(np.float64)
    b = np.ones(M)
    x = linalg.lsmr(adapter, b, atol=1e-6, btol=1e-6)[0]
    np.testing.assert_allclose(matrix @ x, b, atol=1e-3)
    x = linalg.lsqr(adapter, b, atol=1e-6, btol=1e-6)[0]
    np.testing.assert_allclose(matrix @ x, b, atol=1e-3)
    for solver in ("arpack", "propack"):
        v0 = np.random.default_rng(0).standard_normal(M)
        values = linalg.svds(adapter, 3, solver=solver, v0=v0)[1]
        exact = np.linalg.svd(matrix, compute_uv=False)[:3]
        np.testing.assert_allclose(np.sort(values)[::-1], exact, rtol=1e-3, err_msg=solver)


def test_scipy_adapter_pickles(op, linalg):
    assert pickle.loads(pickle.dumps(op.to_scipy())).operator == op
    assert len(pickle.dumps(Gaussian(1000, 1000).to_scipy())) < 300


@pytest.fixture(params=ALL)
def any_op(dtype, request):
    return ALL[request.param](dtype)


def test_scipy_takes_every_operator(any_op, linalg, rng):
    op = any_op
    adapter, matrix = op.to_scipy(), op.to_dense()
    X, Y = draw(rng, (op.shape[1], 3), op.input_dtype), draw(rng, (op.shape[0], 3), op.output_dtype)
    forward, adjoint = matrix @ X, matrix.conj().T @ Y
    forward = forward if op.output_dtype.kind == "c" else forward.real
    adjoint = adjoint if op.input_dtype.kind == "c" else adjoint.real
    close = tolerance(op.dtype)
    np.testing.assert_allclose(adapter @ X, forward, **close)
    np.testing.assert_allclose(adapter @ X[:, 0], forward[:, 0], **close)
    np.testing.assert_allclose(adapter.rmatvec(Y[:, 0]), adjoint[:, 0], **close)
    np.testing.assert_allclose(adapter.H @ Y, adjoint, **close)
    if op.output_dtype.kind == "c":  # of another precision: cast
        other = np.complex128 if Y.dtype == np.complex64 else np.complex64
        np.testing.assert_allclose(adapter.H @ Y.astype(other), adjoint, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")  # SciPy's lsmr
@pytest.mark.parametrize("name", [n for n in ALL if "real" not in n and "generic" not in n])
def test_scipy_solves_with_every_operator(name, dtype, linalg, rng):
    op = ALL[name](dtype)
    single = dtype == np.float32
    adapter, matrix = op.to_scipy(), op.to_dense()
    b = matrix @ draw(rng, op.shape[1], op.dtype)
    if op.dtype.kind == "f":  # SciPy's lsmr is real
        accuracy = 1e-6 if single else 1e-10
        x = linalg.lsmr(adapter, b, atol=accuracy, btol=accuracy, maxiter=1000)[0]
        np.testing.assert_allclose(matrix @ x, b, atol=2e-3 if single else 1e-6)
    v0 = draw(rng, min(op.shape), op.dtype)
    values = linalg.svds(adapter, 3, v0=v0)[1]
    exact = np.linalg.svd(widened(matrix), compute_uv=False)[:3]
    np.testing.assert_allclose(np.sort(values)[::-1], exact, rtol=1e-3 if single else 1e-6)


# PyLops -----------------------------------------------------------------------------------------


def test_pylops_tests_every_operator(any_op, rng):
    pylops = pytest.importorskip("pylops", reason="pylops is not installed")
    op = any_op
    adapter = op.to_pylops()
    flag = 2 * (op.output_dtype.kind == "c") + (op.input_dtype.kind == "c")
    rtol = 1e-5 if real_of(op.dtype) == np.float32 else 1e-12
    state = np.random.get_state()
    np.random.seed(3)  # dottest draws from the global generator
    try:
        assert pylops.utils.dottest(adapter, rtol=10 * rtol, atol=10 * rtol, complexflag=flag)
    finally:
        np.random.set_state(state)
    assert adapter.clinear is (op.input_dtype == op.output_dtype)
    X = draw(rng, (op.shape[1], 3), op.input_dtype)
    np.testing.assert_allclose(adapter @ X, op.matmat(X), **tolerance(op.dtype))


def test_pylops():
    pylops = pytest.importorskip("pylops", reason="pylops is not installed")
    gaussian = Gaussian(M, N)
    for op in (gaussian, Gaussian(M, N, dtype=np.float64), Dense(gaussian.to_dense())):
        dtype, adapter, matrix = op.dtype, op.to_pylops(), op.to_dense()
        assert isinstance(adapter, pylops.LinearOperator) and adapter.operator is op
        assert pylops.utils.dottest(adapter, rtol=1e-3 if dtype == np.float32 else 1e-6)
        x, y = np.arange(N), np.linspace(-1, 1, M)
        X = np.stack([x, x + 1], axis=1)
        np.testing.assert_allclose(adapter @ x, matrix @ x, **close(dtype))
        np.testing.assert_allclose(adapter @ X, matrix @ X, **close(dtype))
        np.testing.assert_allclose(adapter.H @ y, matrix.T @ y, **close(dtype))
        np.testing.assert_allclose((2 * adapter.T) @ y, 2 * matrix.T @ y, **close(dtype))
        with pytest.raises(TypeError, match="complex"):
            adapter @ (1j * x)
        assert pickle.loads(pickle.dumps(adapter)).operator == op


@pytest.mark.parametrize("rows", [5, 8])
def test_pylops_solves_for_real_signals_from_complex_measurements(rows, rng):
    """PyLops makes complex vectors of the operator's dtype, of which its own take the real part."""
    pylops = pytest.importorskip("pylops", reason="pylops is not installed")
    op = Fourier(rows, 8, seed=1, dtype=np.complex128, real_input=True)
    matrix, x, y = op(np.eye(8)).T, draw(rng, 8, op.dtype), draw(rng, rows, op.dtype)
    for adapter in (op.to_pylops(), op.H.to_pylops().H):
        np.testing.assert_allclose(adapter @ x, matrix @ x.real, rtol=1e-12)
        np.testing.assert_allclose(adapter @ x[:, None], (matrix @ x.real)[:, None], rtol=1e-12)
        np.testing.assert_allclose(adapter.H @ y, (matrix.conj().T @ y).real, rtol=1e-12)
    adapter = op.to_pylops()
    np.testing.assert_allclose(adapter.todense(), matrix, rtol=1e-12)
    np.testing.assert_allclose(op.H.to_pylops().todense(), matrix.conj().T, rtol=1e-12)
    stack = pylops.VStack([adapter, adapter])
    np.testing.assert_allclose(stack.todense(), np.tile(matrix, (2, 1)), rtol=1e-12)
    parts = np.concatenate([matrix.real, matrix.imag])
    wanted = np.linalg.lstsq(parts, parts @ x.real, rcond=None)[0]
    for solver in (pylops.cgls, pylops.lsqr):
        found = solver(adapter, matrix @ x.real, x0=np.zeros(8, complex), niter=50)[0]
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-8)
    sparse = pylops.optimization.sparsity.fista(adapter, matrix @ x.real, niter=500, eps=1e-9)[0]
    np.testing.assert_allclose(adapter @ sparse, matrix @ x.real, rtol=1e-3, atol=1e-5)


# deepinv ----------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


class RecordedPhysics:
    """Takes what `deepinv.physics.LinearPhysics` takes, and calls as it does."""

    def __init__(self, A, A_adjoint, img_size):
        self.A, self.A_adjoint, self.img_size = A, A_adjoint, img_size


def test_deepinv_maps_images(torch, monkeypatch):
    """Through a stand-in for deepinv, whose dependencies are many."""
    stand_in = type(sys)("deepinv")
    stand_in.physics = type(sys)("deepinv.physics")
    stand_in.physics.LinearPhysics = RecordedPhysics
    monkeypatch.setitem(sys.modules, "deepinv", stand_in)
    op = Gaussian(M, N)
    physics = op.to_deepinv((1, 5, 10))
    x = torch.arange(3.0 * N).reshape(3, 1, 5, 10).requires_grad_()
    y = physics.A(x, unknown=None)
    assert y.shape == (3, M) and physics.img_size == (1, 5, 10)
    torch.testing.assert_close(y, op.to_torch()(x.reshape(3, N)))
    back = physics.A_adjoint(y, unknown=None)
    assert back.shape == x.shape
    (grad,) = torch.autograd.grad(y, x, y.detach())
    torch.testing.assert_close(grad, back)
    with pytest.raises(ValueError, match=r"img_size: got \(1, 5, 11\), 55 elements, wanted 50"):
        op.to_deepinv((1, 5, 11))


@pytest.fixture
def deepinv(torch):
    return pytest.importorskip("deepinv", reason="deepinv is not installed")


@pytest.mark.parametrize("name", [n for n in ALL if "generic" not in n])
def test_deepinv_tests_every_operator(name, dtype, torch, deepinv):
    """Its own test of adjoints, which compares complex inner products: not on real signals."""
    op = ALL[name](dtype)
    torch.manual_seed(3)
    physics = op.to_deepinv((1, 1, op.shape[1]))
    assert isinstance(physics, deepinv.physics.LinearPhysics)
    kind = getattr(torch, op.input_dtype.name)
    x = torch.randn(8, 1, 1, op.shape[1], dtype=kind)
    torch.testing.assert_close(physics(x), op.to_torch()(x[:, 0, 0]))
    if op.input_dtype == op.output_dtype:
        error = physics.adjointness_test(x, num_samples=8)
        assert error <= (1e-5 if real_of(op.dtype) == np.float32 else 1e-12)


@pytest.mark.parametrize("make", [Gaussian, Rademacher, Hadamard, Cosine, SparseSign])
def test_deepinv_reconstructs(make, torch, deepinv):
    """Sparse images by its proximal gradient descent: those that `solvers.fista` finds."""
    op = make(40, 64, seed=1, dtype=np.float64)
    physics = op.to_deepinv((1, 8, 8))
    torch.manual_seed(0)
    image = torch.zeros(2, 64, dtype=torch.float64)
    image[0, [3, 17, 40]], image[1, [9, 60]] = torch.tensor([[1.0, -2, 3]]).double(), 1.5
    y = physics(image.reshape(2, 1, 8, 8))
    model = deepinv.optim.optim_builder(
        iteration="FISTA",
        prior=deepinv.optim.L1Prior(),
        data_fidelity=deepinv.optim.L2(),
        params_algo={"stepsize": 0.99 / op.norm() ** 2, "lambda": 1e-2, "a": 3},
        max_iter=2000,
        custom_init=lambda y, physics: {"est": (torch.zeros_like(physics.A_adjoint(y)),) * 2},
    )
    found = model(y, physics).detach().reshape(2, 64)
    ours = solvers.fista(op, y, regularization=1e-2, iterations=2000)
    torch.testing.assert_close(found, ours, rtol=0, atol=1e-4)
    assert (found - image).abs().max() < 0.1
    least = physics.A_dagger(y).reshape(2, 64)  # by conjugate gradients
    torch.testing.assert_close(op.to_torch()(least), y, rtol=0, atol=1e-2)


# Absent packages --------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["scipy", "pylops", "torch", "deepinv"])
def test_absent_packages_are_named(package, monkeypatch):
    from homfast.measure import adapters

    for factory in (adapters._scipy_class, adapters._pylops_class):
        monkeypatch.setattr(adapters, factory.__name__, factory.__wrapped__)
    module = "scipy.sparse.linalg" if package == "scipy" else package
    monkeypatch.setitem(sys.modules, module, None)
    op = Gaussian(M, N)
    arguments = [(N,)] if package == "deepinv" else []
    with pytest.raises(ImportError, match=f"to_{package} needs the package {package}"):
        getattr(op, f"to_{package}")(*arguments)
