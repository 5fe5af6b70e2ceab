"""The `cupy` backend on a GPU: every op against the reference, streams, devices."""

import cupy_comparisons
import numpy as np
import pytest
from oracles import assert_same_bits

from homfast import _backends
from homfast._backends import cupy as backend

pytestmark = pytest.mark.gpu

if not backend.is_available():
    pytest.skip(f"nothing ran on cupy: {backend.why_unavailable()}", allow_module_level=True)

xp = backend.array_module()


@pytest.mark.parametrize("comparison", cupy_comparisons.ALL, ids=lambda c: c.__name__)
def test_on_the_gpu(dtype, rng, comparison):
    comparison(backend, xp.asarray, xp.asnumpy, dtype, rng)


@pytest.mark.parametrize("comparison", cupy_comparisons.ALL, ids=lambda c: c.__name__)
def test_on_a_stream_of_the_callers(dtype, rng, comparison):
    with xp.cuda.Stream(non_blocking=True) as stream:
        comparison(backend, xp.asarray, xp.asnumpy, dtype, rng)
        assert xp.cuda.get_current_stream() == stream


def test_the_current_device_stays(dtype):
    before = xp.cuda.runtime.getDevice()
    for device in range(xp.cuda.runtime.getDeviceCount()):
        with xp.cuda.Device(device):
            x, out = xp.ones((5, 7), dtype), xp.empty((5, 5), dtype)
        backend.linear(x, x, out)
        assert (xp.asnumpy(out) == 7).all()
        assert out.device.id == device and xp.cuda.runtime.getDevice() == before


def test_runs_repeat(dtype, rng):
    x = xp.asarray(rng.standard_normal((300, 257)).astype(dtype))
    weight = xp.asarray(rng.standard_normal((129, 257)).astype(dtype))
    results = []
    for _ in range(3):
        out, mask = xp.empty((300, 129), dtype), xp.empty((300, 17), np.uint8)
        backend.linear_relu(x, weight, 0.1, out, mask)
        results.append((xp.asnumpy(out), xp.asnumpy(mask)))
    for out, mask in results[1:]:
        assert_same_bits(out, results[0][0], f"{dtype} run to run")
        assert_same_bits(mask, results[0][1], f"{dtype} run to run")


def test_gpu_arrays_are_resolved_to_a_backend_of_gpus():
    chosen = _backends.resolve(None, xp.ones(3))
    assert chosen.name in _backends.GPU_NAMES
    assert _backends.resolve("cupy", xp.ones(3)) is backend
    with pytest.raises(TypeError, match=r"'cupy' does not take a numpy\.ndarray on the CPU"):
        _backends.resolve("cupy", np.ones(3))
