"""Every small size against pages that trap: the long form of tests/test_guard_pages*.py.

    python reliability/guard_pages.py [--largest N] [--jobs N] [--json FILE]

All rows, features and columns from 0 to N, and operators of sizes to 3 N, and to 8 N those around
whole vectors: each array of each call of the native backend ends, or begins, at a page that may not
be touched, and the bytes beside it are looked at. Results are compared with integer arithmetic.
Exit status 0 if nothing trapped, was written or was wrong; else the line that repeats it is told.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import required
import scores
from homfast.selftesting.engines import Engine, engines

ROOT = Path(__file__).parent.parent
sys.path.insert(1, str(ROOT / "tests"))

LARGEST = 40  # what the figure takes
NEAR_VECTORS = (127, 128, 129, 255, 256, 257)  # of operators, besides: those below 8 N


class Task(NamedTuple):
    """The cases of one process."""

    engine: Engine
    edge: str
    module: str
    grid: str  # Python for shapes or sizes

    def code(self) -> str:
        head = f"from engines import Engine; import {self.module} as tests"
        return f"{head}; tests.run({self.engine!r}, {self.edge!r}, {self.grid})"

    def line(self) -> str:
        return f'PYTHONPATH=tests:. python -c "{self.code()}"'


class Found(NamedTuple):
    """What came of it."""

    count: int
    wrong: str


def tasks(largest: int) -> list[Task]:
    """All, on each target of this machine."""
    native = [engine for engine in engines() if engine.backend == "native"]
    each = f"range({largest + 1})"
    layers = [
        f"[({rows}, k, n) for k in {each} for n in {each}]" for rows in range(largest, -1, -1)
    ]
    near = {size for size in NEAR_VECTORS if size <= 8 * largest}
    sizes = sorted({*range(1, 3 * largest + 1), *near})
    operators = [repr(sizes[i : i + 10]) for i in range(0, len(sizes), 10)]
    return [
        Task(engine, edge, module, grid)
        for engine in native
        for edge in ("end", "start")
        for module, grids in (
            ("test_guard_pages", layers),
            ("test_guard_pages_operators", operators),
        )
        for grid in grids
    ]


def do(task: Task) -> Found:
    """Run it in a process of its own, for a trap ends that."""
    from processes import run_python

    done = run_python(task.code(), timeout=3600, HOMFAST_NUM_THREADS="1")
    lines = done.stdout.splitlines() or ["nothing"]
    if done.returncode == 0 and lines[-1] == "done":
        return Found(len(lines) - 1, "")
    ended = f"exit {done.returncode} at {lines[-1]}: {done.stderr.strip()[-500:]}"
    return Found(len(lines), f"{task.line()}\n{ended}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--largest", type=required.at_least_one, default=LARGEST, help="rows, features and columns"
    )
    parser.add_argument("--jobs", type=required.at_least_one, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    required.native_extension()
    scores.begin(arguments.json, ["S11"])
    wrong, count = [], 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for found in pool.map(do, tasks(arguments.largest)):
            count += found.count
            if found.wrong:
                wrong.append(found.wrong)
                print(found.wrong, flush=True)
    on = ", ".join(str(engine) for engine in engines() if engine.backend == "native")
    words = f"{len(wrong)} processes wrong, in {count:,} cases ({on})"
    whole = arguments.largest >= LARGEST
    found = scores.Score("S11", words, not wrong and count > 0, count if whole else 0)
    return scores.conclude([found], arguments.json, wrong[:20])


if __name__ == "__main__":
    sys.exit(main())
