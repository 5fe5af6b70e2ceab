"""Memory that runs out, and memory that does not come back.

    python reliability/memory.py [--calls N] [--json FILE]

S20: in each op, each allocation of the extension fails once (failing_memory.cpp is preloaded): the
call must end in MemoryError or a right result, and the next call must be right. S23: what the
process holds after N calls of all ops, errors among them, beyond what it held after the first.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

import homfast
import scores
from operations import digest, operations

HERE = Path(__file__).parent


def fail_each(only: str) -> dict[str, list[str]]:
    """In a process with the library preloaded: what failed, and what was wrong then."""
    library = ctypes.CDLL(None)
    library.failing_memory_disarm.restype = ctypes.c_long
    failures, wrong = [], []
    for threads in (1, 3):
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
    """`fail_each`, in a process of its own."""
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
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--in-child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_child is not None:
        print(json.dumps(fail_each(arguments.in_child)))
        return 0
    grown = growth(arguments.calls)
    found = run_failing()
    wrong, failed = found["wrong"], len(found["failures"])
    lines = [
        scores.Score("S20", f"{len(wrong)} of {failed}", not wrong, failed),
        scores.Score(
            "S23",
            f"{grown / 2**20:.2f} MiB over {arguments.calls:,} calls",
            grown < 2**20,
            arguments.calls,
        ),
    ]
    return scores.conclude(lines, arguments.json, wrong[:30])


if __name__ == "__main__":
    sys.exit(main())
