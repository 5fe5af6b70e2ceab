"""Layers and networks in JAX: homfast's bits, JAX's derivatives, under every transformation."""

import itertools
import sys
import threading

import numpy as np
import pytest
from processes import output

import homfast

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

import homfast.jax as hj  # noqa: E402
from homfast._backends import native  # noqa: E402
from homfast.jax import lowering  # noqa: E402

WIDTHS = (6, 40, 33, 3)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["ffi", "pure_callback"])
def way(request, monkeypatch):
    """Both ways in which XLA reaches the kernels."""
    if request.param == "pure_callback":
        monkeypatch.setattr(lowering, "_targets", dict)
    elif hj.transport() != "ffi":
        pytest.skip(hj.transport())
    jax.clear_caches()
    yield request.param
    jax.clear_caches()


def weights_of(rng, dtype, widths=WIDTHS):
    return [rng.standard_normal((n, k)).astype(dtype) for k, n in itertools.pairwise(widths)]


def plain(x, weights, slope=0.0):
    for weight in weights[:-1]:
        x = jnp.matmul(x, weight.T, precision="highest")
        x = jnp.where(x > 0, x, slope * x)
    return jnp.matmul(x, weights[-1].T, precision="highest")


def same_bits(ours, wanted):
    ours, wanted = np.asarray(ours), np.asarray(wanted)
    assert ours.dtype == wanted.dtype and ours.shape == wanted.shape
    assert ours.tobytes() == np.ascontiguousarray(wanted).tobytes()


# The bits of homfast ----------------------------------------------------------------------------


def test_the_way_is_the_one_asked_for(way, rng):
    x, weights = rng.standard_normal((3, 6)), weights_of(rng, float)
    text = jax.jit(hj.relu_network).lower(x, weights).as_text()
    assert ("homfast_forward" in text) == (way == "ffi")
    assert ("python_cpu_callback" in text) == (way == "pure_callback")
    assert hj.transport().startswith(way)


@pytest.mark.parametrize("rows", [(), (3,), (2, 3, 5)])
def test_networks_are_those_of_homfast(way, dtype, rng, rows):
    slope = 0.25 if rows == (3,) else 0.0
    weights = weights_of(rng, dtype)
    x, g = (rng.standard_normal((*rows, n)).astype(dtype) for n in (WIDTHS[0], WIDTHS[-1]))
    net = homfast.ReLUNetwork(weights, negative_slope=slope)
    y, vjp = net.vjp(x)
    grad_input, grad_weights = vjp(g)
    for call in (hj.relu_network, jax.jit(hj.relu_network, static_argnums=2)):
        same_bits(call(x, weights, slope), y)
        ours, pull = jax.vjp(lambda *a, call=call: call(*a, slope), jnp.asarray(x), weights)
        same_bits(ours, y)
        ours_input, ours_weights = pull(jnp.asarray(g))
        same_bits(ours_input, grad_input)
        for own, wanted in zip(ours_weights, grad_weights, strict=True):
            same_bits(own, wanted)
    v = rng.standard_normal(x.shape).astype(dtype)
    ours, dy = jax.jvp(lambda x: hj.relu_network(x, weights, slope), (x,), (v,))
    same_bits(ours, y)
    same_bits(dy, net.jvp(x, v)[1])


@pytest.mark.parametrize("rows", [1, 20])
def test_layers_are_those_of_homfast(way, dtype, rng, rows):
    homfast.set_batch_invariant(True)
    x = rng.standard_normal((rows, 70)).astype(dtype)
    weight = rng.standard_normal((19, 70)).astype(dtype)
    g = rng.standard_normal((rows, 19)).astype(dtype)
    same_bits(hj.linear(x, weight), homfast.linear(x, weight))
    y, mask = homfast.linear_relu(x, weight, negative_slope=0.5, return_mask=True)
    ours, pull = jax.vjp(lambda x, w: hj.linear_relu(x, w, 0.5), jnp.asarray(x), weight)
    same_bits(ours, y)
    wanted = homfast.linear_relu_backward(g, x, weight, mask, negative_slope=0.5)
    for own, other in zip(pull(jnp.asarray(g)), wanted, strict=True):
        np.testing.assert_allclose(own, other, rtol=0, atol=1e3 * np.finfo(dtype).eps)
    v = rng.standard_normal(x.shape).astype(dtype)
    reference = np.where(y > 0, v @ weight.T, 0.5 * (v @ weight.T))
    _, dy = jax.jvp(lambda x: hj.linear_relu(x, weight, 0.5), (x,), (v,))
    np.testing.assert_allclose(dy, reference, rtol=0, atol=1e3 * np.finfo(dtype).eps)


