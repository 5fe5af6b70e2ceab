"""bfloat16 arrays: widened exactly, summed in float32, rounded once, given back as they came."""

import pickle

import numpy as np
import pytest
from oracles import assert_same_bits

import homfast
from homfast import ReLUNetwork

ml_dtypes = pytest.importorskip("ml_dtypes")
BF16 = np.dtype(ml_dtypes.bfloat16)
SHAPES = [(1, 1, 1), (1, 257, 3), (3, 17, 5), (16, 16, 16), (100, 300, 77), (0, 3, 2), (3, 0, 2)]


def integers(rng, *shape):
    return rng.integers(-3, 4, shape).astype(BF16)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(BF16)


def assert_same(found, wanted, case):
    assert found.dtype == wanted.dtype == BF16, case
    assert_same_bits(found.view(np.uint16), wanted.view(np.uint16), case)


def test_every_number_widens_to_itself(engine):
    halves = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).reshape(64, 1024)
    out = np.full(halves.shape, np.nan, np.float32)
    engine.module.widen_bfloat16(halves, out)
    assert_same_bits(out, halves.view(BF16).astype(np.float32), str(engine))


def test_rounding_is_to_nearest_even(engine, rng):
    bits = rng.integers(0, 1 << 32, (50, 1000), dtype=np.uint64).astype(np.uint32)
    bits[0] = bits[0] & 0xFFFF0000 | 0x8000  # ties
    bits[1, :8] = [0, 1 << 31, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 1, 0x00008000, 0x00018000]
    values = bits.view(np.float32)
    out = np.empty(bits.shape, np.uint16)
    engine.module.round_to_bfloat16(values, out)
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = values.astype(BF16)
    finite = ~np.isnan(values)
    assert_same_bits(out[finite], wanted.view(np.uint16)[finite], str(engine))
    assert np.isnan(out.view(BF16)[~finite].astype(np.float32)).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_exact_integers_give_the_rounded_sums(engine, rng, shape):
    batch, features, units = shape
    x, weight = integers(rng, batch, features), integers(rng, units, features)
    grad = integers(rng, batch, units)
    z = x.astype(np.int64) @ weight.astype(np.int64).T
    backend = {"backend": engine.backend}
    y, mask = homfast.linear_relu(x, weight, return_mask=True, **backend)
    assert_same(y, np.maximum(z, 0).astype(BF16), f"{engine} linear_relu")
    assert_same(homfast.linear(x, weight, **backend), z.astype(BF16), f"{engine} linear")
    g = np.where(z > 0, grad.astype(np.int64), 0)
    grad_input, grad_weight = homfast.linear_relu_backward(grad, x, weight, mask, **backend)
    assert_same(grad_input, (g @ weight.astype(np.int64)).astype(BF16), f"{engine} grad_input")
    assert_same(grad_weight, (g.T @ x.astype(np.int64)).astype(BF16), f"{engine} grad_weight")


def test_error_is_that_of_a_float32_sum_and_one_rounding(engine, rng):
    x, weight = normal(rng, 33, 700), normal(rng, 45, 700)
    a, b = x.astype(np.float64), weight.astype(np.float64)
    found = homfast.linear(x, weight, backend=engine.backend).astype(np.float64)
    gamma = 700 * 2.0**-24 / (1 - 700 * 2.0**-24)
    bound = gamma * (abs(a) @ abs(b).T) + 2.0**-8 * abs(a @ b.T) * (1 + gamma)
    assert (abs(found - a @ b.T) <= bound).all()


