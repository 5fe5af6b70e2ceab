"""Public functions on arrays of a CUDA device: values, the caller's library, and refusals by name.

Without a GPU the devices are those of `device_libraries`; `test_device_arrays_gpu.py` asks the same
of a card. Integers make every sum exact, so that the host's own result is the one wanted.
"""

import itertools

import numpy as np
import oracles
import pytest

import homfast
from homfast import measure

pytest_plugins = ("cuda_device", "device_libraries")

SHAPES = [((), 7, 5), ((6,), 9, 17), ((2, 3), 16, 8), ((0,), 4, 3), ((3,), 0, 4), ((3,), 4, 0)]
WIDTHS = (9, 20, 17, 5)


def same(device, found, wanted, what):
    """Bits, and an array of the caller's library."""
    assert isinstance(found, device.kind), f"{what}: got {type(found)}"
    oracles.assert_same_bits(np.asarray(device.host(found)), wanted, what)


def network(device, rng, dtype=np.float32, slope=0.0):
    """One on the host, and the same there."""
    pairs = [device.integers(rng, (n, m), dtype, 1) for m, n in itertools.pairwise(WIDTHS)]
    nets = (homfast.ReLUNetwork([p[i] for p in pairs], negative_slope=slope) for i in range(2))
    return tuple(nets)


# Layers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_layers(device, rng, dtype, shape, slope):
    leading, k, n = shape
    x, x_there = device.integers(rng, (*leading, k), dtype)
    weight, weight_there = device.integers(rng, (n, k), dtype)
    grad, grad_there = device.integers(rng, (*leading, n), dtype)
    same(device, homfast.linear(x_there, weight_there), homfast.linear(x, weight), "linear")
    y, mask = homfast.linear_relu(x, weight, negative_slope=slope, return_mask=True)
    found = homfast.linear_relu(x_there, weight_there, negative_slope=slope, return_mask=True)
    same(device, found[0], y, "linear_relu")
    same(device, found[1], mask, "mask")
    wanted = homfast.linear_relu_backward(grad, x, weight, mask, negative_slope=slope)
    back = homfast.linear_relu_backward(
        grad_there, x_there, weight_there, found[1], negative_slope=slope
    )
    for one, other in zip(back, wanted, strict=True):
        same(device, one, other, "backward")
    assert homfast.linear_relu_backward(grad_there, None, weight_there, None)[1] is None
    assert homfast.linear_relu_backward(grad_there, x_there, None, None)[0] is None


def test_layouts_of_rows(device, rng):
    """Strided rows are read, transposed ones copied; both give the values."""
    x, there = device.integers(rng, (8, 12))
    weight, weight_there = device.integers(rng, (5, 6))
    for cut in ((slice(None), slice(0, 6)), (slice(None, None, 2), slice(3, 9))):
        found = homfast.linear(there[cut], weight_there)
        same(device, found, homfast.linear(x[cut], weight), str(cut))
    every_second = (slice(None), slice(0, 12, 2))
    found = homfast.linear(there[every_second], weight_there)
    same(device, found, homfast.linear(x[every_second], weight), "every second column")


def test_out(device, rng):
    """Also where it overlaps an input of several tiles, of which one would read what one wrote."""
    x, there = device.integers(rng, (2, 3, 140))
    weight, weight_there = device.integers(rng, (140, 140))
    wanted = homfast.linear(x, weight)
    out = device.array(np.full((2, 3, 140), np.nan, np.float32))
    assert homfast.linear(there, weight_there, out=out) is out
    same(device, out, wanted, "out")
    assert homfast.linear(there, weight_there, out=there) is there
    same(device, there, wanted, "out that is x")
    square = device.array(weight)
    assert homfast.linear(square, weight_there, out=square) is square
    same(device, square, homfast.linear(weight, weight), "out that is x, two axes")


