"""Builds and runs the kernels under a compiler's sanitizers.

    python reliability/sanitizers.py threads [--rounds N]
    python reliability/sanitizers.py memory [TESTS]

`threads`: ThreadSanitizer on harness.cpp. `memory`: AddressSanitizer and UndefinedBehaviorSanitizer
on the harness, then on the extension as the tests of the kernels call it.

There are no suppressions. Exit status 0 if nothing was reported. Works in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import re
import runpy
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import required
import scores
from checkout import copy_checkout, keep_targets

ROOT = Path(__file__).parent.parent
COMPILER = os.environ.get("CXX", "g++").split()
THREADS = ["-fsanitize=thread"]
MEMORY = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
OPTIONS = {
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
    # The interpreter keeps what it allocates; the loader's order is that of LD_PRELOAD.
    "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1:allocator_may_return_null=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
}
# What computes, without the tests that trap or measure memory, or start processes.
KERNEL_TESTS = [
    "bfloat16", "bits", "bits_network", "exact_integers", "gaussian_block", "interop",
    "kept_backward", "layouts", "linear", "linear_relu", "linear_relu_backward",
    "measure_bits", "measure_families", "measure_operators", "network", "network_files",
    "overlap", "rademacher_block", "scaling", "seeded_gram", "seeded_product", "short_way",
    "sparse_sign", "special_values", "threads", "training", "updates",
    "walsh_hadamard", "walsh_hadamard_kernel", "whole_network", "zero_sizes",
]  # fmt: skip


LIST_TARGETS = """
from homfast.selftesting.engines import engines
print(", ".join(engine.target for engine in engines() if engine.target))
"""


class Run(NamedTuple):
    """What was watched."""

    clean: bool
    count: int  # of calls or tests
    words: str


def build_settings() -> dict[str, Any]:
    """The flags of setup.py, which is the one place that knows them."""
    nothing = {"HOMFAST_CUDA": "0", "HOMFAST_NATIVE": "0"}
    with mock.patch.dict(os.environ, nothing), mock.patch("setuptools.setup"):
        return runpy.run_path(str(ROOT / "setup.py"), run_name="__main__")


def build_harness(flags: list[str], folder: Path) -> Path:
    """harness.cpp with csrc/core and every target that the compiler takes."""
    settings = build_settings()
    targets = {n: f for n, f in settings["list_targets"]().items() if settings["compiler_takes"](f)}
    common = [*settings["FLAGS"], *settings["BASELINE"], "-O1", "-g", "-std=c++17", *flags]
    common.append(f"-I{ROOT / 'csrc'}")
    kept = ", ".join(targets)
    jobs = [(ROOT / f"csrc/targets/{name}.cpp", own) for name, own in targets.items()]
    jobs += [(p, []) for p in sorted((ROOT / "csrc/core").glob("*.cpp"))]
    jobs.append((ROOT / "reliability/harness.cpp", []))

    def compile_one(job: tuple[Path, list[str]]) -> Path:
        source, own = job
        target = folder / f"{source.stem}.o"
        command = [*COMPILER, *common, *settings["TARGET_FLAGS"], *own, "-c", str(source)]
        subprocess.run([*command, "-o", str(target)], check=True)
        return target

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        objects = list(pool.map(compile_one, jobs))
    program = folder / "harness"
    link = [*COMPILER, *flags, "-pthread", *map(str, objects), "-o", str(program)]
    subprocess.run(link, check=True)
    print(f"harness built: {' '.join(flags)}, targets {kept}", flush=True)
    return program


def run_harness(flags: list[str], rounds: int, folder: Path) -> Run:
    """On every target of this machine."""
    program = build_harness(flags, folder)
    environment = {**os.environ, **OPTIONS}
    done = subprocess.run(
        [str(program), str(rounds)], env=environment, capture_output=True, text=True
    )
    print(done.stdout + done.stderr, end="", flush=True)
    lines = re.findall(r"^(\d+) calls of \d+ ops on (\w+), ", done.stdout, re.MULTILINE)
    calls = sum(int(count) for count, _ in lines)
    targets = ", ".join(name for _, name in lines)
    return Run(done.returncode == 0 and calls > 0, calls, f"{calls:,} calls ({targets})")


def run_tests(names: list[str], folder: Path, targets: list[str]) -> Run:
    """The extension under AddressSanitizer and UndefinedBehaviorSanitizer, by the quick tests."""
    copy_checkout(folder, built=False)
    keep_targets(folder, targets)
    # The sanitizers' checks take a compiler minutes a file at -O3.
    setup = folder / "setup.py"
    setup.write_text(setup.read_text().replace('"-O3",', '"-O1",', 1))
    flags = " ".join([*MEMORY, "-g"])
    environment = {**os.environ, "HOMFAST_CUDA": "0", "HOMFAST_NATIVE": "1"}
    build = {**environment, "CFLAGS": flags, "CXXFLAGS": flags, "LDFLAGS": flags}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=folder, env=build, check=True)

    def library(name: str) -> str:
        told = subprocess.run(
            [*COMPILER, f"-print-file-name={name}"], check=True, capture_output=True, text=True
        )
        return told.stdout.strip()

    preload = " ".join(library(name) for name in ("libasan.so", "libubsan.so", "libstdc++.so.6"))
    environment |= {**OPTIONS, "LD_PRELOAD": preload, "PYTHONPATH": str(folder)}
    # Its test fails without the extension: the others would pass on other backends.
    environment["HOMFAST_REQUIRE_NATIVE"] = "1"
    command = [sys.executable, "-c", LIST_TARGETS]
    told = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    listed = told.stdout.strip()
    files = ["tests/test_backends.py::test_native_extension_is_installed"]
    files += [f"tests/test_{name}.py" for name in names]
    # Ctrl-C is answered in time without a sanitizer, which ends a process that has no memory for
    # its own records.
    left_out = "not ctrl_c and not worker_without_memory"
    options = ["-q", "-x", "-p", "no:cacheprovider", "-k", left_out]
    command = [sys.executable, "-m", "pytest", *options, *files]
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as running:
        lines = []
        for line in running.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    passed = re.search(r"(\d+) passed", lines[-1] if lines else "")
    tests = int(passed[1]) if passed else 0
    clean = running.returncode == 0 and tests > 0
    return Run(clean, tests, f"{tests:,} tests ({listed})")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["threads", "memory"])
    parser.add_argument("tests", nargs="*", default=KERNEL_TESTS, help="of tests/test_*.py")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    parser.add_argument(
        "--rounds", type=required.at_least_one, default=20, help="of the harness, a caller"
    )
    arguments = parser.parse_args()
    threads = arguments.what == "threads"
    targets = [] if threads else required.native_targets()
    figure = "S13" if threads else "S12"
    scores.begin(arguments.json, [figure])
    with tempfile.TemporaryDirectory() as name:
        runs = [run_harness(THREADS if threads else MEMORY, arguments.rounds, Path(name))]
    if not threads and runs[0].clean:
        with tempfile.TemporaryDirectory() as name:
            runs.append(run_tests(arguments.tests, Path(name), targets))
    clean = all(run.clean for run in runs)
    result = f"{0 if clean else 'reports'} in {', '.join(run.words for run in runs)}"
    score = scores.Score(figure, result, clean, runs[-1].count)
    return scores.conclude([score], arguments.json)


if __name__ == "__main__":
    sys.exit(main())
