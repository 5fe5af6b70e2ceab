"""Memory that runs out, and memory that does not come back.

    python reliability/memory.py [--calls N] [--json FILE]

S20: in each op, each allocation of the extension fails once (failing_memory.cpp is preloaded): the
call must end in MemoryError or a right result, and the next call must be right. So must the call
that starts the threads, each of whose allocations fails in a process without them: afterwards no
signal is blocked, and the next call starts them. S23: what the process holds after N calls of all
ops, errors among them, beyond what it held after the first.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

import homfast
import required
import scores
from operations import digest, operations

HERE = Path(__file__).parent


THREADS = 3  # of calls that use several
COLD = 10  # allocations that the start of so many threads makes, and more


def preloaded() -> ctypes.CDLL:
    """The library of failing_memory.cpp, in a process that has it."""
    library = ctypes.CDLL(None)
    library.failing_memory_disarm.restype = ctypes.c_long
    return library


def start_threads(library: ctypes.CDLL, n: int) -> Iterator[str]:
    """In a process without a pool: what is wrong when allocation n of its start fails.

    A line "reached" says that there was such an allocation.
    """
    x = np.arange(600 * 130, dtype=np.float32).reshape(600, 130) % 5
    weight = x[:128] % 3
    tasks = len(os.listdir("/proc/self/task"))
    homfast.set_num_threads(1)
    wanted = digest(homfast.linear(x, weight))
    if len(os.listdir("/proc/self/task")) > tasks:
        yield "there are threads before a call that uses some"
    homfast.set_num_threads(THREADS)
    result = np.zeros((600, 128), np.float32)
    library.failing_memory_arm(ctypes.c_long(n))
    try:
        homfast.linear(x, weight, out=result)
    except MemoryError:
        result = None
    except Exception as error:
        yield f"{type(error).__name__}: {error}"
        result = None
    if library.failing_memory_disarm() >= n:
        yield "reached"
    if result is not None and digest(result) != wanted:
        yield "other bits"
    if blocked := signal.pthread_sigmask(signal.SIG_BLOCK, []):
        yield f"{len(blocked)} signals are blocked"
    if digest(homfast.linear(x, weight)) != wanted:
        yield "the next call: other bits"
    started = len(os.listdir("/proc/self/task")) - tasks
    if started != THREADS - 1:
        yield f"the next call: {started} threads beside its own, wanted {THREADS - 1}"


def fail_cold() -> dict[str, list[str]]:
    """In a process with the library preloaded, and no pool: `start_threads` in children of it."""
    library = preloaded()
    failures, wrong = [], []
    for n in range(1, COLD + 1):
        case = f"the start of {THREADS} threads, allocation {n}"
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            status = 1
            try:
                lines = list(start_threads(library, n))
                os.write(writing, "\n".join(lines).encode())
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        with open(reading) as pipe:
            lines = pipe.read().splitlines()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            lines.append(f"the process ended with {status}")
        failures += [case for line in lines if line == "reached"]
        wrong += [f"{case}: {line}" for line in lines if line != "reached"]
    return {"failures": failures, "wrong": wrong}


def fail_each(only: str) -> dict[str, list[str]]:
    """In a process with the library preloaded: what failed, and what was wrong then."""
    library = preloaded()
    failures, wrong = [], []
    for threads in (1, THREADS):
        homfast.set_num_threads(threads)
        for rows, width in ((3, 17), (300, 130)):
            for name, call in operations(rows, width).items():
                if only and name not in only.split(","):
                    continue
                case = f"{name} {rows} x {width}, {threads} threads"
                wanted = digest(call())
                for n in range(1, 10_000):
                    library.failing_memory_arm(ctypes.c_long(n))
                    try:
                        result = call()
                        verdict = "" if digest(result) == wanted else "other bits"
                    except MemoryError:
                        verdict = ""
                    except Exception as error:
                        verdict = f"{type(error).__name__}: {error}"
                    reached = library.failing_memory_disarm() >= n
                    if reached:
                        failures.append(case)
                    if verdict:
                        wrong.append(f"{case}, allocation {n}: {verdict}")
                    if digest(call()) != wanted:
                        wrong.append(f"{case}, the call after allocation {n}: other bits")
                    if not reached:
                        break
    return {"failures": failures, "wrong": wrong}


def run_failing(only: str = "") -> dict[str, list[str]]:
    """`fail_each`, or for the name "cold" `fail_cold`, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "failing_memory.so"
        source = HERE / "failing_memory.cpp"
        command = ["g++", "-O1", "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"]
        subprocess.run(command, check=True)
        this = str(Path(homfast.__file__).parent.parent)
        path = os.pathsep.join(filter(None, [this, os.environ.get("PYTHONPATH", "")]))
        environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": path}
        done = subprocess.run(
            [sys.executable, "-X", "faulthandler", __file__, f"--in-child={only}"],
            env=environment,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        return {"failures": [], "wrong": [f"the process ended: {done.stderr[-3000:]}"]}
    return dict(json.loads(done.stdout.splitlines()[-1]))


def resident() -> int:
    """Bytes of memory that the process holds."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def growth(calls: int) -> int:
    """Bytes that so many calls leave behind."""
    work = list(operations(60, 64).values())
    bad = np.ones((2, 3)), np.ones((2, 4))

    def some(count: int) -> None:
        for number in range(count):
            work[number % len(work)]()
            if number % 10 == 0:
                with suppress(ValueError):
                    homfast.linear(*bad)

    some(calls // 5)  # pools and workspaces are made, and caches filled
    before = resident()
    some(calls)
    return resident() - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=required.at_least_one, default=10_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--in-child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_child is not None:
        only = arguments.in_child
        print(json.dumps(fail_cold() if only == "cold" else fail_each(only)))
        return 0
    required.native_extension()
    scores.begin(arguments.json, ["S20", "S23"])
    grown = growth(arguments.calls)
    runs = [run_failing("cold"), run_failing()]
    wrong = [line for run in runs for line in run["wrong"]]
    failed = sum(len(run["failures"]) for run in runs)
    if not all(run["failures"] for run in runs):
        wrong.append("no allocation failed: the library is not there, or the extension is not")
    lines = [
        scores.Score("S20", f"{len(wrong)} of {failed}", not wrong, failed),
        scores.Score(
            "S23",
            f"{grown / 2**20:.2f} MiB over {arguments.calls:,} calls",
            grown < 2**20,
            arguments.calls,
        ),
    ]
    for line in wrong[:30]:
        print(line)
    return scores.conclude(lines, arguments.json, wrong[:30])


if __name__ == "__main__":
    sys.exit(main())
