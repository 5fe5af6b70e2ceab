"""The CUDA kernels of layers, run on the host: each thread a fiber (cuda_device)."""

import numpy as np
import oracles
import pytest
from engines import NATIVE_ENGINES

from homfast._backends import cuda, native, reference

pytest_plugins = ("cuda_device",)

# (rows, in_features, out_features): none, one, and off the ends of tiles of 32, 64 and 128 by 16.
SIZES = [
    (0, 3, 4), (3, 0, 4), (4, 3, 0), (1, 1, 1), (2, 5, 9), (7, 16, 8), (33, 17, 31), (32, 32, 32),
    (65, 40, 70), (130, 33, 129), (66, 130, 67),
]  # fmt: skip
SLOPES = [0.0, 0.25]


def on(machine, array, stride=None):
    return machine.array(array, row_stride=stride and array.shape[1] + stride)


def forward(machine, op, x, weight, slope=0.0, mask=None, precision="highest", stride=None):
    """out of an op, and the mask it wrote; arrays have `stride` elements between their rows."""
    arrays = on(machine, x, stride), on(machine, weight, stride)
    shape = x.shape[0], weight.shape[0]
    out = machine.empty(shape, x.dtype, row_stride=stride and shape[1] + stride)
    if op == "linear":
        cuda.linear(*arrays, out, precision)
        return out.numpy()
    if op == "linear_masked":
        cuda.linear_masked(*arrays, on(machine, mask, stride), slope, out, precision)
        return out.numpy()
    bits = machine.empty((shape[0], (shape[1] + 7) // 8), np.uint8)
    cuda.linear_relu(*arrays, slope, out, bits, precision)
    return out.numpy(), bits.numpy()


def backward(machine, grad, x, weight, mask, slope=0.0, precision="highest", stride=None):
    bits = None if mask is None else on(machine, mask, stride)
    down = machine.empty((grad.shape[0], weight.shape[1]), grad.dtype)
    cuda.grad_input(
        on(machine, grad, stride), on(machine, weight, stride), bits, slope, down, precision
    )
    across = machine.empty(weight.shape, grad.dtype)
    cuda.grad_weight(
        on(machine, grad, stride), on(machine, x, stride), bits, slope, across, precision
    )
    return down.numpy(), across.numpy()


def wanted_forward(x, weight, slope):
    out = np.empty((x.shape[0], weight.shape[0]), x.dtype)
    mask = np.empty((x.shape[0], (weight.shape[0] + 7) // 8), np.uint8)
    reference.linear_relu(x, weight, slope, out, mask)
    return out, mask


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_exact_integers(emulation, rng, dtype, size):
    """Rows of some sizes lie apart."""
    rows, k, n = size
    stride = 3 if rows % 2 else None
    x, weight = oracles.integers(rng, (rows, k), dtype), oracles.integers(rng, (n, k), dtype)
    z = forward(emulation, "linear", x, weight, stride=stride)
    oracles.assert_same_bits(z, x @ weight.T, f"linear {size}")
    for slope in SLOPES:
        case = f"{size}, slope {slope}"
        y, mask = forward(emulation, "linear_relu", x, weight, slope, stride=stride)
        y_wanted, mask_wanted = wanted_forward(x, weight, slope)
        oracles.assert_same_bits(y, y_wanted, case)
        oracles.assert_same_bits(mask, mask_wanted, case)
        v = oracles.integers(rng, (rows, k), dtype)
        masked = forward(emulation, "linear_masked", v, weight, slope, mask, stride=stride)
        oracles.assert_same_bits(masked, reference.select(mask, v @ weight.T, slope), case)
        grad = oracles.integers(rng, (rows, n), dtype)
        for bits in (mask, None):
            g = grad if bits is None else reference.select(bits, grad, slope)
            down, across = backward(emulation, grad, x, weight, bits, slope, stride=stride)
            oracles.assert_same_bits(down, g @ weight, case)
            oracles.assert_same_bits(across, g.T @ x, case)


@pytest.mark.parametrize("kind", oracles.KINDS)
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_componentwise_bound(emulation, rng, dtype, kind, precision):
    if dtype == np.float64 and precision != "highest":
        pytest.skip("float64 ignores the precision")
    for rows, k, n in [(5, 7, 9), (35, 300, 33), (70, 70, 65)]:
        x, weight = oracles.operands(rng, kind, rows, k, n, dtype)
        extra = {"highest": 0, "high": 2.0**-15, "medium": 2.0**-7 + 2.0**-16}[precision]

        def compare(actual, left, right, case, extra=extra):
            value, bound = oracles.product(left, right, fused=False)
            if dtype == np.float32:
                bound = bound + extra * (np.abs(left.astype(float)) @ np.abs(right.astype(float)))
            oracles.assert_within(actual, value, bound, case)

        compare(forward(emulation, "linear", x, weight, precision=precision), x, weight.T, "linear")
        grad, _ = oracles.operands(rng, kind, n, rows, 1, dtype)
        grad = np.ascontiguousarray(grad.T)
        down, across = backward(emulation, grad, x, weight, None, precision=precision)
        compare(down, grad, weight, "grad_input")
        compare(across, np.ascontiguousarray(grad.T), x, "grad_weight")


FUSED = [e for e in NATIVE_ENGINES if e.target in ("avx2", "avx512", "neon")]


@pytest.mark.skipif(not FUSED, reason="no native target with multiply-adds to compare with")
def test_multiply_adds_have_the_bits_of_the_processor(emulation, rng):
    """float64 is one chain of multiply-adds an element, as on the CPU with a packed weight."""
    FUSED[0].use()
    x, weight = oracles.operands(rng, "cauchy", 40, 67, 35, np.float64)
    wanted = np.empty((40, 35))
    native.linear(x, native.pack_weight(weight), wanted)
    oracles.assert_same_bits(forward(emulation, "linear", x, weight), wanted, "linear")
    grad = rng.standard_normal((40, 35))
    mask = rng.integers(0, 256, (40, 5), np.uint8)
    down, across = backward(emulation, grad, x, weight, mask, 0.3)
    down_wanted, across_wanted = np.empty_like(down), np.empty_like(across)
    native.grad_input(grad, native.pack_weight(weight), mask, 0.3, down_wanted)
    native.grad_weight(grad, x, mask, 0.3, across_wanted)
    oracles.assert_same_bits(down, down_wanted, "grad_input")
    oracles.assert_same_bits(across, across_wanted, "grad_weight")


def test_row_has_the_bits_it_has_alone(emulation, rng, dtype):
    """Also where the batch chooses other tiles: here, from four large ones on."""
    weight = rng.standard_normal((140, 70)).astype(dtype)
    x = rng.standard_normal((260, 70)).astype(dtype)
    many = forward(emulation, "linear", x, weight)
    for rows in (slice(0, 1), slice(31, 34), slice(250, 260)):
        alone = forward(emulation, "linear", x[rows], weight)
        oracles.assert_same_bits(many[rows], alone, str(rows))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_no_order_of_threads_and_blocks_matters(emulation, rng, dtype, order):
    x, weight = (rng.standard_normal(s).astype(dtype) for s in ((70, 100), (45, 100)))
    grad = rng.standard_normal((70, 45)).astype(dtype)

    def everything():
        y, mask = forward(emulation, "linear_relu", x, weight, 0.5)
        return (y, mask, *backward(emulation, grad, x, weight, mask, 0.5))

    before = everything()
    emulation.order(order)
    for first, second in zip(before, everything(), strict=True):
        oracles.assert_same_bits(first, second, f"order {order}")


def test_weight_gradient_of_many_rows_is_summed_in_fixed_chunks(emulation, rng, dtype):
    """Of 1024 rows here, from the first: the chunk of a layer of one tile."""
    grad, x = (rng.standard_normal((2148, 5)).astype(dtype) for _ in range(2))
    parts = []
    for i in range(0, 2148, 1024):
        part = emulation.empty((5, 5), dtype)
        rows = slice(i, i + 1024)
        cuda.grad_weight(emulation.array(grad[rows]), emulation.array(x[rows]), None, 0.0, part)
        parts.append(part.numpy())
    out = emulation.empty((5, 5), dtype)
    cuda.grad_weight(emulation.array(grad), emulation.array(x), None, 0.0, out)
    oracles.assert_same_bits(out.host, (parts[0] + parts[1]) + parts[2], "chunks")
    value, bound = oracles.product(np.ascontiguousarray(grad.T), x)
    oracles.assert_within(out.host, value, bound, "chunks")


def test_special_values_stay_in_their_rows(emulation, rng, dtype):
    x, weight = (rng.standard_normal(s).astype(dtype) for s in ((37, 90), (21, 90)))
    clean = forward(emulation, "linear", x, weight)
    x[3, 5], x[9, 0], x[20, 89] = np.nan, np.inf, -np.inf
    weight_zero = weight.copy()
    weight_zero[4, 0] = 0.0
    y = forward(emulation, "linear", x, weight_zero)
    others = [i for i in range(37) if i not in (3, 9, 20)]
    untouched = [j for j in range(21) if j != 4]
    oracles.assert_same_bits(
        y[np.ix_(others, untouched)], clean[np.ix_(others, untouched)], "others"
    )
    assert np.isnan(y[3]).all()
    assert np.isnan(y[9, 4]), "0 * inf is NaN"
    with np.errstate(invalid="ignore"):
        assert (y[9, untouched] == np.inf * weight[untouched, 0]).all()
        assert (y[20, untouched] == -np.inf * weight[untouched, 89]).all()
    bad = weight.copy()
    bad[7, 3] = np.nan
    y, mask = forward(emulation, "linear_relu", np.nan_to_num(x, posinf=1, neginf=1), bad)
    assert np.isnan(y[:, 7]).all() and not np.isnan(np.delete(y, 7, axis=1)).any()
    assert oracles.unpack(mask, 21)[:, 7].all(), "the bit is set at NaN"


def test_masking_selects(emulation, rng, dtype):
    grad = np.full((9, 20), np.nan, dtype)
    x, weight = (rng.standard_normal(s).astype(dtype) for s in ((9, 33), (20, 33)))
    down, across = backward(emulation, grad, x, weight, np.zeros((9, 3), np.uint8))
    oracles.assert_same_bits(down, np.zeros_like(down), "masked")
    oracles.assert_same_bits(across, np.zeros_like(across), "masked")


@pytest.mark.parametrize("k", [-30, 20])
def test_scaling_by_powers_of_two(emulation, rng, dtype, k):
    x, weight = (rng.standard_normal(s).astype(dtype) for s in ((35, 90), (40, 90)))
    grad = rng.standard_normal((35, 40)).astype(dtype)
    factor = dtype.type(2.0**k)
    y, mask = forward(emulation, "linear_relu", x, weight)
    scaled, mask_scaled = forward(emulation, "linear_relu", factor * x, weight)
    oracles.assert_same_bits(scaled, factor * y, "forward")
    oracles.assert_same_bits(mask_scaled, mask, "mask")
    down, across = backward(emulation, grad, x, weight, mask)
    down_scaled, across_scaled = backward(emulation, factor * grad, x, weight, mask)
    oracles.assert_same_bits(down_scaled, factor * down, "grad_input")
    oracles.assert_same_bits(across_scaled, factor * across, "grad_weight")


def test_bfloat16(emulation, rng):
    values = rng.standard_normal((5, 77)).astype(np.float32)
    values[0, :4] = np.nan, np.inf, np.finfo(np.float32).max, 1e-40
    wanted, halves = np.empty((5, 77), np.uint16), emulation.empty((5, 77), np.uint16)
    reference.round_to_bfloat16(values, wanted)
    cuda.round_to_bfloat16(emulation.array(values), halves)
    oracles.assert_same_bits(halves.host, wanted, "round")
    wide, out = np.empty((5, 77), np.float32), emulation.empty((5, 77), np.float32)
    reference.widen_bfloat16(wanted, wide)
    cuda.widen_bfloat16(halves, out)
    oracles.assert_same_bits(out.host, wide, "widen")
