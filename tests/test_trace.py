"""What vjp keeps: each closure its own, whatever is made, used or dropped beside it."""

import gc
import threading

import numpy as np
import pytest
from oracles import assert_same_bits

import homfast
from homfast import ReLUNetwork

WIDTHS = [(3, 5, 2), (9, 33, 17, 4), (16, 2), (64, 512, 64), (5, 0, 3), (0, 4, 2), (4, 3, 0)]


@pytest.fixture(params=WIDTHS, ids=str)
def net(request, engine, dtype):
    return ReLUNetwork.random(request.param, seed=3, dtype=dtype, backend=engine.backend)


def layer_by_layer(net, x, grad):
    """Gradients from the layer calls, whose bits other tests hold to the contract."""
    engine = {"backend": net._backend_name}
    packed = [net._backend.pack_weight(w) for w in net.weights]
    inputs, masks = [x], []
    for weight in packed[:-1]:
        rows, width = len(x), net.weights[len(masks)].shape[0]
        out, mask = np.empty((rows, width), x.dtype), np.empty((rows, (width + 7) // 8), np.uint8)
        net._backend.linear_relu(inputs[-1], weight, net.negative_slope, out, mask)
        inputs.append(out)
        masks.append(mask)
    masks.append(None)
    grads = []
    for index in reversed(range(len(packed))):
        grads.append(
            homfast.linear_relu_backward(
                grad, inputs[index], None, masks[index],
                negative_slope=net.negative_slope, **engine,
            )[1]
        )  # fmt: skip
        below = np.empty((len(x), net.weights[index].shape[1]), x.dtype)
        net._backend.grad_input(grad, packed[index], masks[index], net.negative_slope, below)
        grad = below
    return grad, grads[::-1]


def assert_same_gradients(found, wanted, case):
    assert_same_bits(found[0], wanted[0], f"{case}: grad_input")
    for index, (one, other) in enumerate(zip(found[1], wanted[1], strict=True)):
        assert_same_bits(one, other, f"{case}: grad_weights[{index}]")


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 16, 100, 500])
@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_gradients_are_those_of_the_layers_to_the_bit(engine, net, rng, rows, slope):
    net = ReLUNetwork(net.weights, negative_slope=slope, backend=engine.backend)
    x = rng.standard_normal((rows, net.widths[0])).astype(net.dtype)
    grad = rng.standard_normal((rows, net.widths[-1])).astype(net.dtype)
    found = net.vjp(x)[1](grad)
    assert_same_gradients(found, layer_by_layer(net, x, grad), f"{engine} {net.widths} {rows} rows")


def test_closures_live_side_by_side_and_keep_their_own_point(engine, net, rng):
    shape, out = (33, net.widths[0]), (33, net.widths[-1])
    points = [rng.standard_normal(shape).astype(net.dtype) for _ in range(4)]
    grad = rng.standard_normal(out).astype(net.dtype)
    wanted = []
    for x in points:
        wanted.append(net.vjp(x)[1](grad))  # dropped at once: the next one takes its memory
    closures = []
    for x in points:
        mine = np.array(x)
        closures.append(net.vjp(mine)[1])
        mine[...] = np.nan  # the caller's array is not looked at again
    gc.collect()
    for index in (2, 0, 3, 1, 0):
        assert_same_gradients(closures[index](grad), wanted[index], f"{engine} point {index}")


def test_a_closure_outlives_its_network_and_serves_several_threads(engine, net, rng):
    x = rng.standard_normal((65, net.widths[0])).astype(net.dtype)
    grads = [rng.standard_normal((65, net.widths[-1])).astype(net.dtype) for _ in range(6)]
    wanted = [net.vjp(x)[1](grad) for grad in grads]
    vjp = ReLUNetwork(net.weights, backend=engine.backend).vjp(x)[1]
    gc.collect()
    found = [None] * len(grads)

    def run(index):
        found[index] = vjp(grads[index])

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(grads))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, pair in enumerate(zip(found, wanted, strict=True)):
        assert_same_gradients(*pair, f"{engine} gradient {index}")


def test_any_layout_and_leading_axes_give_the_same_bits(engine, net, rng):
    x = rng.standard_normal((2, 3, 4, net.widths[0])).astype(net.dtype)
    grad = rng.standard_normal((2, 3, 4, net.widths[-1])).astype(net.dtype)
    wanted_y, vjp = net.vjp(x.reshape(24, -1) if x.size else x[0, 0].repeat(6, axis=0))
    wanted = vjp(grad.reshape(24, net.widths[-1]))
    for case, point, pulled in (
        ("contiguous", x, grad),
        ("reversed axes", np.asfortranarray(x), np.asfortranarray(grad)),
        ("plain x", x, np.asfortranarray(grad)),
        ("plain grad", np.asfortranarray(x), grad),
    ):
        y, vjp = net.vjp(point)
        assert y.shape == grad.shape
        assert_same_bits(y.reshape(24, -1) if y.size else wanted_y, wanted_y, case)
        grad_input, grad_weights = vjp(pulled)
        assert grad_input.shape == x.shape
        found = grad_input.reshape(24, net.widths[0]), grad_weights
        assert_same_gradients(found, wanted, f"{engine} {case}")


def test_a_gradient_of_another_shape_is_refused(engine, dtype):
    net = ReLUNetwork.random((3, 4, 2), dtype=dtype, backend=engine.backend)
    for x_shape, grad_shape in (
        ((6, 3), (5, 2)),
        ((6, 3), (6, 3)),
        ((6, 3), (2, 3, 2)),
        ((2, 3, 3), (6, 2)),
        ((3,), (1, 2)),
    ):
        vjp = net.vjp(np.ones(x_shape, dtype))[1]
        with pytest.raises(ValueError, match="grad_output"):
            vjp(np.ones(grad_shape, dtype))


def test_jvp_is_the_linearisation_to_the_bit(engine, net, rng):
    for shape in ((), (1,), (40,), (3, 5), (0,)):
        x = rng.standard_normal((*shape, net.widths[0])).astype(net.dtype)
        v = rng.standard_normal((*shape, net.widths[0])).astype(net.dtype)
        J = net.linearize(x)
        for y, dy in (net.jvp(x, v), net.jvp(np.asfortranarray(x), v)):
            assert_same_bits(y, J.output, f"{engine} {shape} y")
            assert_same_bits(dy, J.forward(v), f"{engine} {shape} dy")