def test_out_of_other_layouts(device, rng):
    """Rows apart are written in place, other columns through a buffer; what lies between stays."""
    x, there = device.integers(rng, (4, 6))
    weight, weight_there = device.integers(rng, (5, 6))
    wanted = homfast.linear(x, weight)
    for cut in ((slice(None), slice(0, 5)), (slice(None), slice(1, 11, 2))):
        whole = device.array(np.full((4, 12), 7, np.float32))
        expected = np.full((4, 12), 7, np.float32)
        expected[cut] = wanted
        homfast.linear(there, weight_there, out=whole[cut])
        same(device, whole, expected, str(cut))
    deep = device.array(np.full((2, 2, 10), 7, np.float32))
    expected = np.full((2, 2, 10), 7, np.float32)
    expected[:, :, :5] = wanted.reshape(2, 2, 5)
    found = device.array(x.reshape(2, 2, 6))
    homfast.linear(found, weight_there, out=deep[:, :, :5])
    same(device, deep, expected, "three axes")


def test_bfloat16(device, rng):
    if device.name != "torch":
        pytest.skip("bfloat16 of torch tensors only: the other fakes have none")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x, weight = (rng.integers(-3, 4, s).astype(ml_dtypes.bfloat16) for s in ((4, 6), (5, 6)))
    wanted = homfast.linear(x, weight).view(np.uint16)
    found = homfast.linear(device.array(x), device.array(weight))
    same(device, found, wanted, "bfloat16")
    net = homfast.ReLUNetwork([device.array(weight)])
    same(device, net(device.array(x)), wanted, "network")
    assert "bfloat16" in str(net.dtype)
    grads = homfast.linear_relu_backward(found, device.array(x), device.array(weight), None)
    wide = homfast.linear_relu_backward(wanted.view(ml_dtypes.bfloat16), x, weight, None)
    for one, other in zip(grads, wide, strict=True):
        same(device, one, other.view(np.uint16), "backward")


def test_the_named_backend_computes(device, rng):
    x, there = device.integers(rng, (3, 4))
    same(device, homfast.linear(there, there, backend=device.backend), x @ x.T, "by name")
    if isinstance(there, np.ndarray):
        return  # the fake of CuPy: the real one's arrays are not NumPy's
    with pytest.raises(TypeError, match=r"'native' does not take .*; wanted an array on the CPU"):
        homfast.linear(there, there, backend="native")


# Networks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [0.0, 0.25])
@pytest.mark.parametrize("leading", [(), (0,), (4,), (2, 3)], ids=str)
def test_network(device, rng, dtype, slope, leading):
    host, there = network(device, rng, dtype, slope)
    x, x_there = device.integers(rng, (*leading, WIDTHS[0]), dtype)
    u, u_there = device.integers(rng, (*leading, WIDTHS[-1]), dtype)
    same(device, there(x_there), host(x), "forward")
    y, vjp = there.vjp(x_there)
    wanted, wanted_vjp = host.vjp(x)
    same(device, y, wanted, "vjp's y")
    grad, grads = vjp(u_there)
    wanted_grad, wanted_grads = wanted_vjp(u)
    same(device, grad, wanted_grad, "grad_input")
    for one, other in zip(grads, wanted_grads, strict=True):
        same(device, one, other, "grad_weight")
    for one, other in zip(there.jvp(x_there, x_there), host.jvp(x, x), strict=True):
        same(device, one, other, "jvp")
    J, wanted_J = there.linearize(x_there), host.linearize(x)
    same(device, J.output, wanted_J.output, "linearize")
    same(device, J.forward(x_there), wanted_J.forward(x), "J v")
    same(device, J.adjoint(u_there), wanted_J.adjoint(u), "J^T u")
    same(device, there.jacobian(x_there), host.jacobian(x), "jacobian")


def test_linearize_at_one_point_takes_many_directions(device, rng):
    host, there = network(device, rng)
    x, x_there = device.integers(rng, (WIDTHS[0],))
    v, v_there = device.integers(rng, (5, WIDTHS[0]))
    wanted = host.linearize(x).forward(v)
    same(device, there.linearize(x_there).forward(v_there), wanted, "J v")


