"""The same tests of the public functions on a card: ``pytest -m gpu``.

What test_device_arrays and test_device_families ask of devices that are not there it asks here of
the first device, with torch tensors and with CuPy arrays, by whichever backend takes them. What
only a card has is below.
"""

import numpy as np
import pytest
from device_libraries import Library
from test_device_arrays import *  # noqa: F403
from test_device_families import *  # noqa: F403

import homfast
from homfast import _backends, measure
from homfast._backends import cuda
from homfast._backends import cupy as cupy_backend

pytest_plugins = ()
pytestmark = pytest.mark.gpu


def on_torch():
    if cuda.why_unavailable():
        pytest.skip(f"backend cuda: {cuda.why_unavailable()}")
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA device")

    def array(host, device=0):
        host = np.array(host)
        half = host.dtype.itemsize == 2
        made = torch.from_numpy(host.view(np.int16) if half else host).to(f"cuda:{device}")
        return made.view(torch.bfloat16) if half else made

    def back(tensor):
        half = tensor.dtype == torch.bfloat16
        found = (tensor.view(torch.int16) if half else tensor).cpu().numpy()
        return found.view(np.uint16) if half else found

    return Library("torch", "cuda", array, back, torch.Tensor, torch.cuda.device_count())


def on_cupy():
    if cuda.why_unavailable() and cupy_backend.why_unavailable():
        pytest.skip(f"{cuda.why_unavailable()}; {cupy_backend.why_unavailable()}")
    cupy = pytest.importorskip("cupy")

    def array(host, device=0):
        with cupy.cuda.Device(device):
            return cupy.array(host)

    name = "cupy" if cuda.why_unavailable() else "cuda"
    count = cupy.cuda.runtime.getDeviceCount()
    return Library("cupy", name, array, cupy.asnumpy, cupy.ndarray, count)


@pytest.fixture(params=["torch", "cupy"])
def device(request, monkeypatch):
    monkeypatch.setattr(_backends, "_automatic_on_gpu", None)
    return {"torch": on_torch, "cupy": on_cupy}[request.param]()


def test_arrays_on_two_devices(device):
    if device.devices < 2:
        pytest.skip("one device")
    x, other = (device.array(np.ones((3, 4), np.float32), i) for i in range(2))
    with pytest.raises(TypeError, match=r"^weight: got an array on GPU 1 beside x on GPU 0"):
        homfast.linear(x, other)
    assert (device.host(homfast.linear(other, other)) == 4).all()


def test_out_of_memory_is_named_and_the_next_call_works(device):
    x = device.array(np.ones((1 << 20, 1), np.float32))
    weight = device.array(np.ones((1 << 20, 1), np.float32))
    with pytest.raises(MemoryError, match=r"shape \(1048576, 1048576\) needs 4096 GiB on GPU 0"):
        homfast.linear(x, weight)
    assert (device.host(homfast.linear(x[:3], weight[:2])) == 1).all()


def test_runs_on_a_stream_of_torch():
    """The result is right where only the stream's own order makes it so."""
    on_torch()
    import torch

    x = torch.ones(4096, 4096, device="cuda")
    weight = torch.ones(16, 4096, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(20):
            x = x @ torch.eye(4096, device="cuda")  # long enough for a wrong stream to be ahead
        y = homfast.linear(x, weight)
        total = y.sum()
    torch.cuda.synchronize()
    assert total.item() == 4096.0 * 4096 * 16


def test_bits_of_seeded_operators_are_those_of_the_cpu(device, rng):
    """Entries are the same, and in `cuda` sums too where the CPU has multiply-adds."""
    x = np.eye(64, dtype=np.float32)
    for op in (measure.Gaussian(20, 64, seed=5), measure.Rademacher(20, 64, seed=5)):
        found = device.host(op(device.array(x)))
        np.testing.assert_array_equal(found, op(x))


def test_homfast_recover_on_the_device(device, tmp_path, monkeypatch, capsys):
    for name in ("PIL", "skimage", "sklearn", "matplotlib"):
        pytest.importorskip(name, reason="needs homfast[demo]")
    from homfast.cli import main

    monkeypatch.chdir(tmp_path)
    assert main(["recover", "--device", "cuda", "--seconds", "2"]) == 0
    assert "to the bit: yes" in capsys.readouterr().out