def test_close_to_the_reference(way, dtype, rng):
    weights, x = weights_of(rng, dtype), rng.standard_normal((20, 6)).astype(dtype)
    reference = homfast.ReLUNetwork(weights, backend="reference")
    scale = np.abs(x) @ np.abs(weights[0]).T @ np.abs(weights[1]).T @ np.abs(weights[2]).T
    error = np.abs(np.asarray(hj.relu_network(x, weights)) - reference(x))
    assert np.all(error <= 200 * np.finfo(dtype).eps * scale)


def test_integers_are_exact(way, rng):
    weights = [rng.integers(-4, 5, w.shape).astype(np.float32) for w in weights_of(rng, "f4")]
    x = rng.integers(-4, 5, (20, 6)).astype(np.float32)
    exact = x.astype(int)
    for weight in weights[:-1]:
        exact = np.maximum(exact @ weight.T.astype(int), 0)
    assert np.array_equal(hj.relu_network(x, weights), exact @ weights[-1].T.astype(int))


def test_denormals_and_special_values_go_through(way, rng):
    """XLA's threads flush denormals; our kernels do not, whoever calls."""
    weights = weights_of(rng, np.float32)
    x = rng.standard_normal((20, 6)).astype(np.float32)
    x[3] *= 2.0**-130
    x[4, 0], x[5, 0], x[6] = np.nan, np.inf, 0.0
    net = homfast.ReLUNetwork(weights)
    y = np.asarray(jax.jit(hj.relu_network)(x, weights))
    wanted = net(x)
    assert np.array_equal(y, wanted, equal_nan=True) and np.any(y[3] != 0)
    finite = [i for i in range(20) if i not in (4, 5)]
    assert np.isfinite(y[finite]).all()
    scaled = jax.jit(hj.relu_network)(np.float32(2.0**20) * x[finite], weights)
    same_bits(scaled[7:], np.float32(2.0**20) * y[finite][7:])


def test_bfloat16(way, rng):
    weights = [w.astype(jnp.bfloat16) for w in weights_of(rng, np.float32)]
    x = rng.standard_normal((20, 6)).astype(jnp.bfloat16)
    net = homfast.ReLUNetwork(weights)
    y, vjp = net.vjp(x)
    ours, pull = jax.vjp(hj.relu_network, jnp.asarray(x), weights)
    same_bits(ours, y)
    grad_input, grad_weights = vjp(np.ones(y.shape, jnp.bfloat16))
    ours_input, ours_weights = pull(jnp.ones(y.shape, jnp.bfloat16))
    same_bits(ours_input, grad_input)
    for own, wanted in zip(ours_weights, grad_weights, strict=True):
        same_bits(own, wanted)


def test_bfloat16_is_rounded_between_calls_of_one_program(way, rng):
    weights = [w.astype(jnp.bfloat16) for w in weights_of(rng, np.float32, (6, 24, 6))]
    x = rng.standard_normal((20, 6)).astype(jnp.bfloat16)

    def twice(x):
        return hj.relu_network(hj.relu_network(x, weights), weights)

    net = homfast.ReLUNetwork(weights)
    same_bits(jax.jit(twice)(x), net(net(x)))


# Transformations --------------------------------------------------------------------------------


def test_derivatives_are_those_of_differences(rng):
    weights = [jnp.asarray(w) for w in weights_of(rng, float, (4, 9, 2))]
    x = jnp.asarray(rng.standard_normal((3, 4)))
    network = jax.jit(lambda x, w: hj.relu_network(x, w, 0.1))
    check_grads(network, (x, weights), order=2, atol=1e-4, rtol=1e-4)
    check_grads(jax.jit(hj.linear_relu), (x, weights[0]), order=2)


