"""Builds homfast._native and homfast._cuda; the one file that knows compiler flags.

HOMFAST_NATIVE=0 builds no extension for the CPU. HOMFAST_CUDA=0 builds none for CUDA devices, 1
fails without nvcc, auto (the default) builds it where nvcc is found, at CUDA_HOME, CUDA_PATH, PATH
or /usr/local/cuda. HOMFAST_CUDA_ARCHS builds for fewer of the CUDA architectures, for developers.
JAX's calls go to homfast._native directly where the headers of jaxlib are there when it is built,
which an isolated build has not: HOMFAST_JAX=0 leaves that out, 1 fails without them.
HOMFAST_BUILD_JOBS sets how many files compile at a time.
"""

import importlib.util
import os
import platform
import re
import shutil
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
# The macro that guards this machine's rows of targets.def, the flags that every file gets, and more
# of what runs before the extension has looked whether the processor has the baseline.
ARCHITECTURE, BASELINE, BEFORE = {
    "x86_64": ("__x86_64__", ["-march=x86-64-v2"], ["-march=x86-64"]),
    "AMD64": ("__x86_64__", ["-march=x86-64-v2"], ["-march=x86-64"]),
    "aarch64": ("__aarch64__", ["-march=armv8-a"], []),
    "arm64": ("__aarch64__", ["-march=armv8-a"], []),
}.get(platform.machine(), ("", [], []))
# gcc 12 warns about uninitialised values within its own AVX-512 header.
TARGET_FLAGS = ["-Wno-ignored-attributes", "-Wno-uninitialized", "-Wno-maybe-uninitialized"]

# Machine code for each architecture, and PTX of the lowest, for those that come after.
CUDA_ARCHS = {
    "80": ["-gencode", "arch=compute_80,code=[sm_80,compute_80]"],
    "90a": ["-gencode", "arch=compute_90a,code=sm_90a"],
    "100": ["-gencode", "arch=compute_100,code=sm_100"],
    "120": ["-gencode", "arch=compute_120,code=sm_120"],
}
CUDA_FLAGS = [
    "-std=c++17",
    "-O3",
    "-fmad=false",  # a product and a sum are fused where kernels say so
    "--cudart=static",
    "-Xcompiler=-fPIC,-fvisibility=hidden,-Wall",
    "-MMD",
]


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


def runs_before_the_look(source):
    """Whether a source is the module itself, or what looks at the processor for it."""
    return source.parent.name == "bindings" or source.name == "cpu_features.cpp"


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


def inputs():
    """This file, which has the flags, and those that a source may include, from its folder."""
    found = (p for p in (ROOT / CSRC).rglob("*") if p.suffix in {".h", ".cuh", ".inc", ".def"})
    return ["setup.py", *sorted(str(p.relative_to(ROOT)) for p in found)]


def needs_recompile(obj, src):
    """Whether an object is older than this file or any file that its compilation read.

    pybind11's own check looks at the source alone, and would keep stale objects after an edit of a
    header. The compiler writes what it read beside the object (-MMD).
    """
    listing = Path(obj).with_suffix(".d")
    if not (os.path.exists(obj) and listing.exists()):
        return True
    read = listing.read_text().replace("\\\n", " ").partition(":")[2].split()
    read_xla = any("/xla/ffi/" in path for path in read)
    if Path(src).name == "xla_handlers.cpp" and read_xla != bool(xla_headers()):
        return True
    if Path(src).suffix == ".cu" and flags_of(obj) != cuda_flags():
        return True
    built = os.stat(obj).st_mtime
    return any(
        not os.path.exists(path) or os.stat(path).st_mtime > built for path in [__file__, *read]
    )


def xla_headers():
    """Folders of the headers of XLA's foreign function interface: jaxlib's, or none."""
    wish = os.environ.get("HOMFAST_JAX", "auto")
    if wish not in ("auto", "0", "1"):
        raise SystemExit(f"HOMFAST_JAX: got {wish!r}, wanted auto, 0 or 1")
    jaxlib = importlib.util.find_spec("jaxlib") if wish != "0" else None
    places = jaxlib.submodule_search_locations if jaxlib else None
    found = [str(Path(place) / "include") for place in places or []]
    found = [folder for folder in found if (Path(folder) / "xla/ffi/api/ffi.h").exists()]
    if wish == "1" and not found:
        raise SystemExit(
            "HOMFAST_JAX=1: the headers of jaxlib are not found; pip install jax and build with "
            "--no-build-isolation, or set HOMFAST_JAX=auto"
        )
    return found


