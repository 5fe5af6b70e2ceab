"""What users can get wrong with homfast.jax: the right result, or an error that names it."""

import numpy as np
import pytest
from processes import output

import homfast

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

import homfast.jax as hj  # noqa: E402

X = np.ones((5, 6), np.float32)
W = np.ones((3, 6), np.float32)


def double(array):
    return array.astype(np.float64)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: hj.linear(X.tolist(), W), TypeError, "x: got list.*jax.numpy.asarray"),
        (lambda: hj.linear(X.astype(int), W), TypeError, "x: got dtype int64, wanted float32"),
        (lambda: hj.linear(X.astype(np.float16), W), TypeError, "x: got dtype float16"),
        (lambda: hj.linear(X.astype(complex), W), TypeError, "x: got dtype complex128"),
        (lambda: hj.linear(np.ma.array(X), W), TypeError, "x: got a masked array"),
        (lambda: hj.linear(X.astype(object), W), TypeError, "x: got dtype object"),
        (lambda: hj.linear(jax.random.key(0), W), TypeError, "x: got dtype key"),
        (lambda: hj.linear(X, double(W)), TypeError, "weight: got float64 while.*64-bit mode"),
        (lambda: hj.linear(double(X), double(W)), TypeError, "x: got float64 while JAX's 64-bit"),
        (lambda: hj.linear(X, W.astype(jnp.bfloat16)), TypeError, "weight: got bfloat16 beside x"),
        (lambda: hj.linear(X, W[0]), ValueError, r"weight: got shape \(6,\)"),
        (
            lambda: hj.linear(X, W.T),
            ValueError,
            r"x: got shape \(5, 6\), wanted \(..., 3\).*weight",
        ),
        (lambda: hj.linear(X[:, :3], W.T.T), ValueError, "is weight transposed"),
        (lambda: hj.linear(X[0, 0], W), TypeError, "x: got numpy.float32"),
        (lambda: hj.linear(jnp.float32(1), W), ValueError, r"x: got shape \(\)"),
        (lambda: hj.linear(X, W, precision="best"), ValueError, "precision: got 'best'"),
        (
            lambda: hj.linear(X.astype(jnp.bfloat16), W.astype(jnp.bfloat16), precision="high"),
            ValueError,
            "precision: got 'high' for bfloat16",
        ),
        (lambda: hj.relu_network(X, []), ValueError, "weights: got an empty list"),
        (lambda: hj.relu_network(X, W), TypeError, "weights: got numpy.ndarray, wanted a list"),
        (lambda: hj.relu_network(X, [W, W]), ValueError, r"weights\[1\]: got shape \(3, 6\)"),
        (lambda: hj.relu_network(X, [W, "w"]), TypeError, r"weights\[1\]: got str"),
        (lambda: hj.linear_relu(X, W, float("nan")), ValueError, "negative_slope: got nan"),
        (lambda: hj.linear_relu(X, W, "0"), TypeError, "negative_slope: got str"),
        (
            lambda: jax.jit(hj.linear_relu)(X, W, 0.5),
            TypeError,
            "negative_slope: got .*Tracer, wanted a number",
        ),
        (lambda: hj.Operator(W), TypeError, "op: got numpy.ndarray, wanted a linear operator"),
    ],
)
def test_errors_name_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_layouts_of_numpy(rng):
    x, w = rng.standard_normal((20, 12)).astype("f4"), rng.standard_normal((6, 12)).astype("f4")
    frozen = x.copy()
    frozen.flags.writeable = False
    for rows, weight in (
        (x[::2], w),
        (x[:, ::-1], w[:, ::2].repeat(2, 1)),
        (np.asfortranarray(x), np.asfortranarray(w)),
        (np.broadcast_to(x[0], (20, 12)), w),
        (frozen, w),
    ):
        wanted = homfast.ReLUNetwork([weight])(rows)
        assert np.array_equal(hj.linear(rows, weight), wanted)


def test_another_platform_is_refused():
    program = jax.jit(lambda x: hj.linear(x, W))
    with pytest.raises(TypeError, match=r"on the CPU only.*jax\.device_put"):
        jax.export.export(program, platforms=["cuda"])(X)


@pytest.mark.parametrize("call", [homfast.linear, homfast.linear_relu])
def test_functions_for_arrays_refuse_what_is_being_traced(call):
    with pytest.raises(TypeError, match=r"x: got .*traced.*homfast\.jax"):
        jax.jit(lambda x: call(x, W))(X)
    with pytest.raises(TypeError, match=r"x: got .*traced.*homfast\.jax"):
        jax.grad(lambda x: homfast.measure.Dense(W)(x).sum())(X)


def test_functions_for_arrays_take_jax_arrays():
    wanted = homfast.linear(X, W)
    y = homfast.linear(jnp.asarray(X), jnp.asarray(W))
    assert isinstance(y, jax.Array) and np.array_equal(y, wanted)
    half = homfast.linear(jnp.asarray(X, jnp.bfloat16), jnp.asarray(W, jnp.bfloat16))
    assert isinstance(half, jax.Array) and half.dtype == jnp.bfloat16
    assert np.array_equal(half.astype(np.float32), wanted)
    with pytest.raises(TypeError, match=r"x: got .*float16"):
        homfast.linear(jnp.asarray(X, jnp.float16), W)
    gone = jnp.asarray(X) + 0
    gone.delete()
    with pytest.raises((TypeError, RuntimeError), match="deleted"):
        homfast.linear(gone, W)


def test_import_leaves_jax_alone():
    assert output("import sys, homfast; print('jax' in sys.modules)").strip() == "False"


def test_without_jax_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "import homfast\n"
        "for call in (lambda: homfast.jax, lambda: homfast.measure.Gaussian(2, 3).to_jax()):\n"
        "    try:\n        call()\n    except ImportError as error:\n        print(error)\n"
    )
    said = output(code)
    assert "pip install 'homfast[jax]'" in said and "to_jax needs the package jax" in said