@pytest.mark.parametrize("argnums", [0, 1])
def test_derivatives_are_those_of_plain_jax(rng, argnums):
    weights = [jnp.asarray(w) for w in weights_of(rng, float, (4, 5, 7, 2))]
    x = jnp.asarray(rng.standard_normal((3, 4)))

    def loss(network):
        return lambda x, weights: jnp.sum(jnp.sin(network(x, weights)))

    for transform in (jax.hessian, jax.jacfwd, lambda f, n: jax.jacrev(jax.grad(f, n), n)):
        results = (
            jax.jit(transform(loss(f), argnums))(x, weights) for f in (hj.relu_network, plain)
        )
        for ours, wanted in zip(*map(jax.tree.leaves, results), strict=True):
            np.testing.assert_allclose(ours, wanted, rtol=1e-10, atol=1e-10)
    first, rest = jax.jit(jax.grad(loss(hj.relu_network), (0, 1)))(x, weights)
    np.testing.assert_allclose(first, jax.grad(loss(plain))(x, weights), rtol=1e-10)
    # Of one weight only: the others have no tangent.
    one = jax.grad(lambda w: loss(hj.relu_network)(x, [weights[0], w, weights[2]]))(weights[1])
    same_bits(one, rest[1])


def test_vmap_does_not_change_bits(way, dtype, rng):
    weights = weights_of(rng, dtype)
    x = rng.standard_normal((4, 7, 6)).astype(dtype)
    wanted = homfast.ReLUNetwork(weights)(x)

    def f(x):
        return hj.relu_network(x, weights)

    same_bits(jax.vmap(f)(x), wanted)
    same_bits(jax.vmap(jax.vmap(f))(x), wanted)
    same_bits(jax.vmap(f, in_axes=1, out_axes=1)(x), wanted)
    same_bits(jax.vmap(f, in_axes=2)(np.moveaxis(x, 0, 2)), wanted)
    same_bits(jax.jit(jax.vmap(jax.vmap(f, 1, 1)))(x.reshape(2, 2, 7, 6)).reshape(4, 7, 3), wanted)


def test_gradients_of_samples_are_those_of_single_calls(way, dtype, rng):
    weights = [jnp.asarray(w) for w in weights_of(rng, dtype)]
    x = jnp.asarray(rng.standard_normal((5, 3, 6)).astype(dtype))
    gradient = jax.jit(jax.grad(lambda x, w: jnp.sum(hj.relu_network(x, w) ** 2), argnums=(0, 1)))
    together = jax.jit(jax.vmap(gradient, (0, None)))(x, weights)
    nested = jax.jit(jax.vmap(jax.vmap(gradient, (0, None)), (0, None)))(x[:, :, None], weights)
    for sample in (0, 4):
        alone = gradient(x[sample], weights)
        for own, wanted in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            same_bits(own[sample], wanted)
        alone = gradient(x[sample, 1][None], weights)
        for own, wanted in zip(jax.tree.leaves(nested), jax.tree.leaves(alone), strict=True):
            same_bits(own[sample, 1], wanted)


def test_ensembles(rng):
    ensemble = [jnp.asarray(np.stack([w, 2 * w, -w])) for w in weights_of(rng, float)]
    x = jnp.asarray(rng.standard_normal((5, 6)))
    value = jax.jit(jax.value_and_grad(lambda w, x: jnp.sum(hj.relu_network(x, w) ** 2)))
    together = jax.vmap(value, (0, None))(ensemble, x)
    for member in range(3):
        alone = value([w[member] for w in ensemble], x)
        for own, wanted in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            same_bits(own[member], wanted)
    tangents = jax.vmap(
        lambda w, v: jax.jvp(lambda x: hj.relu_network(x, w), (x,), (v,))[1], (0, None)
    )(ensemble, x)
    for member in range(3):
        alone = jax.jvp(
            lambda x, m=member: hj.relu_network(x, [w[m] for w in ensemble]), (x,), (x,)
        )
        same_bits(tangents[member], alone[1])


def test_derivatives_of_gradients_of_samples(rng):
    """Entries kept apart, differentiated again, both ways."""
    weights = [jnp.asarray(w) for w in weights_of(rng, float, (4, 9, 2))]
    x = jnp.asarray(rng.standard_normal((3, 4)))

    def norms(network):
        gradient = jax.grad(lambda w, x: jnp.sum(jnp.sin(network(x, w))))
        return lambda w: jnp.sum(
            sum(jnp.sum(g**2, (1, 2)) for g in jax.vmap(gradient, (None, 0))(w, x)) ** 0.5
        )

    for transform in (jax.grad, jax.jacfwd):
        results = (jax.jit(transform(norms(f)))(weights) for f in (hj.relu_network, plain))
        for ours, wanted in zip(*map(jax.tree.leaves, results), strict=True):
            np.testing.assert_allclose(ours, wanted, rtol=1e-9, atol=1e-12)