def find_nvcc():
    """The CUDA compiler, or None; an error where HOMFAST_CUDA=1 and there is none."""
    wish = os.environ.get("HOMFAST_CUDA", "auto")
    if wish not in ("auto", "0", "1"):
        raise SystemExit(f"HOMFAST_CUDA: got {wish!r}, wanted auto, 0 or 1")
    if wish == "0":
        return None
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    places = [str(Path(home) / "bin") for home in homes if home]
    places += [os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
    nvcc = shutil.which("nvcc", path=os.pathsep.join(places))
    if nvcc is None and wish == "1":
        raise SystemExit(
            "HOMFAST_CUDA=1: nvcc is not found; set CUDA_HOME to a CUDA toolkit of version 12.8 or "
            "higher, or HOMFAST_CUDA=auto"
        )
    return nvcc


def cuda_flags():
    """Flags of nvcc for the architectures that were asked for."""
    names = os.environ.get("HOMFAST_CUDA_ARCHS", " ".join(CUDA_ARCHS)).split()
    unknown = sorted(set(names) - set(CUDA_ARCHS))
    if unknown or not names:
        raise SystemExit(f"HOMFAST_CUDA_ARCHS: got {names}, wanted some of {', '.join(CUDA_ARCHS)}")
    return [*CUDA_FLAGS, *(flag for name in names for flag in CUDA_ARCHS[name])]


def cuda_libraries(nvcc):
    """Folders in which the static runtime may be: nvcc itself tells, for it may be a script."""
    command = [nvcc, "--dryrun", "-x", "cu", "-E", os.devnull]
    told = subprocess.run(command, capture_output=True, text=True).stderr
    top = re.search(r"TOP=(\S+)", told)
    home = Path(top[1] if top else nvcc).resolve()
    home = home if top else home.parent.parent
    folders = [
        "lib64",
        "lib",
        *(f"targets/{machine}/lib" for machine in ("x86_64-linux", "sbsa-linux")),
    ]
    return [str(home / folder) for folder in folders if (home / folder).is_dir()]


def same_object_anywhere(src):
    """Flags without which nvcc puts its own temporary names, and numbers it drew, into objects."""
    return [f"-frandom-seed={Path(src).stem}", "-objtemp"]


def compile_cuda(nvcc, obj, src):
    """One .cu file; what it read goes beside the object, as of C++ files."""
    flags = [*cuda_flags(), f"-I{CSRC}", *same_object_anywhere(src)]
    listing = str(Path(obj).with_suffix(".d"))
    subprocess.run([nvcc, *flags, "-MF", listing, "-c", src, "-o", obj], check=True)
    Path(obj).with_suffix(".flags").write_text("\n".join(cuda_flags()))


def flags_of(obj):
    """What an object of a .cu file was compiled with: HOMFAST_CUDA_ARCHS may have been another."""
    path = Path(obj).with_suffix(".flags")
    return path.read_text().split("\n") if path.exists() else None


def native_extension(targets):
    """The extension of the kernels for processors; `targets` loses those the compiler lacks."""
    from pybind11.setup_helpers import Pybind11Extension

    for name, flags in list(targets.items()):
        if flags and not compiler_takes(flags):
            print(f"homfast: the compiler lacks {' '.join(flags)}: target {name} is left out")
            del targets[name]
    sources = sorted(p for folder in ("core", "bindings") for p in (CSRC / folder).glob("*.cpp"))
    # Of an inline function in several objects the linker keeps the first copy.
    sources.sort(key=runs_before_the_look, reverse=True)
    # The slowest first, so that the others compile beside it. They have no such copies.
    sources = [CSRC / "targets" / f"{name}.cpp" for name in targets] + sources

    return Pybind11Extension(
        "homfast._native",
        [str(path) for path in sources],
        include_dirs=[str(CSRC), *xla_headers()],
        depends=inputs(),
        cxx_std=17,
        extra_compile_args=FLAGS + BASELINE,
        extra_link_args=["-pthread"],
    )


def cuda_extension(nvcc):
    """The extension of the kernels for CUDA devices. It imports where there is no driver."""
    from pybind11.setup_helpers import Pybind11Extension

    return Pybind11Extension(
        "homfast._cuda",
        sorted(str(p) for p in (CSRC / "cuda").glob("*.c*") if p.suffix in {".cu", ".cpp"}),
        include_dirs=[str(CSRC)],
        depends=inputs(),
        cxx_std=17,
        extra_compile_args=FLAGS + BASELINE,
        library_dirs=cuda_libraries(nvcc),
        libraries=["cudart_static", "dl", "rt", "pthread"],
    )


def extensions(nvcc, native):
    """The extensions and the command that builds them, with each file's own flags."""
    from pybind11.setup_helpers import ParallelCompile, build_ext

    ParallelCompile("HOMFAST_BUILD_JOBS", default=0, needs_recompile=needs_recompile).install()
    targets = list_targets() if native else {}
    found = [native_extension(targets)] if native else []
    if nvcc:
        found.append(cuda_extension(nvcc))

    class BuildExtension(build_ext):
        def finalize_options(self):
            super().finalize_options()
            # The objects of an editable install stay in the checkout: the next build compiles only
            # what changed, and tests look at them.
            if self.editable_mode:
                self.build_temp = str(ROOT / "build" / "temp-editable")

        def build_extensions(self):
            compile_one = self.compiler._compile
            self.compiler.src_extensions.append(".cu")

            def compile_with_target_flags(obj, src, ext, cc_args, extra, pp_opts):
                path = Path(src)
                if path.suffix == ".cu":
                    return compile_cuda(nvcc, obj, src)
                if path.parent.name == "targets":
                    extra = [*extra, *TARGET_FLAGS, *targets[path.stem]]
                elif runs_before_the_look(path):
                    extra = [*extra, *BEFORE]
                compile_one(obj, src, ext, cc_args, extra, pp_opts)

            self.compiler._compile = compile_with_target_flags
            super().build_extensions()
            if native:
                print(f"homfast: built homfast._native with targets {', '.join(targets)}")
                xla = "with" if xla_headers() else "without jaxlib's headers, so without"
                print(f"homfast: built homfast._native {xla} handlers for JAX")
            if nvcc:
                print(f"homfast: built homfast._cuda with {nvcc}")

    return {"ext_modules": found, "cmdclass": {"build_ext": BuildExtension}}


NATIVE = os.environ.get("HOMFAST_NATIVE", "1") != "0"
# HOMFAST_NATIVE=0 is pure Python, unless CUDA is asked for by name.
NVCC = find_nvcc() if NATIVE or os.environ.get("HOMFAST_CUDA") == "1" else None
if not NATIVE:
    print("homfast: HOMFAST_NATIVE=0: no extension for the CPU, the reference backend computes")
if NVCC is None:
    print("homfast: no nvcc, or HOMFAST_CUDA=0: no extension for CUDA devices")
setup(**extensions(NVCC, NATIVE)) if NATIVE or NVCC else setup()
