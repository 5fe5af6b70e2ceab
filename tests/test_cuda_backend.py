"""The backend `cuda` on an emulated machine: what it refuses, devices, streams, networks."""

import itertools
import sys

import numpy as np
import oracles
import pytest
from processes import output

from homfast._backends import cuda, device_library, layerwise, reference
from homfast.training import AdamCoefficients

pytest_plugins = ("cuda_device",)

WIDTHS = (9, 40, 17, 33, 5)


def arguments(machine, device=0):
    x, weight = np.ones((3, 4), np.float32), np.ones((2, 4), np.float32)
    return (
        machine.array(x, device),
        machine.array(weight, device),
        machine.empty((3, 2), x.dtype, device),
    )


@pytest.mark.parametrize(
    ("devices", "driver", "reason"),
    [
        (2, 13000, ""),
        (2, 0, "no NVIDIA driver"),
        (2, 12090, "too old: it knows CUDA 12.9"),
        (0, 13000, "no CUDA"),
    ],
)
def test_tells_why_it_is_not_available(emulation, devices, driver, reason):
    emulation.machine(devices, driver)
    assert (cuda.why_unavailable() == "") == (reason == "")
    assert reason in cuda.why_unavailable()
    assert cuda.is_available() == (reason == "")


def test_accepts_arrays_of_a_device_only(emulation):
    assert cuda.accepts(emulation.empty((2,), np.float32))
    assert not cuda.accepts(np.zeros(2))
    torch = pytest.importorskip("torch")
    assert not cuda.accepts(torch.zeros(2, requires_grad=True))


def test_host_memory_is_refused(emulation):
    x, weight, out = arguments(emulation)
    with pytest.raises(TypeError, match=r"^x: wanted an array on a CUDA device"):
        cuda.linear(x.host, weight, out)
    x.host = np.ones((3, 4), np.float32)  # an interface that tells of the host's memory
    with pytest.raises(TypeError, match=r"^x: its memory is on no CUDA device"):
        cuda.linear(x, weight, out)


def test_arrays_on_two_devices_are_refused(emulation):
    x, _, out = arguments(emulation)
    weight = arguments(emulation, 1)[1]
    with pytest.raises(TypeError, match=r"^weight: on device 1, other arrays on 0"):
        cuda.linear(x, weight, out)


def test_other_dtypes_shapes_and_layouts_are_refused(emulation):
    x, weight, out = arguments(emulation)
    with pytest.raises(TypeError, match=r"^x: wrong dtype <f8"):
        cuda.linear(emulation.array(x.host.astype(np.float64)), weight, out)
    with pytest.raises(ValueError, match="shapes do not match"):
        cuda.linear(x, emulation.array(np.ones((2, 5), np.float32)), out)
    with pytest.raises(ValueError, match=r"^weight: wanted a contiguous last axis"):
        cuda.linear(emulation.array(np.ones((3, 2), np.float32)), weight[:, ::2], out)
    out.read_only = True
    with pytest.raises(ValueError, match=r"^out: is read-only"):
        cuda.linear(x, weight, out)
    with pytest.raises(ValueError, match="precision"):
        cuda.linear(x, weight, arguments(emulation)[2], "most")


def test_stream_zero_of_an_interface_is_refused(emulation):
    x, weight, out = arguments(emulation)
    x.stream = 0
    with pytest.raises(ValueError, match="stream 0"):
        cuda.linear(x, weight, out)


def test_runs_on_the_stream_of_the_result_and_waits_for_others(emulation):
    x, weight, out = arguments(emulation)
    cuda.linear(x, weight, out)
    assert emulation.waits() == 0
    x.stream = 64
    cuda.linear(x, weight, out)  # before: for x
    assert emulation.waits() == 1
    out.stream = 64
    cuda.linear(x, weight, out)
    assert emulation.waits() == 0
    weight.stream = out.stream = 96
    cuda.linear(x, weight, out)
    assert emulation.waits() == 1


def test_current_device_is_restored(emulation):
    x, weight, out = arguments(emulation, 1)
    cuda.linear(x, weight, out)
    assert emulation.current_device() == 0
    assert (out.host == 4).all()
    emulation.refuse(1)
    with pytest.raises(RuntimeError):
        cuda.linear(x, weight, out)
    assert emulation.current_device() == 0


def test_errors_are_named_and_the_next_call_works(emulation):
    x, weight, out = arguments(emulation)
    emulation.refuse(1)
    with pytest.raises(emulation.module.CudaError, match="fma_product: cudaErrorEmulated"):
        cuda.linear(x, weight, out)
    emulation.refuse(2)
    with pytest.raises(MemoryError):
        cuda.linear(x, weight, out)
    emulation.refuse(0)
    cuda.linear(x, weight, out)
    assert (out.host == 4).all()


def test_empty_results_launch_nothing(emulation):
    emulation.launches()
    weight = emulation.array(np.ones((2, 4), np.float32))
    cuda.linear(emulation.empty((0, 4), np.float32), weight, emulation.empty((0, 2), np.float32))
    assert emulation.launches() == 0


# Networks ---------------------------------------------------------------------------------------


def networks(machine, rng, dtype, slope):
    """One of small integers, so that every sum is exact: on the device, and the reference."""
    weights = [oracles.integers(rng, (n, m), dtype, 1) for m, n in itertools.pairwise(WIDTHS)]
    layers = [cuda.pack_weight(machine.array(w)) for w in weights]
    return cuda.pack_network(layers, slope), layerwise.LayerwiseNetwork(reference, weights, slope)


