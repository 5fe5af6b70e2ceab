"""The numerical contract on drawn cases: the long form of `homfast selftest`, on all processors.

    python reliability/contract.py [--share F] [--seed S] [--jobs N] [--json FILE]

Cases are those of homfast.selftesting, so that `homfast selftest --repro LINE` repeats one. With
`--share 0.05` a twentieth of them. Exit status 0 if all held.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

import homfast
import scores
from homfast.selftesting import run
from homfast.selftesting.cases import FAILED
from homfast.selftesting.ideas import IDEAS

# Which figure an idea's cases count for.
FIGURES = {
    "bounds": "S1",
    "exact_integers": "S2",
    "network_bounds": "S3",
    "scaling": "S4",
    "special_values": "S5",
    "threads": "S6",
    "batches": "S7",
    "layouts": "S8",
    "agreement": "S9",
    "process": "S18",
    "refusals": "S19",
    "entries": "S25",
}
AT_ONCE = 2000  # cases of a task
ROUNDS_APART = 100_000  # so that no two tasks have a round in common


class Task(NamedTuple):
    """Some cases of one idea."""

    idea: str
    seed: int
    first: int
    count: int


class Found(NamedTuple):
    """What came of them."""

    idea: str
    count: int
    ratios: np.ndarray  # errors over bounds, where the idea has them
    failures: list[str]


def tasks(share: float, seed: int) -> list[Task]:
    """All, the longest ideas first."""
    found = []
    for idea in IDEAS:
        left = max(1, round(share * run.FULL.get(idea, run.FULL_OF_OTHERS)))
        for part in itertools.count():
            found.append(Task(idea, seed, part * ROUNDS_APART, min(AT_ONCE, left)))
            left -= AT_ONCE
            if left <= 0:
                break
    return sorted(found, key=lambda task: -run.FULL.get(task.idea, 0))


def do(task: Task) -> Found:
    """Run the cases of a task, in this process."""
    homfast.set_num_threads(1)
    count, ratios, failures = 0, [], []
    cases = run.full_outcomes(task.idea, task.seed, task.first)
    for outcome in itertools.islice(cases, task.count):
        count += 1
        if outcome.ratio is not None:
            ratios.append(outcome.ratio)
        if outcome.status == FAILED:
            failures.append(f"{outcome.message}\nhomfast selftest --repro '{outcome.case.line()}'")
    return Found(task.idea, count, np.array(ratios), failures)


def score(idea: str, found: list[Found]) -> scores.Score:
    """What the scoreboard says of an idea."""
    count = sum(part.count for part in found)
    failed = sum(len(part.failures) for part in found)
    ratios = np.concatenate([part.ratios for part in found])
    words = f"{failed:,} of {count:,}"
    if ratios.size:
        words += f"; error over bound at most {ratios.max():.2g}"
        words += f", 99.9 % below {np.quantile(ratios, 0.999):.2g}"
    return scores.Score(FIGURES.get(idea, idea), words, not failed, count)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, list[Found]] = {}
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for part in pool.map(do, tasks(arguments.share, arguments.seed)):
            found.setdefault(part.idea, []).append(part)
            for failure in part.failures[:5]:
                print(failure, flush=True)
    return scores.conclude([score(*item) for item in found.items()], arguments.json)


if __name__ == "__main__":
    sys.exit(main())