def test_vjp_keeps_what_it_saw(device, rng):
    host, there = network(device, rng)
    x, x_there = device.integers(rng, (4, WIDTHS[0]))
    u, u_there = device.integers(rng, (4, WIDTHS[-1]))
    vjp = there.vjp(x_there)[1]
    homfast.linear(x_there, device.array(np.zeros((9, 9), np.float32)), out=x_there)
    for one, other in zip(vjp(u_there)[1], host.vjp(x)[1](u)[1], strict=True):
        same(device, one, other, "after x was written to")


def test_weights_go_there_and_back(device, rng):
    host, there = network(device, rng)
    like = device.array(np.zeros(1, np.float32))
    moved = host.to(like)
    for one, other, weight in zip(moved.weights, there.weights, host.weights, strict=True):
        same(device, one, weight, "to a device")
        same(device, other, weight, "weights")
    back = moved.to(np.zeros(1, np.float64))
    for one, weight in zip(back.weights, host.weights, strict=True):
        oracles.assert_same_bits(one, weight.astype(np.float64), "back")
    x, x_there = device.integers(rng, (3, WIDTHS[0]))
    vjp = moved.vjp(x_there)[1]
    moved.set_weights([device.array(-w) for w in host.weights])
    other = homfast.ReLUNetwork([-w for w in host.weights])
    same(device, moved(x_there), other(x), "set_weights")
    with pytest.raises(RuntimeError, match="weights of the network changed"):
        vjp(moved(x_there))
    same(device, there(x_there), host(x), "weights were copied")


def test_network_is_saved_and_copied(device, rng, tmp_path):
    pytest.importorskip("safetensors")
    host, there = network(device, rng)
    there.save(tmp_path / "net.safetensors")
    loaded = homfast.ReLUNetwork.load(tmp_path / "net.safetensors")
    for one, other in zip(loaded.weights, host.weights, strict=True):
        oracles.assert_same_bits(one, other, "saved")


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_fit(device, rng, dtype, optimizer):
    host, there = network(device, rng, dtype)
    batches = [
        (rng.standard_normal((6, 9)).astype(dtype), rng.standard_normal((6, 5)).astype(dtype))
        for _ in range(4)
    ]
    on_device = [tuple(map(device.array, pair)) for pair in batches]
    options = {"optimizer": optimizer, "learning_rate": 1e-3, "weight_decay": 0.01}
    wanted = homfast.fit(host, batches, **options)
    found = homfast.fit(there, on_device[:2], **options)
    again = homfast.fit(there, on_device[2:], optimizer_state=found.optimizer_state, **options)
    losses = np.concatenate([found.loss, again.loss])
    np.testing.assert_allclose(losses, wanted.loss, rtol=1e-5)
    for one, other in zip(there.weights, host.weights, strict=True):
        np.testing.assert_allclose(device.host(one), other, rtol=1e-4, atol=1e-5)
    for moment in found.optimizer_state.get("first_moment", []):
        assert isinstance(moment, device.kind)
    assert found.optimizer_state["step"] == 2  # resuming changed a copy


def test_a_loss_that_is_not_finite_changes_nothing(device, rng):
    _, there = network(device, rng)
    before = [np.array(device.host(w)) for w in there.weights]
    target = np.full((3, 5), np.inf, np.float32)
    batch = device.array(np.ones((3, 9), np.float32)), device.array(target)
    with pytest.raises(FloatingPointError, match="the loss is inf at step 0"):
        homfast.fit(there, [batch], learning_rate=0.1)
    for one, other in zip(there.weights, before, strict=True):
        same(device, one, other, "weights")


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_an_update_that_overflows_is_an_error(device, rng, dtype, optimizer):
    _, there = network(device, rng, dtype)
    x, target = (device.array(1e6 * rng.standard_normal((6, n)).astype(dtype)) for n in (9, 5))
    huge = float(np.finfo(dtype).max)
    with pytest.raises(FloatingPointError, match="update of step 0; "), np.errstate(all="ignore"):
        homfast.fit(there, [(x, target)], optimizer=optimizer, learning_rate=huge)


