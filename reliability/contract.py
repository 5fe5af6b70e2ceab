"""The numerical contract on drawn cases: the long form of `homfast selftest`, on all processors.

    python reliability/contract.py [--figures S ...] [--engine NAME] [--share F] [--seed S]
                                   [--jobs N] [--json FILE]

Cases are those of homfast.selftesting, so that `homfast selftest --repro LINE` repeats one. The
targets and both types get the same data, and each is a case. The native extension's count for a
figure, once they were run; a tenth as many are run by the other engines. What a case does not
compare it does not count for (`counts`). With `--share 0.05` a twentieth of them, with
`--figures S3 --share 5` five times as many of what counts for S3; on one engine as many cases are
of more drawn data. Exit status 0 if all held.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

import homfast
import required
import scores
from homfast.selftesting import entries, run
from homfast.selftesting.cases import FAILED, NOT_RUN, Case
from homfast.selftesting.engines import REFERENCE, engines
from homfast.selftesting.float_modes import DEFAULT
from homfast.selftesting.ideas import IDEAS
from homfast.selftesting.oracles import MANY_TERMS

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
    "callers": "C1",
    "operators": "O1",
    "process": "S18",
    "input_kinds": "S19",
    "refusals": "S19",
    "entries": "S25",
}
NATIVE = "native"
OTHERS = 0.1  # of the cases of `native`, for each of the two that it is not
AT_ONCE = 2000  # cases of a task
COMPARED = ("agreement",)  # whose other engines are compared with `native`, and so count too
MOST_NOT_RUN = 1000  # in a row: there are no more here
ROUNDS_APART = 100_000  # so that no two tasks have a round in common


class Task(NamedTuple):
    """Some cases of one idea."""

    idea: str
    seed: int
    first: int
    count: int  # that are run
    native: bool  # on its targets, or else on the other engines
    engine: str = ""  # of those the one of this name alone


class Found(NamedTuple):
    """What came of them."""

    idea: str
    run: Counter[str]  # by engine, those that passed or failed
    not_run: Counter[str]
    ratios: np.ndarray  # errors over bounds, where the idea has them
    failures: list[str]
    fixed: int = 0  # of those that were run, published and frozen bits


def tasks(share: float, seed: int) -> list[Task]:
    """All, the longest ideas first."""
    found = []
    for idea, native in itertools.product(IDEAS, (True, False)):
        part_of = share if native or idea in COMPARED else share * OTHERS
        left = max(1, round(part_of * run.FULL.get(idea, run.FULL_OF_OTHERS)))
        for part in itertools.count():
            found.append(Task(idea, seed, part * ROUNDS_APART, min(AT_ONCE, left), native))
            left -= AT_ONCE
            if left <= 0:
                break
    return sorted(found, key=lambda task: -run.FULL.get(task.idea, 0))


def do(task: Task) -> Found:
    """Run the cases of a task, in this process."""
    homfast.set_num_threads(1)
    ran, not_run, ratios, failures, fixed = Counter[str](), Counter[str](), [], [], 0
    on = [
        engine
        for engine in engines()
        if (engine.backend == NATIVE) == task.native and task.engine in ("", str(engine))
    ]
    in_vain = 0  # since the last that counted
    for outcome in run.full_outcomes(task.idea, task.seed, task.first, on):
        in_vain += 1
        if outcome.status == NOT_RUN:
            not_run[outcome.case.engine] += 1
        elif counts(outcome.case):
            ran[outcome.case.engine] += 1
            fixed += frozen(outcome.case)
            in_vain = 0
        if outcome.ratio is not None:
            ratios.append(outcome.ratio)
        if outcome.status == FAILED:
            failures.append(f"{outcome.message}\nhomfast selftest --repro '{outcome.case.line()}'")
        if ran.total() == task.count or in_vain == MOST_NOT_RUN:
            break
    return Found(task.idea, ran, not_run, np.array(ratios), failures, fixed)


def counts(case: Case) -> bool:
    """Whether a case compares what its figure says; others may fail, and are no pass.

    `reference` promises no bits: of layouts it is asked exact sums, of the process its state. Numba
    has no generators but those of the reference, which are what entries are compared with.
    """
    if case.idea == "layouts":
        return case.engine != str(REFERENCE)
    if case.idea == "process":
        return case.engine != str(REFERENCE) and case.parameters["mode"] != DEFAULT
    if case.idea == "entries":
        return case.engine.startswith(NATIVE) or frozen(case)
    return True


def frozen(case: Case) -> bool:
    """Whether its bits are published ones, or golden hashes."""
    return case.idea == "entries" and case.parameters["family"] in entries.FROZEN


def added(counters: Iterable[Counter[str]]) -> Counter[str]:
    """The sum, with all names."""
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return total


def score(figure: str, found: list[Found]) -> scores.Score:
    """What the scoreboard says of the ideas of a figure: what was run natively is its count."""
    ran, not_run = added(part.run for part in found), added(part.not_run for part in found)
    failed = sum(len(part.failures) for part in found)
    ratios = np.concatenate([part.ratios for part in found])
    compared = any(part.idea in COMPARED for part in found)
    counted = [name for name in ran if name.startswith(NATIVE) or compared]
    others = sorted(set(ran) - set(counted))
    count = sum(ran[name] for name in counted)
    words = f"{failed:,} of {ran.total():,} on {', '.join(sorted(ran)) or 'no engine'}"
    if others:
        words += f" ({count:,} without {', '.join(others)})"
    if not_run:
        words += f"; {not_run.total():,} more not run"
    if ratios.size:
        words += f"; error over bound at most {ratios.max():.3f}, 99.9 % below"
        words += f" {np.quantile(ratios, 0.999):.3f} (sums of {MANY_TERMS} terms or more)"
    if figure == "S25":
        words += f"; {sum(part.fixed for part in found)} of published and frozen bits, the others"
        words += " of the reference's, and of their scale"
    return scores.Score(figure, words, not failed and count > 0, count)


def by_figure(found: dict[str, list[Found]]) -> dict[str, list[Found]]:
    """What was found for each figure, of all its ideas."""
    grouped: dict[str, list[Found]] = {}
    for idea, parts in found.items():
        grouped.setdefault(FIGURES[idea], []).extend(parts)
    return grouped


def details(found: dict[str, list[Found]]) -> dict[str, dict[str, dict[str, int]]]:
    """How many cases were run and not, by idea and engine."""
    return {
        idea: {
            "run": dict(added(part.run for part in parts)),
            "not run": dict(added(part.not_run for part in parts)),
        }
        for idea, parts in found.items()
    }


def share_of_all(text: str) -> float:
    """The number, if it is one that a share can be."""
    share = float(text)
    if not (math.isfinite(share) and share > 0):
        raise argparse.ArgumentTypeError(f"got {text}, wanted a finite number > 0, such as 0.05")
    return share


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = list(dict.fromkeys(FIGURES.values()))
    parser.add_argument("--figures", nargs="+", choices=names, default=names, help="which of them")
    is_native = {str(engine): engine.backend == NATIVE for engine in engines()}
    parser.add_argument("--engine", choices=is_native, default="", help="one of them alone")
    parser.add_argument("--share", type=share_of_all, default=1.0, help="of the cases")
    parser.add_argument("--seed", type=required.seed, default=0)
    parser.add_argument("--jobs", type=required.at_least_one, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    required.native_extension()
    scores.begin(arguments.json, arguments.figures)
    chosen = [
        task._replace(engine=arguments.engine)
        for task in tasks(arguments.share, arguments.seed)
        if FIGURES[task.idea] in arguments.figures
        and is_native.get(arguments.engine, task.native) == task.native
    ]
    found: dict[str, list[Found]] = {}
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for part in pool.map(do, chosen):
            found.setdefault(part.idea, []).append(part)
            for failure in part.failures[:5]:
                print(failure, flush=True)
    said = [score(*item) for item in by_figure(found).items()]
    return scores.conclude(said, arguments.json, details(found))


if __name__ == "__main__":
    sys.exit(main())
