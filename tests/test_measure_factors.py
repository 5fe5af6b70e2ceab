"""Measurements of matrices in factored form: values, gradients, what is refused."""

import numpy as np
import pytest
from operators import draw, tolerance, widened

from homfast import _backends
from homfast.measure import Entries, RankOne

PLACES = np.random.default_rng(8).integers(0, 48, 30)
MAKERS = {
    "rank one": lambda dtype: RankOne(11, (6, 8), seed=3, dtype=dtype),
    "rank one.rows": lambda dtype: RankOne(20, (6, 8), seed=3, dtype=dtype).rows(4, 15),
    "not scaled": lambda dtype: RankOne(11, (6, 8), seed=3, dtype=dtype, normalize=False),
    "symmetric": lambda dtype: RankOne(11, (7, 7), seed=3, symmetric=True, dtype=dtype),
    "entries": lambda dtype: Entries(PLACES, (6, 8), dtype=dtype),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 4), (0,)])
@pytest.mark.parametrize("r", [0, 1, 4])
def test_factors_are_measured_as_their_product(make, dtype, rng, batch, r):
    op = make(dtype)
    d1, d2 = op.matrix_shape
    U, V = draw(rng, (*batch, d1, r), dtype), draw(rng, (*batch, d2, r), dtype)
    y = op.forward_factors(U, V)
    assert y.shape == (*batch, op.shape[0]) and y.dtype == dtype
    X = widened(U) @ np.swapaxes(widened(V), -1, -2)
    wanted = X.reshape(*batch, d1 * d2) @ widened(op.to_dense()).T
    np.testing.assert_allclose(y, wanted, **tolerance(dtype) | {"atol": 2e-4})


def test_factor_form_is_within_the_bound_of_the_product(make, dtype, rng):
    """gamma of d1 + d2 + r + 4 roundings, of the sums of magnitudes."""
    op = make(dtype)
    (d1, d2), r = op.matrix_shape, 3
    U, V = draw(rng, (d1, r), dtype), draw(rng, (d2, r), dtype)
    sizes = (np.abs(widened(U)) @ np.abs(widened(V)).T).ravel()
    exact = widened(op.to_dense()) @ (widened(U) @ widened(V).T).ravel()
    roundings = d1 + d2 + r + 4
    bound = roundings * np.finfo(dtype).eps * (np.abs(widened(op.to_dense())) @ sizes)
    assert (np.abs(op.forward_factors(U, V) - exact) <= bound + 1e-300).all()


def test_a_sample_alone_has_the_bits_it_has_in_a_batch(bit_engine, make, dtype, rng, monkeypatch):
    monkeypatch.setattr(_backends, "_automatic", bit_engine.module)
    op = make(dtype)
    d1, d2 = op.matrix_shape
    U, V = draw(rng, (20, d1, 2), dtype), draw(rng, (20, d2, 2), dtype)
    y = op.forward_factors(U, V)
    gradients = op.vjp_factors(U, V, y)
    for i in (0, 7, 19):
        np.testing.assert_array_equal(op.forward_factors(U[i], V[i]), y[i])
        for alone, of in zip(op.vjp_factors(U[i], V[i], y[i]), gradients, strict=True):
            np.testing.assert_array_equal(alone, of[i])


def test_gradients_by_finite_differences(make, rng):
    op = make(np.dtype(np.float64))
    d1, d2 = op.matrix_shape
    U, V, dU, dV = (draw(rng, (2, d, 3), np.float64) for d in (d1, d2, d1, d2))
    g = draw(rng, (2, op.shape[0]), np.float64)
    grad_u, grad_v = op.vjp_factors(U, V, g)
    h = 1e-6
    change = op.forward_factors(U + h * dU, V + h * dV) - op.forward_factors(U - h * dU, V - h * dV)
    exact = np.vdot(grad_u, dU) + np.vdot(grad_v, dV)
    np.testing.assert_allclose(exact, np.vdot(g, change) / (2 * h), rtol=1e-6)


def test_gradients_are_those_of_the_x_form(make, dtype, rng):
    op = make(dtype)
    d1, d2 = op.matrix_shape
    U, V, g = (draw(rng, (4, *s), dtype) for s in ((d1, 2), (d2, 2), (op.shape[0],)))
    G = widened(op.adjoint(g)).reshape(4, d1, d2)
    grad_u, grad_v = op.vjp_factors(U, V, g)
    assert grad_u.dtype == grad_v.dtype == dtype
    close = tolerance(dtype) | {"atol": 5e-4 if dtype == np.float32 else 1e-11}
    np.testing.assert_allclose(grad_u, G @ widened(V), **close)
    np.testing.assert_allclose(grad_v, np.swapaxes(G, 1, 2) @ widened(U), **close)


def test_complex_entries(rng):
    op = Entries(PLACES, (6, 8), dtype=np.complex128)
    U, V, dU, dV = (draw(rng, (d, 2), np.complex128) for d in (6, 8, 6, 8))
    g, h = draw(rng, 30, np.complex128), 1e-6
    grad_u, grad_v = op.vjp_factors(U, V, g)
    change = op.forward_factors(U + h * dU, V + h * dV) - op.forward_factors(U - h * dU, V - h * dV)
    exact = (np.vdot(grad_u, dU) + np.vdot(grad_v, dV)).real
    np.testing.assert_allclose(exact, np.vdot(g, change).real / (2 * h), rtol=1e-6)


def test_torch_in_torch_out():
    torch = pytest.importorskip("torch")
    op = RankOne(11, (6, 8))
    U, V = torch.ones(6, 1), torch.ones(8, 1)
    y = op.forward_factors(U, V)
    assert isinstance(y, torch.Tensor)
    assert [tuple(grad.shape) for grad in op.vjp_factors(U, V, y)] == [(6, 1), (8, 1)]


def test_refuses():
    op = RankOne(11, (6, 8))
    U, V, g = np.ones((6, 2), "f4"), np.ones((8, 2), "f4"), np.ones(11, "f4")
    for call, error, message in (
        (lambda: op.forward_factors(V, V), ValueError, r"U: got shape \(8, 2\), wanted \(..., 6"),
        (lambda: op.forward_factors(U, U), ValueError, r"V: got shape \(6, 2\), wanted \(..., 8"),
        (lambda: op.forward_factors(U, V[:, :1]), ValueError, "the rank of U"),
        (lambda: op.forward_factors(U, V[None]), ValueError, "the leading axes"),
        (lambda: op.forward_factors(U[:, 0], V), ValueError, "U: got shape"),
        (lambda: op.forward_factors(U.astype("f8"), V), TypeError, "U: got float64"),
        (lambda: op.forward_factors(U, V.astype("c8")), TypeError, "V: got complex64"),
        (lambda: op.vjp_factors(U, V, g[1:]), ValueError, r"g: got shape \(10,\), wanted \(11,\)"),
        (lambda: op.vjp_factors(U, V, g.astype("f8")), TypeError, "g: got float64"),
    ):
        with pytest.raises(error, match=message):
            call()