@pytest.mark.parametrize("place", [(0, 0), (7, 0), (32, 8)])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_one_weight_that_overflows_is_found_at_its_step(device, rng, dtype, optimizer, place):
    """No loss shows a unit that minus infinity turns off."""
    first = np.zeros((33, 9), dtype)
    first[place] = -np.inf
    weights = device.array(first), device.array(np.zeros((4, 33), dtype))
    there = homfast.ReLUNetwork(weights)
    batch = device.array(np.ones((3, 9), dtype)), device.array(np.zeros((3, 4), dtype))
    with pytest.raises(FloatingPointError, match="update of step 0; "), np.errstate(all="ignore"):
        homfast.fit(there, [batch] * 3, optimizer=optimizer, learning_rate=1e-2)


def test_a_second_moment_that_overflows_is_an_error(device, dtype):
    """Its weight would never move again, and no loss would tell."""
    there = homfast.ReLUNetwork([device.array(np.eye(4, 9, dtype=dtype))])
    scale = dtype.type(np.sqrt(np.finfo(dtype).max) / 16)
    batch = device.array(np.full((6, 9), scale)), device.array(np.zeros((6, 4), dtype))
    with pytest.raises(FloatingPointError, match="update of step 0; "), np.errstate(all="ignore"):
        homfast.fit(there, [batch], learning_rate=1e-3)


# Operators ---------------------------------------------------------------------------------------

