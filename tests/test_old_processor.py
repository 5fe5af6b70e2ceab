"""On x86-64-v2 without AVX, a Nehalem, everything runs on the scalar target (README, "Set up").

On older ones the extension is not loaded, and says what the processor lacks.

The processor is emulated by qemu's user mode (Debian: qemu-user), which traps what it lacks.
"""

import platform
import shutil
import signal
import subprocess
import sys

import pytest
from engines import targets
from processes import environment_of_tests

from homfast._backends import native

QEMU = shutil.which("qemu-x86_64")
pytestmark = [
    pytest.mark.skipif(QEMU is None, reason="qemu-x86_64 is not installed"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="this is no x86-64 Python"),
    pytest.mark.skipif(not targets(), reason="homfast._native is not built"),
]

WORK = """
import numpy as np, homfast
assert homfast.get_target() == "scalar", homfast.get_target()
rng = np.random.default_rng(0)
for dtype in (np.float32, np.float64):
    x = rng.integers(-3, 4, (40, 33)).astype(dtype)
    weight = rng.integers(-3, 4, (17, 33)).astype(dtype)
    y, mask = homfast.linear_relu(x, weight, return_mask=True)
    assert (y == np.maximum(x @ weight.T, 0)).all()
    assert (homfast.linear_relu(x[:3], weight) == y[:3]).all()
    homfast.linear_relu_backward(y, x, weight, mask)
    net = homfast.ReLUNetwork.random((33, 16, 3), dtype=dtype)
    history = homfast.fit(net, [(x, net(x[::-1]))] * 3, learning_rate=1e-3)
    assert np.isfinite(history.loss).all() and history.loss[-1] < history.loss[0]
    gaussian = homfast.measure.Gaussian(8, 33, dtype=dtype)
    assert gaussian(x).shape == (40, 8)
print("done")
"""
# Without NumPy, whose newer versions refuse these processors themselves.
LOAD = f"""
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
path = {getattr(native._native, "__file__", "")!r}
spec = spec_from_file_location("_native", path, loader=ExtensionFileLoader("_native", path))
try:
    spec.loader.exec_module(module_from_spec(spec))
    print("loaded")
except ImportError as error:
    print(error)
"""
TOO_OLD = {
    "qemu64": "ssse3",
    "Conroe": "sse4.1",
    "Penryn": "sse4.2",
    "Nehalem,-sse3": "sse3",
    "Nehalem,-popcnt": "popcnt",
}
ADD_YMM = """
import ctypes, mmap
code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("c5fdfec0c3"))  # vpaddd ymm0, ymm0, ymm0; ret
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
print("done")
"""


def run_on(cpu, code):
    variables = {k: v for k, v in environment_of_tests().items() if not k.startswith("HOMFAST_")}
    # NumPy's OpenBLAS chooses its kernels by more than what is emulated, and ends in SIGILL on some
    # processors; one thread keeps the emulation quick.
    variables |= {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"}
    variables["HOMFAST_NUM_THREADS"] = "2"
    command = [QEMU, "-cpu", cpu, sys.executable, "-P", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=variables)


def test_the_instrument_traps_what_the_processor_lacks():
    done = run_on("Nehalem", ADD_YMM)
    assert done.returncode in (-signal.SIGILL, 128 + signal.SIGILL), done
    done = run_on("Haswell", ADD_YMM)
    assert done.stdout == "done\n", f"exit {done.returncode}: {done.stderr[-2000:]}"


def test_nehalem_computes_on_scalar():
    done = run_on("Nehalem", WORK)
    assert done.stdout == "done\n", f"exit {done.returncode}: {done.stderr[-2000:]}"


def test_nehalem_loads_the_extension():
    assert run_on("Nehalem", LOAD).stdout == "loaded\n"


@pytest.mark.parametrize("cpu", TOO_OLD)
def test_an_older_one_is_told_what_it_lacks(cpu):
    """A Conroe ended with SIGILL."""
    done = run_on(cpu, LOAD)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"
    assert done.stdout.endswith(f"this processor lacks {TOO_OLD[cpu]}\n"), done.stdout


def test_nehalem_refuses_a_better_target():
    best = next(iter(targets()))
    if best == "scalar":
        pytest.skip("scalar is the only target")
    done = run_on("Nehalem", f"import homfast; homfast.set_target({best!r})")
    assert done.returncode == 1 and "lacks" in done.stderr, done
