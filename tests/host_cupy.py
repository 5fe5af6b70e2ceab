"""NumPy in the place of CuPy, and g++ in that of NVRTC: the `cupy` backend without a GPU.

Arrays are NumPy's. The text of the kernels is compiled as C++, without contraction as for the GPU,
and launched one thread after another.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

COMPILER = shutil.which("g++")

PREFIX = """
#include <cmath>
#include <cstring>
using std::sqrt;
#define __global__
#define __device__
struct Dimension { unsigned x; };
static thread_local Dimension blockIdx, blockDim, threadIdx;
template <class To, class From> static inline To bits(From x) {
  static_assert(sizeof(To) == sizeof(From), "");
  To y;
  std::memcpy(&y, &x, sizeof y);
  return y;
}
static inline int __float_as_int(float x) { return bits<int>(x); }
static inline float __int_as_float(int x) { return bits<float>(x); }
static inline long long __double_as_longlong(double x) { return bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return bits<double>(x); }
"""

LAUNCH = """
extern "C" void launch_{name}(unsigned blocks, unsigned threads{declared}) {{
  blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
    for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x) {name}({names});
}}
"""


def kernels(text):
    """Names and parameters of the kernels of preprocessed text."""
    for name, parameters in re.findall(r'extern "C"\s+void (\w+)\(([^)]*)\)', text):
        yield name, [" ".join(p.split()) for p in parameters.split(",")]


def build(code, folder):
    """The kernels of `code` in a shared library for this processor; its path."""
    folder = Path(folder)
    stem = folder / hashlib.sha256(code.encode()).hexdigest()[:16]
    library = stem.with_suffix(".so")
    if library.exists():
        return library
    flags = [COMPILER, "-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
    source = stem.with_suffix(".cpp")
    source.write_text(PREFIX + code)
    text = subprocess.run(
        [*flags, "-E", "-P", str(source)], capture_output=True, text=True, check=True
    ).stdout
    launches = [
        LAUNCH.format(
            name=name,
            declared="".join(f", {p}" for p in parameters),
            names=", ".join(re.findall(r"(\w+)$", p)[0] for p in parameters),
        )
        for name, parameters in kernels(text)
    ]
    assert launches, "no kernels"
    source.write_text(PREFIX + code + "".join(launches))
    command = [*flags, "-shared", "-fPIC", str(source), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return library


SCALARS = {
    np.int32: ctypes.c_int, np.int64: ctypes.c_longlong, np.uint32: ctypes.c_uint,
    np.uint64: ctypes.c_ulonglong, np.float32: ctypes.c_float, np.float64: ctypes.c_double,
}  # fmt: skip


class HostModule:
    """``cupy.RawModule``."""

    def __init__(self, code, options, folder):
        assert "--fmad=false" in options, "entries would have other bits"
        self._library = ctypes.CDLL(str(build(code, folder)))

    def get_function(self, name):
        function = getattr(self._library, f"launch_{name}")

        def launch(grid, block, arguments):
            passed = []
            for value in arguments:
                if isinstance(value, np.ndarray):
                    passed.append(ctypes.c_void_p(value.ctypes.data))
                else:
                    passed.append(SCALARS[type(value)](value.item()))  # KeyError: not of one size
            function(ctypes.c_uint(*grid), ctypes.c_uint(*block), *passed)

        return launch


class _Cuda:
    @staticmethod
    def Device(number=None):
        return contextlib.nullcontext()


class HostCupy:
    """What the backend uses of the module ``cupy``."""

    cuda = _Cuda()

    def __init__(self, folder):
        self._folder = folder

    def __getattr__(self, name):
        return getattr(np, name)

    def RawModule(self, *, code, options):
        return HostModule(code, options, self._folder)
