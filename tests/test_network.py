"""ReLUNetwork: what it computes, and its derivatives."""

import numpy as np
import pytest
from oracles import assert_same_bits, assert_within, product, relu, unpack

import homfast
from homfast.linearization import _JACOBIAN_BYTES

WIDTHS = [(3, 2), (1, 1, 1), (5, 8, 3), (17, 33, 9, 4), (64, 100, 65, 31, 7), (9, 130, 1)]
SLOPES = (0.0, 0.1)


def network(engine, widths, dtype, slope=0.0, seed=1):
    return homfast.ReLUNetwork.random(
        widths, seed=seed, dtype=dtype, negative_slope=slope, backend=engine.backend
    )


def data(rng, rows, features, dtype):
    return rng.standard_normal((rows, features)).astype(dtype)


def case_of(engine, dtype, widths, slope):
    return f"{engine} {dtype} widths={widths} slope={slope} seed=1"


def forward_oracle(net, x, fused):
    """f(x) in wider arithmetic, and the bound that grows from layer to layer."""
    value, bound = x, None
    for layer, weight in enumerate(net.weights):
        rounded = value.astype(net.dtype)
        _, own = product(rounded, weight.T, fused=fused)
        wide = value.astype(own.dtype)
        value = wide @ weight.T.astype(own.dtype)
        if bound is None:
            bound = own
        else:
            carried = bound @ np.abs(weight.T.astype(own.dtype))
            bound = carried * (1 + 2.0**-10) + own * (1 + 2.0**-10)
        if layer < len(net.weights) - 1:
            value, bound = relu(value, bound, net.negative_slope, net.dtype)
    return value, bound


@pytest.mark.parametrize("slope", SLOPES)
def test_call_within_bound(engine, dtype, rng, slope):
    for widths in WIDTHS:
        net = network(engine, widths, dtype, slope)
        x = data(rng, 37, widths[0], dtype)
        case = case_of(engine, dtype, widths, slope)
        assert_within(net(x), *forward_oracle(net, x, engine.fused), case)


@pytest.mark.parametrize("slope", SLOPES)
def test_vjp_against_its_layers_in_wider_arithmetic(engine, dtype, rng, slope):
    """Under the masks that the network's own forward pass chose."""
    for widths in WIDTHS:
        net = network(engine, widths, dtype, slope)
        x, grad = data(rng, 37, widths[0], dtype), data(rng, 37, widths[-1], dtype)
        case = case_of(engine, dtype, widths, slope)
        y, vjp = net.vjp(x)
        assert_same_bits(y, net(x), f"y {case}")
        grad_input, grad_weights = vjp(grad)
        wanted_input, wanted_weights = wide_gradients(net, x, grad)
        for actual, wanted in zip(
            (grad_input, *grad_weights), (wanted_input, *wanted_weights), strict=True
        ):
            largest = np.abs(wanted).max(initial=1)
            tolerance = 400 * np.finfo(dtype).eps * largest
            assert_within(actual, wanted, np.full(wanted.shape, tolerance), case)
        again, _ = vjp(grad)
        assert_same_bits(again, grad_input, f"second call {case}")


def wide_gradients(net, x, grad):
    """Gradients in wider arithmetic under the masks of the kernel."""
    wide = product(x[:0], net.weights[0].T)[0].dtype
    masks = net.linearize(x)._masks
    inputs, slopes = [x.astype(wide)], []
    for weight, mask in zip(net.weights, masks, strict=False):
        active = unpack(mask, weight.shape[0])
        slopes.append(np.where(active, 1, wide.type(net.dtype.type(net.negative_slope))))
        inputs.append(slopes[-1] * (inputs[-1] @ weight.T.astype(wide)))
    gradient, gradients = grad.astype(wide), []
    for layer in reversed(range(len(net.weights))):
        if layer < len(slopes):
            gradient = gradient * slopes[layer]
        gradients.insert(0, gradient.T @ inputs[layer])
        gradient = gradient @ net.weights[layer].astype(wide)
    return gradient, gradients


@pytest.mark.parametrize("slope", SLOPES)
def test_euler_identities(engine, dtype, rng, slope):
    """<g, f> = <x, dx> = <W_l, dW_l> for each layer: f is homogeneous in x and in each weight."""
    for widths in WIDTHS:
        net = network(engine, widths, dtype, slope)
        x, grad = data(rng, 37, widths[0], dtype), data(rng, 37, widths[-1], dtype)
        y, vjp = net.vjp(x)
        grad_input, grad_weights = vjp(grad)
        pairs = [(grad, y), (x, grad_input), *zip(net.weights, grad_weights, strict=True)]
        products = [np.vdot(a.astype(np.longdouble), b.astype(np.longdouble)) for a, b in pairs]
        scale = max(np.linalg.norm(a) * np.linalg.norm(b) for a, b in pairs)
        worst = max(abs(p - products[0]) for p in products) / scale
        case = case_of(engine, dtype, widths, slope)
        assert worst < 64 * np.finfo(dtype).eps, f"{case}: {products}, off by {worst:.2g}"