@pytest.mark.parametrize("features", [0, 1, 17, 171, 4500])
@pytest.mark.parametrize("batch", [1, 2, 3, 7, 15])
def test_few_rows_have_the_bits_of_widened_operands(native_engine, rng, batch, features):
    """They are widened a part of the weight at a time: 131 units are several parts."""
    x, weight = normal(rng, batch, features), normal(rng, 140, features)[3:134]
    if features:
        x[0, 0] = np.nan  # of one row
    wide = x.astype(np.float32), weight.astype(np.float32)
    for slope in (0.0, 0.1):
        z, bits = homfast.linear_relu(*wide, negative_slope=slope, return_mask=True)
        y, mask = homfast.linear_relu(x, weight, negative_slope=slope, return_mask=True)
        assert_same_bits(y.astype(np.float32), z.astype(BF16).astype(np.float32), str(slope))
        assert_same_bits(mask, bits, f"mask {slope}")
    out = np.full((batch, 135), np.nan, BF16)[:, 2:133]
    homfast.linear(x, weight, out=out)
    wanted = homfast.linear(*wide).astype(BF16).astype(np.float32)
    assert_same_bits(out.astype(np.float32), wanted, "linear, out in a larger array")


# The last needs more room than a thread keeps from call to call.
@pytest.mark.parametrize(
    "shape", [(16, 40, 24), (67, 129, 50), (0, 3, 2), (20, 300, 14000)], ids=str
)
@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_many_rows_have_the_bits_of_widened_operands(engine, rng, shape, slope):
    batch, features, units = shape
    x, weight, grad = (
        normal(rng, *s) for s in ((batch, features), (units, features), (batch, units))
    )
    wide_x, wide_weight, wide_grad = (a.astype(np.float32) for a in (x, weight, grad))
    options = {"negative_slope": slope, "backend": engine.backend}
    for _ in range(2):  # in room that the first left
        y, mask = homfast.linear_relu(x, weight, return_mask=True, **options)
        wanted, wanted_mask = homfast.linear_relu(
            wide_x, wide_weight, return_mask=True, precision="medium", **options
        )
        assert_same(y, wanted.astype(BF16), f"{engine} linear_relu")
        assert_same_bits(mask, wanted_mask, f"{engine} mask")
        found = homfast.linear_relu_backward(grad, x, weight, mask, **options)
        gradients = homfast.linear_relu_backward(
            wide_grad, wide_x, wide_weight, mask, precision="medium", **options
        )
        for one, other in zip(found, gradients, strict=True):
            assert_same(one, other.astype(BF16), f"{engine} backward")
        alone = (
            homfast.linear_relu_backward(grad, None, weight, mask, **options)[0],
            homfast.linear_relu_backward(grad, x, None, mask, **options)[1],
        )
        for one, other in zip(alone, found, strict=True):
            assert_same(one, other, f"{engine} one of them")


def test_layouts_out_and_mixed_libraries(native_engine, rng):
    x, weight = normal(rng, 2, 20, 31), normal(rng, 7, 31)
    homfast.set_batch_invariant(True)
    wanted = homfast.linear(x, weight)
    strided = np.zeros((20, 62), BF16)[:, ::2]
    strided[...] = x[1]
    assert_same(homfast.linear(strided, weight), wanted[1], "strided")
    out = np.full((2, 20, 7), -7, BF16)
    assert homfast.linear(x, weight, out=out) is out
    assert_same(out, wanted, "out")
    assert_same(homfast.linear(x[1, 3], weight), wanted[1, 3], "one vector")
    square = normal(rng, 31, 31)
    wanted = homfast.linear(square, square)
    assert_same(homfast.linear(square, square, out=square), wanted, "out overlaps its inputs")


def test_tensors_come_back_as_tensors(native_engine):
    torch = pytest.importorskip("torch")
    x, weight = torch.randn(3, 8, 17).bfloat16(), torch.randn(5, 17).bfloat16()
    y, mask = homfast.linear_relu(x, weight, return_mask=True)
    assert y.dtype == torch.bfloat16 and y.shape == (3, 8, 5) and mask.dtype == torch.uint8
    exact = torch.relu(x.double() @ weight.double().T)
    assert torch.allclose(y.double(), exact, rtol=2**-8, atol=1e-5)
    with pytest.raises(TypeError, match="requires grad"):
        homfast.linear(x.requires_grad_(), weight)


@pytest.fixture
def net(engine, rng):
    weights = [normal(rng, 33, 9), normal(rng, 17, 33), normal(rng, 4, 17)]
    return ReLUNetwork(weights, backend=engine.backend)