def test_the_vjp_is_linear_and_has_a_transpose(rng):
    weights = [jnp.asarray(w) for w in weights_of(rng, float)]
    x, g = jnp.asarray(rng.standard_normal((5, 6))), jnp.asarray(rng.standard_normal((5, 3)))
    _, pull = jax.vjp(hj.relu_network, x, weights)
    _, plain_pull = jax.vjp(plain, x, weights)
    transposes = (jax.linear_transpose(p, g)(pull(g)) for p in (pull, plain_pull))
    for ours, wanted in zip(*transposes, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-10)
    _, push = jax.linearize(lambda x: hj.relu_network(x, weights), x)
    np.testing.assert_allclose(push(x), hj.relu_network(x, weights), rtol=1e-12)  # f(x) = J(x) x


def test_control_flow_and_checkpoints(rng):
    weights = [jnp.asarray(w) for w in weights_of(rng, float, (6, 20, 6))]
    x = jnp.asarray(rng.standard_normal((5, 6)))

    def loss(network):
        def step(carry, _):
            return jax.checkpoint(lambda x: 0.1 * network(x, weights))(carry), None

        return lambda x: jnp.sum(jax.lax.scan(step, x, None, length=3)[0] ** 2)

    np.testing.assert_allclose(
        jax.jit(jax.grad(loss(hj.relu_network)))(x), jax.grad(loss(plain))(x), rtol=1e-9
    )


def test_without_jit_the_bits_are_the_same(way, rng):
    x, weights = rng.standard_normal((3, 6)), weights_of(rng, float)

    def results():
        def loss(x, weights):
            hidden = hj.linear_relu(hj.linear(x, np.eye(6)), np.eye(6))
            return jnp.sum(hj.relu_network(hidden, weights) ** 2)

        yield hj.relu_network(x, weights)
        yield from jax.grad(loss, 1)(x, weights)
        yield jax.vmap(jax.grad(loss), (0, None))(x, weights)
        yield jax.jvp(lambda x: hj.relu_network(x, weights), (x,), (x,))[1]

    wanted = list(results())
    with jax.disable_jit():
        ours = list(results())
    for own, other in zip(ours, wanted, strict=True):
        same_bits(own, other)


def test_export_with_a_symbolic_batch(way, rng):
    weights = [jnp.asarray(w) for w in weights_of(rng, float)]
    x = rng.standard_normal((5, 6))
    rows = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 6"), x.dtype)
    trusted = [jax.export.DisabledSafetyCheck.custom_call("homfast_forward")]
    export = jax.export.export(jax.jit(hj.relu_network), disabled_checks=trusted)
    if way == "pure_callback":
        with pytest.raises(NotImplementedError, match=r"symbolic shape \(b, 6\).*transport"):
            export(rows, weights)
        return
    read = jax.export.deserialize(export(rows, weights).serialize())
    same_bits(read.call(x, weights), hj.relu_network(x, weights))


@pytest.mark.parametrize("shape", [(0, 6), (2, 0, 6)])
def test_empty_batches(way, dtype, rng, shape):
    weights = [jnp.asarray(w) for w in weights_of(rng, dtype)]
    x = jnp.zeros(shape, dtype)
    y, pull = jax.vjp(hj.relu_network, x, weights)
    assert y.shape == (*shape[:-1], 3)
    grad_input, grad_weights = pull(y)
    assert grad_input.shape == shape
    for grad, weight in zip(grad_weights, weights, strict=True):
        same_bits(grad, np.zeros(weight.shape, dtype))
    if shape[0]:
        assert jax.vmap(lambda x: hj.relu_network(x, weights))(x).shape == y.shape


EMPTY = {
    "hessian": lambda f: jax.hessian(lambda *z: (f(*z) ** 2).sum(), (0, 1)),
    "jacrev": lambda f: jax.jacrev(f, (0, 1, 2)),
    "gradients of samples": lambda f: jax.vmap(
        jax.grad(lambda *z: (f(*z) ** 2).sum(), (0, 1, 2)), (0, None, None)
    ),
}


