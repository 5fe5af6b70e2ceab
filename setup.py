"""Builds homfast._native; the one file that knows compiler flags.

HOMFAST_NATIVE=0 builds no extension. HOMFAST_BUILD_JOBS sets how many files compile at a time.
"""

import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
CSRC = Path("csrc")

FLAGS = [
    "-O3",
    "-fvisibility=hidden",
    "-ffp-contract=off",  # targets must agree on which products and sums are fused
    "-fno-math-errno",
    "-fno-trapping-math",  # does not change values: only that flags and traps are not ordered
    "-Wall",
    "-Wextra",
    "-Wno-psabi",
]
BASELINE = ["-march=x86-64-v2"] if platform.machine() in ("x86_64", "AMD64") else []
# gcc 12 warns about uninitialised values within its own AVX-512 header.
TARGET_FLAGS = ["-Wno-ignored-attributes", "-Wno-uninitialized", "-Wno-maybe-uninitialized"]


def list_targets():
    """Names and flags of the targets for this machine, from csrc/targets/targets.def."""
    text = (ROOT / CSRC / "targets" / "targets.def").read_text()
    rows = dict(re.findall(r'^HF_TARGET\((\w+), "([^"]*)"', text, re.MULTILINE))
    if not BASELINE:
        rows = {name: flags for name, flags in rows.items() if name == "scalar"}
    return {name: flags.split() for name, flags in rows.items()}


def compiler_takes(flags):
    """Whether the C++ compiler and its assembler know `flags`."""
    compiler = os.environ.get("CXX", "c++" if sys.platform == "darwin" else "g++").split()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.cpp"
        source.write_text("float probe(float x, float y) { return x * y; }\n")
        command = [*compiler, "-std=c++17", *flags, "-c", str(source), "-o", f"{source}.o"]
        try:
            return subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            return False


def newest_header():
    return max(p.stat().st_mtime for p in (ROOT / CSRC).rglob("*") if p.suffix in HEADERS)


HEADERS = {".h", ".inc", ".def"}


def needs_recompile(obj, src):
    """Whether an object is older than its source, any header, or this file."""
    if not os.path.exists(obj):
        return True
    newest = max(os.stat(src).st_mtime, os.stat(__file__).st_mtime, newest_header())
    return os.stat(obj).st_mtime < newest


def native_extension():
    """The extension and the command that builds it, with each target's own flags."""
    from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext

    ParallelCompile("HOMFAST_BUILD_JOBS", default=0, needs_recompile=needs_recompile).install()
    targets = list_targets()
    for name, flags in list(targets.items()):
        if flags and not compiler_takes(flags):
            print(f"homfast: the compiler lacks {' '.join(flags)}: target {name} is left out")
            del targets[name]
    sources = sorted(str(p) for folder in ("core", "bindings") for p in (CSRC / folder).glob("*.cpp"))
    # The slowest first, so that the others compile beside it.
    sources = [str(CSRC / "targets" / f"{name}.cpp") for name in targets] + sources

    class BuildExtension(build_ext):
        def build_extensions(self):
            compile_one = self.compiler._compile

            def compile_with_target_flags(obj, src, ext, cc_args, extra, pp_opts):
                path = Path(src)
                if path.parent.name == "targets":
                    extra = [*extra, *TARGET_FLAGS, *targets[path.stem]]
                compile_one(obj, src, ext, cc_args, extra, pp_opts)

            self.compiler._compile = compile_with_target_flags
            super().build_extensions()
            print(f"homfast: built homfast._native with targets {', '.join(targets)}")

    extension = Pybind11Extension(
        "homfast._native",
        sources,
        include_dirs=[str(CSRC)],
        cxx_std=17,
        extra_compile_args=FLAGS + BASELINE,
        extra_link_args=["-pthread"],
    )
    return {"ext_modules": [extension], "cmdclass": {"build_ext": BuildExtension}}


if os.environ.get("HOMFAST_NATIVE", "1") == "0":
    print("homfast: HOMFAST_NATIVE=0: no extension, the reference backend computes")
    setup()
else:
    setup(**native_extension())
