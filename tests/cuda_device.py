"""Devices without a GPU: csrc/cuda compiled as plain C++ over tests/emulation/cuda, and its arrays.

`build` compiles the kernels, the bindings and the emulation into a module that stands in for
homfast._cuda: kernels run on the host, a thread a fiber. `DeviceArray` is memory of that device,
between pages that trap, with `__cuda_array_interface__` and an array API namespace.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sysconfig
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
EMULATION = ROOT / "tests" / "emulation" / "cuda"
BUILD = ROOT / "build" / "cuda-emulated"
FLAGS = "-std=c++17 -O1 -fPIC -fvisibility=hidden -ffp-contract=off -Wall -Wextra -Werror "
FLAGS += "-Wno-unknown-pragmas -Wno-attributes -DHF_MANY_TILES=4"


def build() -> Path:
    """The compiled module; objects whose sources did not change are kept.

    One process of a parallel run builds, the others wait for it.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build()


def _build() -> Path:
    compiler = os.environ.get("CXX", "g++").split()
    if shutil.which(compiler[0]) is None:
        pytest.skip("no C++ compiler")
    pybind11 = pytest.importorskip("pybind11", reason="pybind11 is not installed")
    files = [p for folder in (ROOT / "csrc/cuda", EMULATION) for p in sorted(folder.rglob("*"))]
    sources = [p for p in files if p.suffix in (".cu", ".cpp")]
    headers = [p for p in files if p.suffix in (".h", ".cuh")]
    headers.append(ROOT / "csrc/core/views.h")
    if not (ROOT / "csrc/cuda").is_dir():
        pytest.skip("no csrc beside the tests: not a checkout")
    common = hashlib.sha256(" ".join([*compiler, FLAGS, *map(str, sources)]).encode())
    for header in headers:
        common.update(header.read_bytes())
    include = [f"-I{EMULATION}", f"-I{ROOT / 'csrc'}", f"-I{pybind11.get_include()}"]
    include.append(f"-I{sysconfig.get_path('include')}")

    def compile_one(source: Path) -> Path:
        key = common.copy()
        key.update(source.read_bytes())
        target = BUILD / f"{source.name}-{key.hexdigest()[:16]}.o"
        if not target.exists():
            for stale in BUILD.glob(f"{source.name}-*.o"):
                stale.unlink()
            part = target.with_suffix(".part")
            command = [*compiler, *FLAGS.split(), *include, "-x", "c++", "-c", str(source)]
            done = subprocess.run([*command, "-o", str(part)], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            part.rename(target)
        return target

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        objects = list(pool.map(compile_one, sorted(sources, key=lambda p: -p.stat().st_size)))
    name = hashlib.sha256(" ".join(sorted(o.name for o in objects)).encode()).hexdigest()[:16]
    module = BUILD / name / f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not module.exists():
        for stale in BUILD.glob("*/_cuda*"):
            stale.unlink()
        module.parent.mkdir(exist_ok=True)
        subprocess.run([*compiler, "-shared", *map(str, objects), "-o", str(module)], check=True)
    return module


class Emulation:
    """The module, and the switches of the emulated machine."""

    def __init__(self):
        path = build()
        spec = importlib.util.spec_from_file_location("_cuda", path)
        assert spec is not None and spec.loader is not None
        self.module: ModuleType = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        self.library = ctypes.CDLL(str(path))
        self.library.emulated_allocate.restype = ctypes.c_void_p
        self.library.emulated_allocate.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
        self.library.emulated_last_stream.restype = ctypes.c_size_t
        self.library.emulated_free.argtypes = [ctypes.c_void_p]
        self.damaged: list[str] = []

    def __getattr__(self, name):
        return getattr(self.library, "emulated_" + name)

    def reset(self):
        """The machine as it starts."""
        self.machine(2, 13000)
        self.kind(80, 227 << 10)
        self.refuse(0)
        self.device(0)
        self.order(0)
        self.adopt(0)
        self.launches()
        self.waits()
        self.damaged.clear()

    def _free(self, address, what):
        if self.library.emulated_free(address):
            self.damaged.append(what)

    def empty(self, shape, dtype, device=0, row_stride=None, align=1):
        """Uninitialised memory, all bytes 0xff; rows of a matrix `row_stride` elements apart."""
        dtype = np.dtype(dtype)
        shape = tuple(shape)
        strides = None
        count = int(np.prod(shape))
        if row_stride is not None and count:
            strides = (row_stride * dtype.itemsize, dtype.itemsize)
            count = (shape[0] - 1) * row_stride + shape[1]
        size = count * dtype.itemsize
        address = self.library.emulated_allocate(size, max(align, dtype.itemsize), device)
        memory = (ctypes.c_uint8 * max(size, 1)).from_address(address)
        host = np.frombuffer(memory, np.uint8, size).view(dtype)
        view = (
            host.reshape(shape)
            if strides is None
            else np.lib.stride_tricks.as_strided(host, shape, strides)
        )
        owner = _Owner()
        weakref.finalize(owner, self._free, address, f"{dtype} {shape}")
        return DeviceArray(self, view, device, owner)

    def array(self, host, device=0, row_stride=None):
        """A copy of a host array on the device."""
        host = np.asarray(host)
        made = self.empty(host.shape, host.dtype, device, row_stride)
        made.host[...] = host
        return made


class _Owner:
    """Whose end frees the memory."""


class DeviceArray:
    """Memory of the emulated device."""

    def __init__(self, emulation, host, device, owner, stream=None):
        self.emulation, self.host, self.owner = emulation, host, owner
        self.device, self.stream, self.read_only = device, stream, False

    shape = property(lambda self: self.host.shape)
    dtype = property(lambda self: self.host.dtype)
    ndim = property(lambda self: self.host.ndim)

    def numpy(self):
        """A copy on the host; ``host`` is a view, gone with the array."""
        return self.host.copy()

    @property
    def __cuda_array_interface__(self):
        interface = {
            "shape": self.host.shape,
            "typestr": self.host.dtype.str,
            "data": (self.host.ctypes.data if self.host.size else 0, self.read_only),
            "strides": None if self.host.flags.c_contiguous else self.host.strides,
            "version": 3,
        }
        if self.stream is not None:
            interface["stream"] = self.stream
        return interface

    def __dlpack_device__(self):
        return 2, self.device

    def __dlpack__(self, **options):
        """A copy on the host, which is all that is ever asked for."""
        assert options.get("dl_device") == (1, 0), options
        return self.host.copy().__dlpack__()

    def __setitem__(self, index, values):
        self.host[index] = values.host

    def __getitem__(self, index):
        found = self.host[index]
        if not isinstance(found, np.ndarray):
            return found
        return DeviceArray(self.emulation, found, self.device, self.owner, self.stream)

    def __array_namespace__(self, api_version=None):
        return self

    def empty(self, shape, *, dtype, device):
        return self.emulation.empty(shape, dtype, device, align=16)

    def zeros(self, shape, *, dtype, device):
        return self.emulation.array(np.zeros(shape, dtype), device)

    def asarray(self, array, *, device, copy=None):
        host = array.host if isinstance(array, DeviceArray) else array
        return self.emulation.array(host, device)

    def reshape(self, array, shape):
        found = array.host.reshape(shape)
        assert np.may_share_memory(found, array.host) or not found.size, "a copy"
        return DeviceArray(self.emulation, found, array.device, array.owner, array.stream)

    def add(self, array, other):
        return self.emulation.array(array.host + other.host, array.device)

    def permute_dims(self, array, axes):
        found = array.host.transpose(axes)
        return DeviceArray(self.emulation, found, array.device, array.owner, array.stream)

    def broadcast_to(self, array, shape):
        found = np.broadcast_to(array.host, shape)
        return DeviceArray(self.emulation, found, array.device, array.owner, array.stream)


@functools.cache
def _emulation():
    return Emulation()


@pytest.fixture
def emulation(monkeypatch):
    """The emulated machine behind the backend `cuda`; every block of memory must end unharmed."""
    from homfast._backends import cuda

    machine = _emulation()
    machine.reset()
    monkeypatch.setattr(cuda, "_cuda", machine.module)
    yield machine
    assert not machine.damaged, f"written before the first element of {machine.damaged}"
    assert machine.current_device() == 0, "the current device is another after the test"