OPERATORS = {
    "gaussian": lambda dtype: measure.Gaussian(13, 40, seed=3, dtype=dtype),
    "gaussian stored": lambda dtype: measure.Gaussian(13, 40, seed=3, dtype=dtype, store=True),
    "gaussian rows": lambda dtype: measure.Gaussian(13, 40, seed=3, dtype=dtype).rows(2, 9),
    "rademacher": lambda dtype: measure.Rademacher(13, 40, seed=3, dtype=dtype),
    "hadamard": lambda dtype: measure.Hadamard(13, 40, seed=3, dtype=dtype),
    "sparse": lambda dtype: measure.SparseSign(13, 40, seed=3, dtype=dtype),
    "sparse rows": lambda dtype: measure.SparseSign(13, 40, seed=3, dtype=dtype).rows(2, 9),
    "scaled": lambda dtype: -0.5 * measure.Rademacher(13, 40, seed=3, dtype=dtype),
    "composed": lambda dtype: (
        measure.Gaussian(5, 13, seed=4, dtype=dtype) @ measure.Hadamard(13, 40, seed=3, dtype=dtype)
    ),
    "sum": lambda dtype: (
        measure.Gaussian(13, 40, seed=3, dtype=dtype)
        + 0.5 * measure.Rademacher(13, 40, seed=4, dtype=dtype)
    ),
    "kronecker": lambda dtype: measure.Kronecker(
        measure.Gaussian(3, 5, seed=3, dtype=dtype), measure.Hadamard(4, 8, seed=4, dtype=dtype)
    ),
    "stacked": lambda dtype: measure.VStack(
        [
            measure.Gaussian(5, 40, seed=3, dtype=dtype),
            measure.Hadamard(7, 40, seed=3, dtype=dtype).rows(0, 0),
            measure.SparseSign(9, 40, seed=3, dtype=dtype),
        ]
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(device, rng, dtype, name):
    op = OPERATORS[name](dtype)
    m, n = op.shape
    close = {"rtol": 1e-4 if dtype == np.float32 else 1e-12, "atol": 1e-4}
    for leading in ((), (0,), (3,), (2, 2)):
        x, x_there = device.integers(rng, (*leading, n), dtype)
        y, y_there = device.integers(rng, (*leading, m), dtype)
        pairs = [
            (op(x_there), op(x)),
            (op.adjoint(y_there), op.adjoint(y)),
            (op.gram(x_there), op.gram(x)),
            (op.H(y_there), op.H(y)),
        ]
        for found, wanted in pairs:
            assert isinstance(found, device.kind)
            np.testing.assert_allclose(device.host(found), wanted, **close)
    x, x_there = device.integers(rng, (n,), dtype)
    np.testing.assert_allclose(device.host(op.matvec(x_there)), op.matvec(x), **close)
    out = device.array(np.full((2, m), np.nan, dtype))
    x, x_there = device.integers(rng, (2, n), dtype)
    assert op.forward(x_there, out=out) is out
    np.testing.assert_allclose(device.host(out), op(x), **close)


def test_dense_is_where_its_matrix_is(device, rng, dtype):
    matrix, there = device.integers(rng, (6, 9), dtype)
    x, x_there = device.integers(rng, (4, 9), dtype)
    op = measure.Dense(there)
    same(device, op(x_there), x @ matrix.T, "forward")
    same(device, op.adjoint(op(x_there)), x @ matrix.T @ matrix, "adjoint")
    same(device, op.to_dense(), matrix, "to_dense")
    same(device, op.rows(1, 3)(x_there), x @ matrix[1:3].T, "rows")
    assert op == measure.Dense(there) and op != measure.Dense(matrix)
    with pytest.raises(TypeError, match=r"on the CPU for a Dense whose matrix is on .*move it"):
        op(x)
    with pytest.raises(TypeError, match=r"^matrix: got a numpy\.ndarray on the CPU beside"):
        measure.Dense(matrix)(x_there)


def test_kronecker_of_matrices_there(device, rng, dtype):
    (a, a_there), (b, b_there) = (device.integers(rng, s, dtype) for s in ((3, 5), (4, 2)))
    x, x_there = device.integers(rng, (6, 10), dtype)
    op, there = measure.Kronecker(a, b), measure.Kronecker(a_there, b_there)
    same(device, there(x_there), op(x), "forward")
    same(device, there.adjoint(there(x_there)), op.gram(x), "adjoint")
    with pytest.raises(TypeError, match=r"^matrix: got a numpy\.ndarray on the CPU beside"):
        op(x_there)


@pytest.mark.parametrize("kind", [measure.Magnitude, measure.Intensity])
def test_modulus(device, rng, dtype, kind):
    matrix, there = device.integers(rng, (6, 9), dtype)
    x, x_there = device.integers(rng, (4, 9), dtype)
    g, g_there = device.integers(rng, (4, 6), dtype)
    y, vjp = kind(measure.Dense(there)).vjp(x_there)
    wanted, wanted_vjp = kind(measure.Dense(matrix)).vjp(x)
    same(device, y, wanted, "values")
    same(device, kind(measure.Dense(there))(x_there), wanted, "forward")
    same(device, vjp(g_there), wanted_vjp(g), "gradient")


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int32])
def test_walsh_hadamard(device, rng, kind):
    x, there = device.integers(rng, (2, 3, 64), kind, 100)
    same(device, measure.walsh_hadamard(there), measure.walsh_hadamard(x), "new")
    assert measure.walsh_hadamard(there, out=there) is there
    same(device, there, measure.walsh_hadamard(x), "in place")


class Generic(measure.Operator):
    """A family of somebody else's, with products on the CPU alone."""

    def _forward_rows(self, rows, out):
        out[...] = rows[:, : self.shape[0]]

    def _adjoint_rows(self, rows, out):
        out[...] = 0
        out[:, : self.shape[0]] = rows


@pytest.mark.parametrize("op", [Generic((4, 8), np.float32), 2 * Generic((4, 8), np.float32).H.H])
def test_operators_without_products_on_a_device_say_so(device, op):
    x = device.array(np.ones((1, 8), np.float32))
    with pytest.raises(TypeError, match=r"for a Generic of float32, but backend .*move"):
        op(x)
    assert np.isfinite(op(np.ones((1, 8), np.float32))).all()  # the next call works


