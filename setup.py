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
    "-MMD",
]
# The macro that guards this machine's rows of targets.def, and the flags that every file gets.
ARCHITECTURE, BASELINE = {
    "x86_64": ("__x86_64__", ["-march=x86-64-v2"]),
    "AMD64": ("__x86_64__", ["-march=x86-64-v2"]),
    "aarch64": ("__aarch64__", ["-march=armv8-a"]),
    "arm64": ("__aarch64__", ["-march=armv8-a"]),
}.get(platform.machine(), ("", []))
# gcc 12 warns about uninitialised values within its own AVX-512 header.
TARGET_FLAGS = ["-Wno-ignored-attributes", "-Wno-uninitialized", "-Wno-maybe-uninitialized"]


def list_targets():
    """Names and flags of the targets for this machine, from csrc/targets/targets.def."""
    rows, others, guard = {}, [], ""
    for line in (ROOT / CSRC / "targets" / "targets.def").read_text().splitlines():
        if condition := re.match(r"#if defined\((\w+)\)", line):
            guard = condition[1]
        elif line.startswith("#endif"):
            guard = ""
        elif row := re.match(r'HF_TARGET\((\w+), "([^"]*)"', line):
            if guard in ("", ARCHITECTURE):
                rows[row[1]] = row[2].split()
            else:
                others.append(row[1])
    if others:
        print(f"homfast: not for {platform.machine()}, left out: targets {', '.join(others)}")
    return rows


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


def headers():
    """Every file that a source may include, relative to this one's folder."""
    found = (p for p in (ROOT / CSRC).rglob("*") if p.suffix in {".h", ".inc", ".def"})
    return sorted(str(p.relative_to(ROOT)) for p in found)


def needs_recompile(obj, src):
    """Whether an object is older than this file or any file that its compilation read.

    pybind11's own check looks at the source alone, and would keep stale objects after an edit of a
    header. The compiler writes what it read beside the object (-MMD).
    """
    listing = Path(obj).with_suffix(".d")
    if not (os.path.exists(obj) and listing.exists()):
        return True
    inputs = listing.read_text().replace("\\\n", " ").partition(":")[2].split()
    built = os.stat(obj).st_mtime
    return any(
        not os.path.exists(path) or os.stat(path).st_mtime > built for path in [__file__, *inputs]
    )


def native_extension():
    """The extension and the command that builds it, with each target's own flags."""
    from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext

    ParallelCompile("HOMFAST_BUILD_JOBS", default=0, needs_recompile=needs_recompile).install()
    targets = list_targets()
    for name, flags in list(targets.items()):
        if flags and not compiler_takes(flags):
            print(f"homfast: the compiler lacks {' '.join(flags)}: target {name} is left out")
            del targets[name]
    sources = sorted(
        str(p) for folder in ("core", "bindings") for p in (CSRC / folder).glob("*.cpp")
    )
    # The slowest first, so that the others compile beside it.
    sources = [str(CSRC / "targets" / f"{name}.cpp") for name in targets] + sources

    class BuildExtension(build_ext):
        def finalize_options(self):
            super().finalize_options()
            # The objects of an editable install stay in the checkout: the next build compiles only
            # what changed, and tests look at them.
            if self.editable_mode:
                self.build_temp = str(ROOT / "build" / "temp-editable")

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
        depends=headers(),
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