@pytest.mark.parametrize("slope", [0.0, 0.5])
@pytest.mark.parametrize("rows", [0, 1, 35])
def test_network(emulation, rng, dtype, slope, rows):
    device, host = networks(emulation, rng, dtype, slope)
    x, u = oracles.integers(rng, (rows, 9), dtype, 3), oracles.integers(rng, (rows, 5), dtype, 3)

    masks = [np.empty((rows, (n + 7) // 8), np.uint8) for n in WIDTHS[1:-1]]
    found_masks = [emulation.empty(m.shape, np.uint8) for m in masks]
    wanted, out = np.empty((rows, 5), dtype), emulation.empty((rows, 5), dtype)
    host.forward(x, masks, [], wanted)
    device.forward(emulation.array(x), found_masks, [], out)
    oracles.assert_same_bits(out.host, wanted, "forward")
    for mask, found in zip(masks, found_masks, strict=True):
        oracles.assert_same_bits(found.host, mask, "mask")

    host.forward_masked(x, masks, wanted)
    device.forward_masked(emulation.array(x), found_masks, out)
    oracles.assert_same_bits(out.host, wanted, "forward_masked")
    back, found = np.empty((rows, 9), dtype), emulation.empty((rows, 9), dtype)
    host.adjoint(u, masks, back)
    device.adjoint(emulation.array(u), found_masks, found)
    oracles.assert_same_bits(found.host, back, "adjoint")

    y, trace = cuda.pack_training(device).trace(emulation.array(x))
    y_wanted, trace_wanted = layerwise.LayerwiseTraining(host).trace(x)
    oracles.assert_same_bits(y.host, y_wanted, "trace")
    grad, grads = trace.pull_back(emulation.array(u), True)
    grad_wanted, grads_wanted = trace_wanted.pull_back(u, True)
    oracles.assert_same_bits(grad.host, grad_wanted, "gradient of the input")
    for first, second in zip(grads, grads_wanted, strict=True):
        oracles.assert_same_bits(first.host, second, "gradient of a weight")
    assert trace.pull_back(emulation.array(u), False)[0] is None
    y, dy = cuda.pack_training(device).jvp(emulation.array(x), emulation.array(x))
    oracles.assert_same_bits(y.host, y_wanted, "jvp")
    oracles.assert_same_bits(dy.host, wanted, "jvp")


@pytest.mark.parametrize("adam", [(), AdamCoefficients(0.01, 0.9, 0.999, 1e-8, 1.0, 0.0, 1.0)])
def test_fit_step(emulation, rng, dtype, adam):
    device, host = networks(emulation, rng, dtype, 0.0)
    x, target = oracles.integers(rng, (6, 9), dtype, 3), oracles.integers(rng, (6, 5), dtype, 3)
    moments = [[np.zeros_like(w) for w in host.layers] for _ in range(2)]
    on_device = [[emulation.array(m) for m in some] for some in moments]
    loss, _ = cuda.pack_training(device).fit_step(
        emulation.array(x), emulation.array(target), adam, 0.125, 0.0, *on_device
    )
    wanted, _ = layerwise.LayerwiseTraining(host).fit_step(x, target, adam, 0.125, 0.0, *moments)
    assert abs(loss - wanted) <= 1e-12 * wanted
    largest = 16 * max(WIDTHS) * np.finfo(dtype).eps
    for layer, weight in zip(device.layers, host.layers, strict=True):
        np.testing.assert_allclose(layer.array.host, weight, rtol=largest, atol=largest)
    before = [layer.array.numpy() for layer in device.layers]
    target[0, 0] = np.inf
    loss, _ = cuda.pack_training(device).fit_step(
        emulation.array(x), emulation.array(target), adam, 0.125, 0.0, *on_device
    )
    assert loss == np.inf
    for layer, weight in zip(device.layers, before, strict=True):
        oracles.assert_same_bits(layer.array.host, weight, "kept where the loss is not finite")


# The extension that was built -------------------------------------------------------------------


def test_extension_imports_without_a_driver():
    """And says why nothing runs: in a process of its own, so that no context lives on here."""
    pytest.importorskip("homfast._cuda", reason="homfast._cuda was not built")
    code = "import homfast._cuda as c, homfast._backends.cuda as b\n"
    code += "print(b.is_available(), len(c.devices()), b.why_unavailable() or 'available')"
    available, count, reason = output(code).split(" ", 2)
    assert (available == "True") == (reason.strip() == "available")
    assert (available == "True") <= (int(count) > 0)
    known = ("available", "no NVIDIA driver", "the NVIDIA driver is too old", "no CUDA device")
    assert reason.startswith((*known, "CUDA does not start"))


def test_libraries_are_found_by_the_array(emulation, monkeypatch):
    array = emulation.empty((2, 2), np.float32)
    library = device_library.library_of(array)
    assert library.stream(array) == 1
    array.stream = 7
    assert library.stream(array) == 7
    assert library.empty((3,), np.uint8, array).shape == (3,)
    torch = pytest.importorskip("torch")
    tensor = torch.zeros(2, dtype=torch.float64)
    assert device_library.dtype_of(tensor) == np.float64
    made = device_library.library_of(tensor).empty((4, 1), np.uint8, tensor)
    assert made.dtype == torch.uint8 and made.shape == (4, 1) and made.device == tensor.device
    uploaded = device_library.library_of(tensor).upload(np.arange(3, dtype=np.uint32), tensor)
    assert uploaded.dtype == torch.int32
    assert "cupy" not in sys.modules, "nothing imports a library that the arrays are not of"