@pytest.mark.parametrize("transform", EMPTY)
def test_nothing_on_any_axis(transform):
    for nothing in range(4):
        count, fan_in, hidden, fan_out = (0 if axis == nothing else 2 for axis in range(4))
        operands = [np.ones(s) for s in ((count, fan_in), (hidden, fan_in), (fan_out, hidden))]
        functions = (lambda x, a, b: hj.relu_network(x, [a, b])), lambda x, a, b: plain(x, [a, b])
        ours, wanted = (jax.tree.leaves(EMPTY[transform](f)(*operands)) for f in functions)
        for one, other in zip(ours, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_no_features(way, dtype):
    x, weights = np.zeros((4, 0), dtype), [np.zeros((3, 0), dtype), np.zeros((2, 3), dtype)]
    same_bits(hj.relu_network(x, weights), np.zeros((4, 2), dtype))
    same_bits(hj.linear(x, np.zeros((3, 0), dtype)), np.zeros((4, 3), dtype))
    same_bits(hj.linear(np.zeros((4, 3), dtype), np.zeros((0, 3), dtype)), np.zeros((4, 0), dtype))
    grads = jax.grad(lambda w: hj.relu_network(x, w).sum())(list(map(jnp.asarray, weights)))
    assert [g.shape for g in grads] == [(3, 0), (2, 3)]


def test_many_threads_at_once(way, rng):
    weights = weights_of(rng, np.float32, (32, 128, 128, 64))
    x = rng.standard_normal((64, 32)).astype(np.float32)
    wanted = homfast.ReLUNetwork(weights)(x)
    call = jax.jit(hj.relu_network)
    results = [None] * 8

    def work(index):
        results[index] = [np.asarray(call(x, weights)) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(results))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in itertools.chain(*results):
        same_bits(result, wanted)


def test_a_backend_that_was_asked_for_computes(monkeypatch, rng):
    from homfast import _backends

    monkeypatch.setattr(_backends, "_automatic", _backends.load("reference"))
    jax.clear_caches()
    assert hj.transport() == "pure_callback: CPU arrays go to the reference backend"
    x, weights = rng.standard_normal((5, 6)), weights_of(rng, float)
    reference = homfast.ReLUNetwork(weights, backend="reference")
    same_bits(hj.relu_network(x, weights), reference(x))
    grads = jax.grad(lambda w: hj.relu_network(x, w).sum())(list(map(jnp.asarray, weights)))
    wanted = reference.vjp(x)[1](np.ones((5, 3)))[1]
    for own, other in zip(grads, wanted, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-12)
    jax.clear_caches()


@pytest.mark.skipif(native._native is None, reason="homfast._native is not here")
def test_handlers_check_what_memory_safety_needs(rng):
    """XLA checks nothing between a program and its targets."""
    if hj.transport() != "ffi":
        pytest.skip(hj.transport())
    x, weight = rng.standard_normal((5, 6)), rng.standard_normal((3, 6))
    options = {"layers": 1, "slope": np.float64(0), "last_relu": False, "precision": "highest"}

    def forward(result, *operands, keep=False, **changes):
        types = [jax.ShapeDtypeStruct(r, np.float64) for r in result]
        call = jax.ffi.ffi_call(lowering._targets()["forward"], types)
        return jax.block_until_ready(call(*operands, keep=keep, **{**options, **changes}))

    assert forward([(5, 3)], x, weight)[0].shape == (5, 3)
    wrong = [
        (([(5, 4)], x, weight), {}),
        (([(4, 3)], x, weight), {}),
        (([(5, 3)], x[:, :5], weight), {}),
        (([(5, 3)], x, weight.astype(np.float32)), {}),
        (([(5, 3)], x, weight, weight), {"layers": 2}),
        (([(5, 3)], x, weight), {"layers": 2}),
        (([(5, 3)], x, weight), {"layers": 0}),
        (([(5, 3)], x.astype(np.int64), weight), {}),
        (([(5, 3)], x, weight), {"last_relu": True, "keep": True}),
    ]
    for arguments, changes in wrong:
        with pytest.raises(Exception, match="homfast: "):
            forward(*arguments, **changes)


HANDLER = """
import signal
import numpy as np
import jax.numpy as jnp
import homfast.jax

homfast.set_num_threads(1)
rng = np.random.default_rng(0)
weights = [jnp.asarray(rng.integers(-3, 4, s).astype(np.float32)) for s in ((256, 128), (64, 256))]
x = jnp.asarray(rng.integers(-3, 4, (200_000, 128)).astype(np.float32))
homfast.jax.relu_network(x[:5], weights)

class Timeout(Exception):
    pass

def handler(*_):
    raise Timeout

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGALRM, handler)
found = []
for attempt in range(10):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005 + 0.005 * attempt)
        np.asarray(homfast.jax.relu_network(x, weights))
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Timeout:
        found.append("Timeout")
print(set(found))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_what_a_signal_handler_raises_arrives():
    assert output(HANDLER, timeout=200) == "{'Timeout'}"