@pytest.mark.parametrize("slope", SLOPES)
def test_jacobian_times_x_is_f(engine, dtype, rng, slope):
    for widths in WIDTHS:
        net = network(engine, widths, dtype, slope)
        x = data(rng, 9, widths[0], dtype)
        jacobian = net.jacobian(x)
        case = case_of(engine, dtype, widths, slope)
        assert jacobian.shape == (9, widths[-1], widths[0]) and jacobian.dtype == dtype, case
        value = np.einsum("boi,bi->bo", jacobian.astype(float), x.astype(float))
        magnitude = np.einsum("boi,bi->bo", np.abs(jacobian.astype(float)), np.abs(x.astype(float)))
        bound = 400 * np.finfo(dtype).eps * (magnitude + np.abs(value).max())
        assert_within(net(x), value, bound, case)
        if engine.backend == "native":
            assert_same_bits(net.jacobian(x[3]), jacobian[3], f"one row {case}")


def test_jacobian_in_parts_is_the_jacobian(engine, dtype, rng):
    """More rows than fit the buffer at a time."""
    net = network(engine, (40, 64, 64), dtype)
    rows = 3 * _JACOBIAN_BYTES // (64 * 64 * dtype.itemsize) // 2
    x = np.tile(data(rng, 10, 40, dtype), (rows // 10 + 1, 1))
    jacobian = net.jacobian(x)
    assert len(jacobian) * 64 * 64 * dtype.itemsize > _JACOBIAN_BYTES
    tolerance = 100 * np.finfo(dtype).eps
    for start in (10, len(x) // 20 * 10, len(x) - 10):
        error = np.abs(jacobian[start : start + 10] - jacobian[:10]).max()
        assert error <= tolerance, f"{engine} {dtype} rows from {start}: {error}"


@pytest.mark.parametrize("slope", SLOPES)
def test_jvp_and_linearize_are_the_jacobian(engine, dtype, rng, slope):
    for widths in WIDTHS:
        net = network(engine, widths, dtype, slope)
        x, v = data(rng, 9, widths[0], dtype), data(rng, 9, widths[0], dtype)
        u = data(rng, 9, widths[-1], dtype)
        jacobian = net.jacobian(x).astype(float)
        case = case_of(engine, dtype, widths, slope)
        y, dy = net.jvp(x, v)
        linearized = net.linearize(x)
        tolerance = 400 * np.finfo(dtype).eps * max(1, np.abs(jacobian).sum(axis=(1, 2)).max())
        assert_same_bits(y, net(x), case)
        assert_same_bits(linearized.output, y, case)
        assert_same_bits(linearized.forward(v), dy, case)
        wanted = np.einsum("boi,bi->bo", jacobian, v)
        assert_within(dy, wanted, np.full(wanted.shape, tolerance), f"jvp {case}")
        wanted = np.einsum("boi,bo->bi", jacobian, u)
        adjoint = linearized.adjoint(u)
        assert_within(adjoint, wanted, np.full(wanted.shape, tolerance), f"adjoint {case}")
        assert_same_bits(adjoint, net.vjp(x)[1](u)[0], f"adjoint and vjp {case}")
        assert linearized.shape == (9, widths[-1], widths[0]), case


def test_linearize_at_one_point_takes_any_batch(engine, dtype, rng):
    net = network(engine, (17, 33, 9, 4), dtype, 0.1)
    point = data(rng, 1, 17, dtype)[0]
    linearized = net.linearize(point)
    jacobian = net.jacobian(point).astype(float)
    assert linearized.output.shape == (4,) and linearized.shape == (4, 17)
    tolerance = 400 * np.finfo(dtype).eps * np.abs(jacobian).sum()
    for lead in ((), (1,), (21,), (2, 3), (0,)):
        v = rng.standard_normal((*lead, 17)).astype(dtype)
        u = rng.standard_normal((*lead, 4)).astype(dtype)
        wanted = v @ jacobian.T
        case = f"{engine} {dtype} lead={lead}"
        assert_within(linearized.forward(v), wanted, np.full(wanted.shape, tolerance), case)
        wanted = u @ jacobian
        assert_within(linearized.adjoint(u), wanted, np.full(wanted.shape, tolerance), case)


@pytest.mark.parametrize("lead", [(), (1,), (2, 3), (0,), (2, 0, 3)])
def test_leading_axes(engine, dtype, rng, lead):
    net = network(engine, (5, 8, 3), dtype)
    x = rng.standard_normal((*lead, 5)).astype(dtype)
    y, vjp = net.vjp(x)
    grad_input, grad_weights = vjp(np.ones((*lead, 3), dtype))
    assert net(x).shape == y.shape == (*lead, 3)
    assert grad_input.shape == x.shape
    assert [g.shape for g in grad_weights] == [w.shape for w in net.weights]
    assert net.jacobian(x).shape == (*lead, 3, 5)
    assert net.jvp(x, x)[1].shape == (*lead, 3)
    if 0 in lead:
        assert not any(g.any() for g in grad_weights), "gradients of no rows"


def test_one_layer_is_linear(engine, dtype, rng):
    net = network(engine, (7, 4), dtype)
    x = rng.integers(-4, 5, (20, 7)).astype(dtype)
    net.set_weights([rng.integers(-4, 5, (4, 7)).astype(dtype)])
    assert np.array_equal(net(x), x @ net.weights[0].T)
    assert (net(x) < 0).any(), "the last layer has no ReLU"
    assert np.array_equal(net.jacobian(x), np.broadcast_to(net.weights[0], (20, 4, 7)))
    _, vjp = net.vjp(x)
    grad = rng.integers(-4, 5, (20, 4)).astype(dtype)
    grad_input, (grad_weight,) = vjp(grad)
    assert np.array_equal(grad_input, grad @ net.weights[0])
    assert np.array_equal(grad_weight, grad.T @ x)
    assert np.array_equal(net.linearize(x).forward(x), net(x))


@pytest.mark.parametrize("widths", [(0, 4, 3), (4, 0, 3), (4, 3, 0), (0, 0), (0, 3), (3, 0, 0, 2)])
def test_widths_of_zero(engine, dtype, widths):
    net = network(engine, widths, dtype)
    x = np.ones((5, widths[0]), dtype)
    y, vjp = net.vjp(x)
    case = case_of(engine, dtype, widths, 0.0)
    assert_same_bits(net(x), np.zeros((5, widths[-1]), dtype), case)
    assert_same_bits(y, np.zeros((5, widths[-1]), dtype), case)
    grad_input, grad_weights = vjp(np.ones_like(y))
    assert_same_bits(grad_input, np.zeros_like(x), case)
    assert [g.shape for g in grad_weights] == [w.shape for w in net.weights], case
    assert not any(g.any() for g in grad_weights), case
    assert net.jacobian(x).shape == (5, widths[-1], widths[0])
    assert not net.jacobian(x).any(), case
    linearized = net.linearize(x)
    assert not linearized.forward(x).any() and linearized.adjoint(y).shape == x.shape, case


def test_out_is_written_and_returned(engine, dtype, rng):
    net = network(engine, (17, 33, 17), dtype)
    x = data(rng, 37, 17, dtype)
    wanted = net(x)
    out = np.full_like(wanted, np.nan)
    assert net(x, out=out) is out
    assert_same_bits(out, wanted, f"{engine} {dtype}")
    assert net(x, out=x) is x
    assert_same_bits(x, wanted, f"{engine} {dtype} out=x")


def test_derivatives_agree_with_torch(engine, torch, dtype, rng):
    net = network(engine, (17, 33, 9, 4), dtype)
    x, grad = data(rng, 37, 17, dtype), data(rng, 37, 4, dtype)
    weights = [torch.tensor(w.copy(), requires_grad=True) for w in net.weights]
    hidden = inputs = torch.tensor(x, requires_grad=True)
    for layer, weight in enumerate(weights):
        hidden = torch.nn.functional.linear(hidden, weight)
        hidden = torch.relu(hidden) if layer < 2 else hidden
    hidden.backward(torch.from_numpy(grad))
    y, vjp = net.vjp(x)
    grad_input, grad_weights = vjp(grad)
    pairs = [(y, hidden.detach()), (grad_input, inputs.grad)]
    pairs += [(g, w.grad) for g, w in zip(grad_weights, weights, strict=True)]
    for actual, wanted in pairs:
        wanted = wanted.numpy().astype(float)
        tolerance = 400 * np.finfo(dtype).eps * np.abs(wanted).max()
        assert_within(actual, wanted, np.full(wanted.shape, tolerance), f"{engine} {dtype}")
