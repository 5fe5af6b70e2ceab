"""Measurement operators as JAX functions."""

import pickle

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

import homfast.jax as hj  # noqa: E402
from homfast import measure  # noqa: E402

FAMILIES = {
    "gaussian": lambda: measure.Gaussian(5, 8, seed=1),
    "hadamard": lambda: measure.Hadamard(5, 8, seed=1),
    "sparse": lambda: measure.SparseSign(5, 8, seed=1, nonzeros_per_column=2),
    "fourier": lambda: measure.Fourier(5, 8, seed=1),
    "real_input": lambda: measure.Fourier(5, 8, seed=1, real_input=True),
    "sum": lambda: 2 * measure.Cosine(5, 8, seed=1) + measure.Gaussian(5, 8, seed=2),
    "adjoint": lambda: measure.Fourier(5, 8, seed=1, real_input=True).H,
}


@pytest.fixture(params=FAMILIES)
def op(request):
    return FAMILIES[request.param]()


def draw(rng, shape, dtype):
    values = rng.standard_normal(shape)
    return (values + 1j * rng.standard_normal(shape) if dtype.kind == "c" else values).astype(dtype)


def test_products_are_those_of_the_operator(op, rng):
    A, (m, n) = op.to_jax(), op.shape
    x, y = draw(rng, (3, n), op.input_dtype), draw(rng, (3, m), op.output_dtype)
    for call in (A, jax.jit(A), jax.vmap(A), jax.jit(jax.vmap(A))):
        ours = call(x)
        assert ours.dtype == op.output_dtype and np.array_equal(ours, op(x))
    assert np.array_equal(jax.vmap(A, 1)(x.T), op(x))
    for call in (A.adjoint, jax.jit(A.adjoint)):
        assert np.array_equal(call(y), op.adjoint(y))
    assert np.array_equal(A(x[:0]), op(x[:0]))
    assert A.operator is op and A.shape == (m, n) and repr(op) in repr(A)
    assert pickle.loads(pickle.dumps(A)).operator == op


def test_derivatives_are_those_of_the_matrix(op, rng):
    """In JAX's convention for complex numbers too, which it has from its own operations."""
    A, (m, n) = op.to_jax(), op.shape
    x = draw(rng, (3, n), op.input_dtype)
    units = np.eye(n, dtype=op.input_dtype)
    columns = np.asarray(op(units))  # row j is A e_j
    if np.iscomplexobj(x) and not np.iscomplexobj(columns):
        imaginary = np.asarray(op(1j * units).real)

        def plain(x):
            return x.real @ columns + x.imag @ imaginary
    else:

        def plain(x):
            return jnp.matmul(x, columns, precision="highest")

    def loss(f):
        return lambda x: jnp.sum(jnp.abs(f(x)) ** 2)

    grad = jax.jit(jax.grad(loss(A)))(x)
    np.testing.assert_allclose(grad, jax.grad(loss(plain))(x), rtol=1e-4, atol=1e-4)
    g = draw(rng, (3, m), op.output_dtype)
    ours, wanted = (jax.vjp(f, x)[1](g)[0] for f in (A, plain))
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-5)
    v = draw(rng, (3, n), op.input_dtype)
    assert np.array_equal(jax.jvp(A, (x,), (v,))[1], op(v))
    if op.input_dtype.kind == "f":
        hessian = jax.hessian(loss(A))(x[0])
        np.testing.assert_allclose(hessian, jax.hessian(loss(plain))(x[0]), atol=1e-4)
    if {op.input_dtype.kind, op.output_dtype.kind} == {"f"}:
        back = jax.grad(lambda y: jnp.sum(A.adjoint(y) ** 2))(g)
        np.testing.assert_allclose(back, 2 * op(op.adjoint(g)), rtol=1e-4, atol=1e-4)


def test_a_batch_of_operators(rng):
    op = measure.Gaussian(5, 8, seed=np.arange(3))
    A = hj.Operator(op)
    x = draw(rng, (3, 4, 8), op.input_dtype)
    assert np.array_equal(A(x), op(x))
    assert np.array_equal(jax.vmap(A, in_axes=1, out_axes=1)(x), op(x))
    grad = jax.grad(lambda x: jnp.sum(A(x) ** 2))(x)
    np.testing.assert_allclose(grad, 2 * op.gram(x), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="x: got leading axes"):
        A(x[:2])


def test_real_input_of_complex_operators(rng):
    op = measure.Fourier(5, 8, seed=1)
    x = draw(rng, (8,), np.dtype(np.float32))
    assert np.array_equal(op.to_jax()(x), op(x))
    grad = jax.grad(lambda x: jnp.sum(jnp.abs(op.to_jax()(x)) ** 2))(x)
    assert grad.dtype == np.float32


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: np.ones(7, np.float32), ValueError, r"x: got shape \(7,\), wanted \(..., 8\)"),
        (lambda: np.ones(8, np.int32), TypeError, "x: got dtype int32, wanted float32"),
        (lambda: np.ones(8, np.complex64), TypeError, "x: got dtype complex64"),
        (lambda: np.ones(8), TypeError, "x: got dtype float64"),
        (lambda: [1.0] * 8, TypeError, "x: got list"),
    ],
)
def test_bad_input(make, error, words):
    with pytest.raises(error, match=words):
        measure.Gaussian(5, 8).to_jax()(make())


def test_double_precision_needs_the_mode(rng):
    op = measure.Gaussian(5, 8, dtype=np.float64)
    x = rng.standard_normal(8)
    with pytest.raises(TypeError, match="64-bit mode is off"):
        op.to_jax()(x)
    with jax.enable_x64(True):
        assert np.array_equal(op.to_jax()(x), op(x))


def test_without_jit_the_bits_are_the_same(op, rng):
    A, x = op.to_jax(), draw(rng, (3, op.shape[1]), op.input_dtype)
    with jax.disable_jit():
        assert np.array_equal(A(x), op(x))
        assert np.array_equal(A.adjoint(op(x)), op.adjoint(op(x)))
        assert np.array_equal(jax.vmap(A)(x), op(x))


def test_export_with_a_symbolic_batch_is_refused():
    rows = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 8"), np.float32)
    with pytest.raises(NotImplementedError, match=r"symbolic shape.*measurement operators"):
        jax.export.export(jax.jit(measure.Gaussian(5, 8).to_jax()))(rows)
