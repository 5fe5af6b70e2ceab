"""Products on Hopper's wgmma, on a host model of TMA, swizzle, barriers and descriptors."""

import subprocess
import sys

import numpy as np
import oracles
import pytest
from test_cuda_layers import backward, forward, wanted_forward

from homfast._backends import cuda, reference

pytest_plugins = ("cuda_device",)

# (rows, in_features, out_features): tiles are 128 x 128 or 128 x 256 by 64, on four blocks.
SIZES = [(1, 256, 128), (130, 300, 131), (260, 257, 400)]
PRECISIONS = ["highest", "high", "medium"]


@pytest.fixture
def hopper(emulation):
    emulation.kind(90, 227 << 10)
    emulation.module.use_wgmma(True)
    yield emulation
    emulation.module.use_wgmma(False)


def used(machine, rows, k, n, precision="highest"):
    """Whether a layer takes wgmma, by the scratch it asks for."""
    return machine.module.layer_scratch("linear", rows, k, n, 4, precision) > 4 * (rows + n + 4)


def test_wide_layers_take_it_whatever_the_batch(hopper):
    for rows in (1, 7, 4096):
        assert used(hopper, rows, 256, 128) and used(hopper, rows, 4096, 4096)
        assert not used(hopper, rows, 255, 128) and not used(hopper, rows, 256, 127)
        assert not used(hopper, rows, (1 << 14) + 1, 128)
    hopper.module.use_wgmma(False)
    assert not used(hopper, 7, 4096, 4096)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_exact_integers(hopper, rng, size, precision):
    rows, k, n = size
    assert used(hopper, *size, precision)
    x, weight = (oracles.integers(rng, s, np.float32, 7) for s in ((rows, k), (n, k)))
    z = forward(hopper, "linear", x, weight, precision=precision, stride=3)
    oracles.assert_same_bits(z, x @ weight.T, f"linear {size}")


@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_epilogues_and_gradients(hopper, rng, slope):
    rows, k, n = 70, 300, 261
    x, weight = (oracles.integers(rng, s, np.float32, 7) for s in ((rows, k), (n, k)))
    y, mask = forward(hopper, "linear_relu", x, weight, slope)
    y_wanted, mask_wanted = wanted_forward(x, weight, slope)
    oracles.assert_same_bits(y, y_wanted, "linear_relu")
    oracles.assert_same_bits(mask, mask_wanted, "mask")
    masked = forward(hopper, "linear_masked", x, weight, slope, mask)
    oracles.assert_same_bits(masked, reference.select(mask, x @ weight.T, slope), "linear_masked")
    grad = oracles.integers(rng, (rows, n), np.float32, 7)
    down, across = backward(hopper, grad, x, weight, mask, slope)
    g = reference.select(mask, grad, slope)
    oracles.assert_same_bits(down, g @ weight, "grad_input")
    oracles.assert_same_bits(across, g.T @ x, "grad_weight")


@pytest.mark.parametrize("kind", oracles.KINDS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_componentwise_bound(hopper, rng, kind, precision):
    x, weight = oracles.operands(rng, kind, 33, 320, 129, np.float32)
    extra = {"highest": 0, "high": 2.0**-15, "medium": 2.0**-7 + 2.0**-16}[precision]
    value, bound = oracles.product(x, weight.T, fused=False)
    bound = bound + extra * (np.abs(x.astype(float)) @ np.abs(weight.T.astype(float)))
    found = forward(hopper, "linear", x, weight, precision=precision)
    oracles.assert_within(found, value, bound, precision)


def test_rows_have_the_bits_they_have_alone_in_any_order(hopper, rng):
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in ((270, 257), (140, 257)))
    many = forward(hopper, "linear", x, weight)
    for rows in (slice(0, 1), slice(127, 130)):
        oracles.assert_same_bits(many[rows], forward(hopper, "linear", x[rows], weight), f"{rows}")
    oracles.assert_same_bits(
        forward(hopper, "linear", 2.0**20 * x, weight), np.float32(2.0**20) * many, "scaled"
    )
    for order in (1, 2, 3):
        hopper.order(order)
        oracles.assert_same_bits(forward(hopper, "linear", x, weight), many, f"order {order}")