def test_solvers_and_columns_take_the_cpu(device):
    op, x = measure.Gaussian(4, 8), device.array(np.ones((8, 2), np.float32))
    with pytest.raises(TypeError, match=r"^X: got .*takes the CPU's only.*move"):
        op @ x
    with pytest.raises(TypeError, match=r"^y: .*move "):
        measure.solvers.fista(op, device.array(np.ones(4, np.float32)), regularization=0.1)


# Refusals ----------------------------------------------------------------------------------------


def test_host_and_device_mixed(device, rng):
    x, there = device.integers(rng, (3, 4))
    calls = {
        "weight": lambda: homfast.linear(there, x),
        "x": lambda: homfast.linear(x, there),
        "out": lambda: homfast.linear(there, there, out=np.empty((3, 3), np.float32)),
        "grad_output": lambda: homfast.linear_relu_backward(x, there, None, None),
        "mask": lambda: homfast.linear_relu_backward(
            there, None, there, np.zeros((3, 1), np.uint8)
        ),
        r"weights\[1\]": lambda: homfast.ReLUNetwork([there, np.ones((2, 3), np.float32)]),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=rf"^{name}: got a numpy\.ndarray on the CPU .*move it"):
            call()
    same(device, homfast.linear(there, there), x @ x.T, "the next call")


def test_a_network_and_its_input_in_two_places(device, rng):
    host, there = network(device, rng)
    x, x_there = device.integers(rng, (3, WIDTHS[0]))
    if not isinstance(x_there, np.ndarray):  # as the fake of CuPy is
        with pytest.raises(TypeError, match=r"^x: got .* on a (device|GPU).*move it"):
            host(x_there)
    with pytest.raises(TypeError, match=r"^x: got a numpy\.ndarray on the CPU .*move it"):
        there(x)
    with pytest.raises(TypeError, match=r"^weights: got arrays on the CPU for a network on a GPU"):
        there.set_weights(host.weights)
    with pytest.raises(TypeError, match=r"^input: .*move it"):
        homfast.fit(there, [(x, x)], learning_rate=0.1)
    same(device, there(x_there), host(x), "the next call")


def test_a_host_array_with_a_backend_of_gpus(device):
    x = np.ones((3, 4), np.float32)
    wanted = rf"^backend: '{device.backend}' does not take a numpy.* on the CPU; .* a GPU; move"
    with pytest.raises(TypeError, match=wanted):
        homfast.linear(x, x, backend=device.backend)
    with pytest.raises(TypeError, match=wanted):
        homfast.ReLUNetwork([x], backend=device.backend)


def test_dtypes_and_shapes(device, rng):
    x = device.array(np.ones((3, 4), np.float32))
    with pytest.raises(TypeError, match=r"^weight: got float64 beside x of float32"):
        homfast.linear(x, device.array(np.ones((3, 4))))
    with pytest.raises(TypeError, match=r"^x: got dtype int32, wanted float32, float64 or bfloat"):
        homfast.linear(device.array(np.ones((3, 4), np.int32)), x)
    with pytest.raises(ValueError, match=r"^x: got shape \(3, 4\), wanted \(\.\.\., 3\)"):
        homfast.linear(x, device.array(np.ones((4, 3), np.float32)))
    with pytest.raises(ValueError, match=r"^out: got shape \(2, 3\), wanted \(3, 3\)"):
        homfast.linear(x, x, out=device.array(np.ones((2, 3), np.float32)))
    with pytest.raises(TypeError, match=r"^out: got dtype float64"):
        homfast.linear(x, x, out=device.array(np.ones((3, 3))))
    with pytest.raises(TypeError, match=r"^x: got float32, wanted float64, the dtype of the op"):
        measure.Gaussian(2, 4, dtype=np.float64)(x)
    with pytest.raises(ValueError, match="n a power of two"):
        measure.walsh_hadamard(device.array(np.ones((3, 5), np.float32)))
