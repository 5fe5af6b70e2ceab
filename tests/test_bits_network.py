"""ReLUNetwork: bits of a row at every batch size, thread count, method and target (contract, 2)."""

import numpy as np
import pytest
from oracles import assert_same_bits

import homfast
from homfast import ReLUNetwork

BATCHES = [*range(1, 131), 255, 256, 257, 1000]
WIDTHS = [(1, 1), (17, 33, 9, 4), (64, 128, 64), (31, 100, 1), (5, 257, 3)]


@pytest.fixture(params=WIDTHS, ids=str)
def widths(request):
    return request.param


@pytest.fixture
def net(bit_engine, dtype, widths):
    return ReLUNetwork.random(
        widths, seed=9, dtype=dtype, negative_slope=0.1, backend=bit_engine.backend
    )


def data(rng, net, rows=1000):
    x = rng.standard_normal((rows, net.widths[0])).astype(net.dtype)
    return x, rng.standard_normal((rows, net.widths[-1])).astype(net.dtype)


@pytest.mark.parametrize("invariant", [False, True])
def test_every_batch_size_and_position(bit_engine, net, rng, invariant):
    """Whatever set_batch_invariant says: it is for calls on plain arrays."""
    homfast.set_batch_invariant(invariant)
    x, _ = data(rng, net)
    wanted = net(x)
    case = f"{bit_engine} {net} invariant={invariant}"
    for batch in BATCHES:
        assert_same_bits(net(x[:batch]), wanted[:batch], f"{case} {batch} rows")
        assert_same_bits(net(x[-batch:]), wanted[-batch:], f"{case} last {batch} rows")
    order = rng.permutation(1000)
    assert_same_bits(net(x[order]), wanted[order], f"{case} in another order")
    assert_same_bits(net(x[0]), wanted[0], f"{case} one vector")


def test_derivatives_at_every_batch_size(bit_engine, net, rng):
    x, u = data(rng, net)
    v = rng.standard_normal(x.shape).astype(net.dtype)
    linearized = net.linearize(x)
    wanted = {
        "vjp": net.vjp(x)[1](u)[0],
        "jvp": net.jvp(x, v)[1],
        "adjoint": linearized.adjoint(u),
        "forward": linearized.forward(v),
        "jacobian": net.jacobian(x[:130]),
    }
    for batch in (1, 2, 3, 5, 6, 7, 8, 13, 15, 16, 17, 31, 33, 64, 100, 129, 257):
        rows = slice(0, batch)
        part = net.linearize(x[rows])
        for name, result in {
            "vjp": net.vjp(x[rows])[1](u[rows])[0],
            "jvp": net.jvp(x[rows], v[rows])[1],
            "adjoint": part.adjoint(u[rows]),
            "forward": part.forward(v[rows]),
            "jacobian": net.jacobian(x[:batch][:130]),
        }.items():
            case = f"{bit_engine} {net} {name} {batch} rows"
            assert_same_bits(result, wanted[name][rows], case)


def test_all_methods_compute_the_same_network(bit_engine, net, rng):
    x, u = data(rng, net, 37)
    y = net(x)
    linearized = net.linearize(x)
    case = f"{bit_engine} {net}"
    assert_same_bits(net.vjp(x)[0], y, f"vjp {case}")
    assert_same_bits(net.jvp(x, x)[0], y, f"jvp {case}")
    assert_same_bits(linearized.output, y, f"linearize {case}")
    assert_same_bits(linearized.forward(x), net.jvp(x, x)[1], f"forward {case}")
    assert_same_bits(linearized.adjoint(u), net.vjp(x)[1](u)[0], f"adjoint {case}")


def test_linearize_at_one_point_is_that_row_of_a_batch(bit_engine, net, rng):
    x, u = data(rng, net, 37)
    v = rng.standard_normal(x.shape).astype(net.dtype)
    point, same = net.linearize(x[5]), net.linearize(np.tile(x[5], (37, 1)))
    assert_same_bits(point.forward(v), same.forward(v), f"{bit_engine} {net} forward")
    assert_same_bits(point.adjoint(u), same.adjoint(u), f"{bit_engine} {net} adjoint")


def test_thread_counts(bit_engine, net, rng):
    x, u = data(rng, net)

    def results():
        y, vjp = net.vjp(x)
        grad_input, grad_weights = vjp(u)
        return [net(x), y, grad_input, *grad_weights, net.jacobian(x[:50])]

    homfast.set_num_threads(1)
    wanted = results()
    for threads in (2, 3, 5, 8):
        homfast.set_num_threads(threads)
        for index, (result, other) in enumerate(zip(results(), wanted, strict=True)):
            case = f"{bit_engine} {net} result {index} {threads} threads"
            assert_same_bits(result, other, case)


@pytest.mark.parametrize("layout", ["F", "rows apart", "rows reversed", "columns apart", "byte 1"])
def test_strides_of_the_input(bit_engine, net, rng, layout):
    x, _ = data(rng, net, 40)
    raw = np.zeros(x.nbytes + 64, np.uint8)
    unaligned = raw[1 : 1 + x.nbytes].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    view = {
        "F": np.asfortranarray(x),
        "rows apart": np.repeat(x, 3, axis=0)[::3],
        "rows reversed": np.ascontiguousarray(x[::-1])[::-1],
        "columns apart": np.repeat(x, 2, axis=1)[:, ::2],
        "byte 1": unaligned,
    }[layout]
    assert_same_bits(net(view), net(x), f"{bit_engine} {net} {layout}")


def test_set_target_repacks_the_weights(native_engine, dtype, widths, rng):
    """A network made under another target computes as one made under the current one."""
    from engines import NATIVE_ENGINES

    options = {"negative_slope": 0.1, "backend": "native"}
    net = ReLUNetwork.random(widths, seed=9, dtype=dtype, **options)
    x, u = data(rng, net, 37)
    wanted, gradients = net(x), net.vjp(x)[1](u)
    for other in NATIVE_ENGINES:
        other.use()
        moved = ReLUNetwork(net.weights, **options)
        y, vjp = net.vjp(x)
        case = f"{net} made on {native_engine}, used on {other}"
        assert_same_bits(y, moved(x), case)
        assert_same_bits(vjp(u)[0], moved.vjp(x)[1](u)[0], case)
        assert_same_bits(net.jacobian(x), moved.jacobian(x), case)
        native_engine.use()
        assert_same_bits(moved(x), wanted, f"{net} made on {other}, used on {native_engine}")
        assert_same_bits(net.vjp(x)[1](u)[0], gradients[0], f"{case} and back")
