"""Arrays of three libraries on devices that are not there, for the public functions.

`standard` is the emulated machine's own array, which knows the array API standard and no more.
`torch` are CPU tensors that say they were CUDA's; the emulated machine takes all memory for its
own. Both are computed by the backend `cuda`. `cupy` is NumPy in the place of CuPy, g++ in that of
NVRTC, computed by the backend `cupy`.
"""

from __future__ import annotations

import contextlib
import sys
import types

import host_cupy
import numpy as np
import pytest

from homfast import _backends
from homfast._backends import cuda
from homfast._backends import cupy as cupy_backend


class Library:
    """What tests ask of a library: arrays there and back."""

    def __init__(self, name, backend, array, host, kind, devices=1):
        self.name, self.backend, self.kind, self.devices = name, backend, kind, devices
        self.array, self.host = array, host

    def integers(self, rng, shape, dtype=np.float32, most=3):
        """Small integers, whose sums are exact: on the host, and here."""
        host = rng.integers(-most, most + 1, shape).astype(dtype)
        return host, self.array(host)


def standard(machine):
    from cuda_device import DeviceArray

    return Library(
        "standard", "cuda", machine.array, lambda array: array.numpy(), DeviceArray, devices=2
    )


def torch_as_cuda(machine, monkeypatch):
    """CPU tensors impersonate those of CUDA."""
    torch = pytest.importorskip("torch")
    from homfast.torch import short_way

    machine.adopt(1)

    def interface(tensor):
        steps = tuple(s * tensor.element_size() for s in tensor.stride())
        names = {torch.float32: "<f4", torch.float64: "<f8", torch.uint8: "|u1"}
        names |= {torch.complex64: "<c8", torch.complex128: "<c16"}
        names |= {torch.int16: "<i2", torch.int32: "<i4", torch.int64: "<i8"}
        if tensor.dtype not in names:
            raise TypeError(f"no name for {tensor.dtype}")
        return {
            "shape": tuple(tensor.shape), "typestr": names[tensor.dtype], "version": 2,
            "data": (tensor.data_ptr() if tensor.numel() else 0, False),
            "strides": None if tensor.is_contiguous() else steps,
        }  # fmt: skip

    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda tensor: True))
    monkeypatch.setattr(torch.Tensor, "is_cpu", property(lambda tensor: False))
    monkeypatch.setattr(torch.Tensor, "__cuda_array_interface__", property(interface))
    monkeypatch.setattr(torch.Tensor, "__dlpack_device__", lambda tensor: (2, 0))
    monkeypatch.setattr(short_way, "EXCHANGE", None)  # whose table would say that it is host memory
    stream = types.SimpleNamespace(cuda_stream=64)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)

    def array(host, device=0):
        host = np.array(host)
        if host.dtype.itemsize == 2:
            return torch.from_numpy(host.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(host)

    def back(tensor):
        half = tensor.dtype == torch.bfloat16
        return tensor.view(torch.int16).numpy().view(np.uint16) if half else tensor.numpy()

    return Library("torch", "cuda", array, back, torch.Tensor)


class _Device(contextlib.nullcontext):
    id = 0


class CupyArray(np.ndarray):
    """NumPy's array with what homfast asks of CuPy's."""

    __module__ = "cupy"
    device = property(lambda self: _Device())

    @property
    def __cuda_array_interface__(self):
        return {**self.__array_interface__, "stream": 64}

    def __dlpack_device__(self):
        return 2, 0

    def get(self):
        return np.array(self)


class CupyModule(host_cupy.HostCupy):
    """The module ``cupy``: its functions return its arrays."""

    __name__, __version__ = "cupy", "0"
    ndarray = CupyArray

    class cuda(host_cupy._Cuda):
        @staticmethod
        def get_current_stream():
            return types.SimpleNamespace(ptr=64, synchronize=lambda: None)

    def __getattr__(self, name):
        found = getattr(np, name)
        if not callable(found) or isinstance(found, type):
            return found

        def function(*arguments, **options):
            result = found(*arguments, **options)
            return result.view(CupyArray) if type(result) is np.ndarray else result

        return function


def cupy_on_host(monkeypatch, folder):
    if host_cupy.COMPILER is None:
        pytest.skip("no g++ to compile the kernels with")
    module = CupyModule(folder)
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr(cupy_backend, "_xp", module)
    monkeypatch.setattr(cupy_backend, "_reason", "")
    cupy_backend._module.cache_clear()

    def array(host, device=0):
        return np.array(host).view(CupyArray)

    return Library("cupy", "cupy", array, lambda array: array.get(), CupyArray)


@pytest.fixture(params=["standard", "torch", "cupy"])
def device(request, monkeypatch, tmp_path_factory):
    """A library; the automatic choice of the backend is made anew."""
    monkeypatch.setattr(_backends, "_automatic_on_gpu", None)
    if request.param == "cupy":
        monkeypatch.setattr(cuda, "_cuda", None)
        monkeypatch.setattr(cuda, "_missing", "taken away, also where it is built")
        folder = tmp_path_factory.getbasetemp() / "cupy"
        folder.mkdir(exist_ok=True)
        yield cupy_on_host(monkeypatch, folder)
        cupy_backend._module.cache_clear()
        return
    machine = request.getfixturevalue("emulation")
    if request.param == "torch":
        yield torch_as_cuda(machine, monkeypatch)
    else:
        yield standard(machine)