def test_special_values_stay_in_their_rows(hopper, rng):
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in ((40, 260), (150, 260)))
    clean = forward(hopper, "linear", x, weight)
    x[3, 7], x[5, 0], weight[9, 259] = np.nan, np.inf, np.nan
    found = forward(hopper, "linear", x, weight)
    assert np.isnan(found[3]).all() and np.isnan(found[:, 9]).all()
    touched = np.zeros(found.shape, bool)
    touched[[3, 5]] = touched[:, 9] = True
    oracles.assert_same_bits(found[~touched], clean[~touched], "others")
    assert (found[5, ~touched[0]] == np.sign(weight[~touched[0], 0]) * np.inf).all()


def halves(values):
    out = np.empty(values.shape, np.uint16)
    reference.round_to_bfloat16(values, out)
    return out


@pytest.mark.parametrize("stride", [None, 3, 8])
@pytest.mark.parametrize("relu", [False, True])
def test_bfloat16_without_copies(hopper, rng, stride, relu):
    """Rows that lie where TMA reads them, and others, whose K is not a multiple of 8 either."""
    rows, k, n = (130, 256, 300) if stride == 8 else (70, 259, 131)
    x, weight = (oracles.integers(rng, s, np.float32, 7) for s in ((rows, k), (n, k)))
    operands = [
        hopper.empty(v.shape, np.uint16, row_stride=v.shape[1] + (stride or 0), align=16)
        for v in (x, weight)
    ]
    for operand, values in zip(operands, (x, weight), strict=True):
        operand.host[...] = halves(values)
    wanted, mask_wanted = wanted_forward(x, weight, 0.5) if relu else (x @ weight.T, None)
    mask = hopper.empty((rows, (n + 7) // 8), np.uint8) if relu else None
    for dtype in (np.float32, np.uint16):
        out = hopper.empty((rows, n), dtype)
        assert cuda.linear_bfloat16(*operands, relu, 0.5, out, mask)
        oracles.assert_same_bits(out.host, wanted if dtype == np.float32 else halves(wanted), "out")
        if relu:
            oracles.assert_same_bits(mask.host, mask_wanted, "mask")


def test_bfloat16_special_values_and_refusals(hopper, rng):
    x, weight = (rng.standard_normal(s).astype(np.float32) for s in ((40, 256), (130, 256)))
    x[3, 7], x[5, 0], weight[9, 255] = np.nan, np.inf, np.nan
    out = hopper.empty((40, 130), np.float32)
    operands = [hopper.array(halves(v)) for v in (x, weight)]
    assert cuda.linear_bfloat16(*operands, False, 0.0, out, None)
    found = np.isnan(out.host)
    assert found[3].all() and found[:, 9].all() and found.sum() == 130 + 39
    assert np.isinf(np.delete(out.host[5], 9)).all()
    small = hopper.array(halves(x[:, :64])), hopper.array(halves(weight[:, :64]))
    assert not cuda.linear_bfloat16(*small, False, 0.0, out, None)


def test_other_devices_are_an_error(hopper, rng):
    hopper.kind(80, 163 << 10)
    x, weight = np.ones((3, 256), np.float32), np.ones((128, 256), np.float32)
    with pytest.raises(hopper.module.CudaError, match=r"capability 8.0.*unset"):
        forward(hopper, "linear", x, weight)
    out = forward(hopper, "linear", x[:, :64], weight[:, :64])
    assert (out == 64).all(), "a layer that does not take it"


def test_environment_asks_for_it(monkeypatch):
    for wish, asked in (("", False), ("0", False), ("1", True)):
        monkeypatch.setenv("HOMFAST_CUDA_WGMMA", wish)
        assert cuda.wgmma_asked_for() is asked
    monkeypatch.setenv("HOMFAST_CUDA_WGMMA", "yes")
    with pytest.raises(ValueError, match="HOMFAST_CUDA_WGMMA: got 'yes', wanted 0 or 1"):
        cuda.wgmma_asked_for()


def test_is_off_unless_asked_for(emulation):
    code = "import homfast._backends.cuda as c; print(c.wgmma_asked_for())"
    assert not used(emulation, 7, 4096, 4096)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