def test_a_network_is_the_float32_one_with_its_ends_rounded(engine, net, rng):
    weights = [w.astype(np.float32) for w in net.weights]
    wide = ReLUNetwork(weights, precision="medium", backend=engine.backend)
    x, v, u = normal(rng, 40, 9), normal(rng, 40, 9), normal(rng, 40, 4)
    big = [a.astype(np.float32) for a in (x, v, u)]
    assert net.dtype == BF16 and net.precision == "medium"
    y, dy = net.jvp(x, v)
    wanted_y, wanted_dy = wide.jvp(big[0], big[1])
    assert_same(net(x), wanted_y.astype(BF16), "forward")
    assert_same(y, wanted_y.astype(BF16), "jvp y")
    assert_same(dy, wanted_dy.astype(BF16), "jvp dy")
    grad_input, grad_weights = net.vjp(x)[1](u)
    wanted_input, wanted_weights = wide.vjp(big[0])[1](big[2])
    assert_same(grad_input, wanted_input.astype(BF16), "vjp")
    for one, other in zip(grad_weights, wanted_weights, strict=True):
        assert_same(one, other.astype(BF16), "vjp weights")
    J, wide_J = net.linearize(x), wide.linearize(big[0])
    assert_same(J.adjoint(u), wide_J.adjoint(big[2]).astype(BF16), "adjoint")
    assert_same(net.jacobian(x), wide.jacobian(big[0]).astype(BF16), "jacobian")
    out = np.empty((40, 4), BF16)
    assert net(x, out=out) is out
    assert_same(out, y, "out")


def test_powers_of_two_and_batches_leave_the_bits(native_engine, rng):
    weights = [normal(rng, 33, 9), normal(rng, 17, 33), normal(rng, 4, 17)]
    net = ReLUNetwork(weights)
    x = normal(rng, 40, 9)
    y = net(x)
    for k in (-20, 3, 20):
        assert_same(net(x * BF16.type(2.0**k)), y * BF16.type(2.0**k), f"2^{k}")
    for row in (0, 7, 39):
        assert_same(net(x[row]), y[row], f"row {row}")
    x[5] = np.nan
    assert_same(np.delete(net(x), 5, axis=0), np.delete(y, 5, axis=0), "beside NaN")


def test_conversions_files_and_pickles(engine, net, rng, tmp_path):
    x = normal(rng, 3, 9)
    wanted = net(x)
    assert_same(pickle.loads(pickle.dumps(net))(x), wanted, "pickle")
    net.save(tmp_path / "net.safetensors")
    assert_same(
        ReLUNetwork.load(tmp_path / "net.safetensors", backend=engine.backend)(x), wanted, ""
    )
    single = net.to(np.float32([0]))
    assert single.dtype == np.float32 and single.precision == "highest"
    assert_same(single.to(x)(x), wanted, "there and back")
    net.set_weights([w * BF16.type(2) for w in net.weights])
    assert_same(net(x), wanted * BF16.type(8), "set_weights")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x, w: homfast.linear(x, w, precision="highest"), ValueError, "precision.*bfloat16"),
        (lambda x, w: homfast.linear_relu(x, w, precision="high"), ValueError, "precision"),
        (lambda x, w: ReLUNetwork([w], precision="high"), ValueError, "precision"),
        (lambda x, w: homfast.linear(x, w.astype(np.float32)), TypeError, "weight.*float32"),
        (lambda x, w: homfast.linear(x.astype(np.float32), w), TypeError, "weight.*bfloat16"),
        (lambda x, w: ReLUNetwork([w])(x.astype(np.float32)), TypeError, "x: got float32"),
        (lambda x, w: ReLUNetwork([w.astype("f4")])(x), TypeError, "x: got bfloat16"),
        (lambda x, w: homfast.linear(x, w, out=np.empty((2, 4), "f4")), TypeError, "out.*float32"),
        (lambda x, w: homfast.measure.Dense(w), TypeError, "bfloat16"),
        (lambda x, w: homfast.fit(ReLUNetwork([w]), [], learning_rate=1.0), TypeError, "bfloat16"),
    ],
)
def test_what_cannot_be_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call(np.ones((2, 3), BF16), np.ones((4, 3), BF16))
