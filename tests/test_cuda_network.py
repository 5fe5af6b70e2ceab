"""Narrow networks in one kernel on an emulated machine: to the bit what one call a layer gives."""

import itertools

import numpy as np
import oracles
import pytest

from homfast._backends import cuda
from homfast._backends.layerwise import LayerwiseNetwork

pytest_plugins = ("cuda_device",)

# Sums of less than 64 terms are multiply-adds, others the matrix unit's.
WIDTHS = [(1, 1), (70, 40, 66, 3), (64, 100, 72, 64, 10), (31, 33, 1, 65, 64)]


def make(machine, widths, rows, dtype, precision="highest", slope=0.25, seed=0):
    """The network on the device with one kernel, and layer by layer; an input for both."""
    rng = np.random.default_rng(seed)
    weights = [
        machine.array(rng.standard_normal((n, k)).astype(dtype), row_stride=k + 3)
        for k, n in itertools.pairwise(widths)
    ]
    layers = [cuda.pack_weight(w, precision) for w in weights]
    x = machine.array(rng.standard_normal((rows, widths[0])).astype(dtype))
    one = cuda.pack_network(layers, slope)
    by_layer = LayerwiseNetwork(cuda, layers, slope)
    by_layer.rows = one.rows
    return one, by_layer, x


def run(machine, network, widths, x, keep=True):
    """What forward writes, on the host: masks, hidden activations, the result; and the launches."""
    rows, inner = x.shape[0], widths[1:-1] if keep else ()
    masks = [machine.empty((rows, (n + 7) // 8), np.uint8) for n in inner]
    hidden = [machine.empty((rows, n), x.dtype) for n in inner]
    out = machine.empty((rows, widths[-1]), x.dtype)
    machine.launches()
    network.forward(x, masks, hidden, out)
    return [a.numpy() for a in (*masks, *hidden, out)], machine.launches()


def assert_same(found, wanted, case):
    for index, (first, second) in enumerate(zip(found, wanted, strict=True)):
        oracles.assert_same_bits(first, second, f"{case}, array {index}")


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("slope", [0.0, 0.25])
def test_has_the_bits_of_one_call_a_layer(emulation, dtype, widths, slope):
    one, by_layer, x = make(emulation, widths, 37, dtype, slope=slope)
    found, launches = run(emulation, one, widths, x)
    assert launches == 1
    assert_same(found, run(emulation, by_layer, widths, x)[0], f"{widths}")
    assert_same(run(emulation, one, widths, x, keep=False)[0], found[-1:], "nothing kept")


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_precisions(emulation, precision):
    widths = (64, 96, 80, 5)
    one, by_layer, x = make(emulation, widths, 20, np.float32, precision)
    found, launches = run(emulation, one, widths, x)
    assert launches == 1
    assert_same(found, run(emulation, by_layer, widths, x)[0], precision)


def test_width_of_256(emulation):
    widths = (256, 256, 9)
    one, by_layer, x = make(emulation, widths, 17, np.float32, "medium")
    found, launches = run(emulation, one, widths, x)
    assert launches == 1
    assert_same(found, run(emulation, by_layer, widths, x)[0], "256")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e-42, 3e38])
def test_special_values(emulation, dtype, value):
    """In the input, and in a weight of the unit."""
    widths = (70, 66, 65, 4)
    one, by_layer, x = make(emulation, widths, 21, dtype)
    x.host[3, 5] = x.host[18, 69] = value
    found, _ = run(emulation, one, widths, x)
    assert_same(found, run(emulation, by_layer, widths, x)[0], f"{value} in the input")
    assert np.isfinite(found[-1][4:18]).all()
    one.layers[1].array.host[7, 2] = value
    found, wanted = (run(emulation, network, widths, x)[0] for network in (one, by_layer))
    assert_same(found, wanted, f"{value} in both")


def test_blocks_go_on_to_other_rows(emulation, dtype):
    """Four multiprocessors of at most 2 blocks of 8 warps with 16 rows: 1024 rows at a time."""
    widths = (3, 5, 2)
    one, by_layer, x = make(emulation, widths, 1100, dtype)
    found, _ = run(emulation, one, widths, x)
    assert_same(found, run(emulation, by_layer, widths, x)[0], "many rows")
    for rows in (slice(0, 1), slice(1023, 1026)):
        assert_same(run(emulation, one, widths, x[rows])[0], [a[rows] for a in found], f"{rows}")


@pytest.mark.parametrize("order", [1, 2, 3])
def test_no_order_of_threads_and_blocks_matters(emulation, order):
    widths = (70, 40, 66, 3)
    one, _, x = make(emulation, widths, 37, np.float32)
    before, _ = run(emulation, one, widths, x)
    emulation.order(order)
    assert_same(run(emulation, one, widths, x)[0], before, f"order {order}")


def test_what_does_not_fit_goes_layer_by_layer(emulation):
    def launches(widths, dtype=np.float32, precision="highest"):
        one, _, x = make(emulation, widths, 3, dtype, precision)
        return run(emulation, one, widths, x, keep=False)[1]

    assert launches((64, 128, 128, 10)) == 1
    assert launches((128, 128, 128)) > 1, "193 KiB of planes"
    assert launches((8, 257, 8)) > 1, "wide"
    assert launches((8,) * 18) == 17, "many layers"
    assert launches((256, 256)) > 1, "384 KiB of planes"
    assert launches((256, 256), precision="medium") == 1
    emulation.kind(80, 99 << 10)
    assert launches((128, 128)) > 1, "96 KiB of planes and no room for two warps"
    assert launches((96, 96)) == 1


def test_layers_of_two_precisions_go_layer_by_layer(emulation):
    one, _, x = make(emulation, (8, 9, 4), 3, np.float32)
    one.layers[0].precision = "high"
    assert run(emulation, one, (8, 9, 4), x, keep=False)[1] == 2


def test_errors_of_shapes(emulation):
    one, _, x = make(emulation, (8, 9, 4), 3, np.float32)
    weights = [layer.array for layer in one.layers]
    out, mask = emulation.empty((3, 4), np.float32), emulation.empty((3, 2), np.uint8)

    def call(x, weights, masks, hidden, out):
        emulation.module.network_forward(x, weights, 0.0, masks, hidden, out, "highest", 1)

    with pytest.raises(ValueError, match="shapes do not chain"):
        call(x, weights[::-1], [], [], out)
    with pytest.raises(ValueError, match="one a hidden layer"):
        call(x, weights, [mask, mask], [], out)
    with pytest.raises(ValueError, match="mask: shape"):
        call(x, weights, [emulation.empty((3, 1), np.uint8)], [], out)
    with pytest.raises(ValueError, match="hidden: shape"):
        call(x, weights, [], [out], out)
    with pytest.raises(ValueError, match="out: shape"):
        call(x, weights, [], [], emulation.empty((3, 5), np.float32))
