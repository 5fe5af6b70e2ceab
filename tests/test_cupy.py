"""The `cupy` backend: its logic and its kernels on the host, and what it says where it cannot run.

On a GPU, `test_cupy_gpu.py` runs the same comparisons.
"""

import re
import shutil
import subprocess
import sys

import cupy_comparisons
import host_cupy
import numpy as np
import pytest
from processes import output

import homfast
from homfast import _backends
from homfast._backends import cupy as backend


@pytest.fixture
def host(monkeypatch, tmp_path_factory):
    """The backend on NumPy arrays, its kernels compiled by g++."""
    if host_cupy.COMPILER is None:
        pytest.skip("no g++ to compile the kernels with")
    folder = tmp_path_factory.getbasetemp() / "cupy"
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(backend, "_xp", host_cupy.HostCupy(folder))
    monkeypatch.setattr(backend, "_reason", "")
    backend._module.cache_clear()
    yield backend
    backend._module.cache_clear()


@pytest.mark.parametrize("comparison", cupy_comparisons.ALL, ids=lambda c: c.__name__)
def test_on_the_host(host, dtype, rng, comparison):
    comparison(host, np.asarray, np.asarray, dtype, rng)


def test_another_rounding_would_be_seen(host, monkeypatch, rng):
    """The instrument: entries of another text of the kernels differ."""
    other = backend.source().replace("q) * y;", "q) * y * T(1.0000002);")
    monkeypatch.setattr(backend, "source", lambda: other)
    backend._module.cache_clear()
    with pytest.raises(AssertionError):
        cupy_comparisons.seeded_entries(host, np.asarray, np.asarray, np.dtype(np.float32), rng)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_120"])
def test_nvcc_takes_the_kernels_and_fuses_nothing(tmp_path, architecture):
    """With the options that NVRTC gets; what it makes is not run here."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc")
    source = tmp_path / "kernels.cu"
    source.write_text(backend.source())
    options = ["--std=c++17", "--fmad=false", "-Werror", "all-warnings", f"-arch={architecture}"]
    command = [nvcc, *options, "-ptx", str(source), "-o", str(tmp_path / "kernels.ptx")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    text = (tmp_path / "kernels.ptx").read_text()
    names = set(re.findall(r"\.entry (\w+)", text))
    assert {"gaussian_float32", "sparse_sign_columns", "butterfly_int32"} <= names, names
    assert not re.findall(r"\bfma\.", text)
    assert not re.findall(r"\b(?:sqrt|div)\.(?:approx|full)\S*", text)


# Where it cannot run -----------------------------------------------------------------------------


def test_without_cupy_the_reason_says_what_to_install():
    code = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "cupy" else find(name, *rest)
import numpy as np, homfast
print(homfast.backends()["cupy"])
try:
    homfast.linear(np.ones((2, 2)), np.ones((2, 2)), backend="cupy")
except RuntimeError as error:
    print(error)
"""
    first, second = output(code).splitlines()
    assert "pip install 'homfast[cupy]'" in first and first in second


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("raise ImportError('libcuda is too old')", "cannot be imported: libcuda is too old"),
        ("def getDeviceCount(): raise RuntimeError('no driver')", "finds no GPU: no driver"),
        ("def getDeviceCount(): return 0", "CuPy 0 finds no GPU"),
        (
            "def getDeviceCount(): return 1\ndef getVersion(): raise RuntimeError('gone')",
            r"lacks NVRTC, which compiles kernels \(gone\); pip install",
        ),
    ],
)
def test_reasons(monkeypatch, tmp_path, body, wanted):
    names = "__version__ = '0'\ncuda = runtime = nvrtc = sys.modules[__name__]"
    (tmp_path / "cupy.py").write_text(f"import sys\n{names}\n{body}\n")
    monkeypatch.syspath_prepend(tmp_path)
    real = {name: sys.modules.pop(name) for name in list(sys.modules) if name == "cupy"}
    monkeypatch.setattr(backend, "_reason", None)
    monkeypatch.setattr(backend, "_xp", None)
    try:
        with pytest.raises(RuntimeError, match=wanted):
            homfast.linear(np.ones((2, 2)), np.ones((2, 2)), backend="cupy")
    finally:
        sys.modules.pop("cupy", None)
        sys.modules.update(real)


def test_the_real_cupy_says_what_it_lacks():
    """Installed on a machine without a GPU it imports, and is not available."""
    pytest.importorskip("cupy")
    reason = homfast.backends()["cupy"]
    assert reason == "available" or "finds no GPU" in reason or "NVRTC" in reason, reason


# The array decides -------------------------------------------------------------------------------


class OnGpu:
    """An array of a library that homfast has never heard of, on the second GPU."""

    __cuda_array_interface__ = None

    def __dlpack_device__(self):
        return 2, 1


class Taker:
    """A backend that takes them."""

    def __init__(self, name, reason=""):
        self.name, self.reason = name, reason

    def is_available(self):
        return not self.reason

    def why_unavailable(self):
        return self.reason

    def accepts(self, array):
        return isinstance(array, OnGpu)


@pytest.fixture
def gpu_backends(monkeypatch):
    """A function that puts backends for GPU arrays in the place of those there are."""

    def put(*modules):
        monkeypatch.setattr(_backends, "_automatic_on_gpu", None)
        monkeypatch.setattr(_backends, "GPU_NAMES", tuple(m.name for m in modules))
        for module in modules:
            monkeypatch.setitem(_backends._loaded, module.name, module)

    return put


def test_gpu_arrays_go_to_the_first_backend_that_is_available(gpu_backends):
    first, second = Taker("first", "no driver"), Taker("second")
    gpu_backends(first, second)
    assert _backends.resolve(None, OnGpu()) is second
    gpu_backends(second, first)
    assert _backends.resolve(None, OnGpu()) is second
    assert _backends.resolve(None, np.ones(3)).name in _backends.CPU_NAMES


def test_a_gpu_array_without_a_backend_names_device_reasons_and_fix(gpu_backends):
    gpu_backends(Taker("cuda", "no driver"), Taker("cupy", "pip install 'homfast[cupy]'"))
    with pytest.raises(TypeError) as raised:
        _backends.resolve(None, OnGpu())
    text = str(raised.value)
    for word in ("OnGpu", "GPU 1", "cuda: no driver", "cupy: pip install 'homfast[cupy]'", "CPU"):
        assert word in text, f"{word!r} is not in {text!r}"


def test_devices():
    class Interface:
        __cuda_array_interface__ = None

    class Other:
        def __dlpack_device__(self):
            return 8, 0

    assert _backends.device_of(np.ones(3)) == "the CPU"
    assert _backends.device_of(OnGpu()) == "GPU 1"
    assert _backends.device_of(Interface()) == "a GPU"
    assert _backends.device_of(Other()) == "a device of DLPack's type 8"
    with pytest.raises(TypeError, match=r"DLPack's type 8.*none for such devices"):
        _backends.resolve(None, Other())


def test_a_named_backend_refuses_arrays_of_another_device(host):
    with pytest.raises(TypeError, match=r"'numba' does not take .*OnGpu on GPU 1; wanted .* CPU"):
        _backends.resolve("numba", OnGpu())
    with pytest.raises(TypeError, match=r"'cupy' does not take .*OnGpu on GPU 1; wanted .* GPU"):
        _backends.resolve("cupy", OnGpu())
