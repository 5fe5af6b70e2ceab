"""The suite again and again, in random order and with new data: tests that fail now and then.

    python reliability/flakes.py [--repeats N] [--seed S] [--jobs N] [--json FILE] [--more] [TESTS]

Run number i is `python -m pytest --seed S+i`, which shuffles the files and the tests within each,
and seeds the fixture `rng` and Hypothesis anew. Only runs of the whole quick suite count, but TESTS
can be named to try some. FILE is written after each run, and with `--more` the runs count that it
has of these sources already: hours can be parted. Exit status 0 if nothing failed; a failure is
printed as the line that repeats it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import required
import scores
from suite import run_tests


def runs_of_these_sources(path: Path) -> list[dict[str, Any]]:
    """Those of the whole suite that a file has; none if it is of other sources, or not there."""
    if not path.is_file():
        return []
    report = json.loads(path.read_text())
    runs: list[dict[str, Any]] = (report["details"] or {"runs": []})["runs"]  # None: it broke off
    return [r for r in runs if r["whole"] and not scores.outdated("S28", r["commit"])]


def score(runs: list[dict[str, Any]]) -> scores.Score:
    """What was found in them; of parts of the suite nothing counts."""
    failed = sum(len(run["failures"]) for run in runs)
    counts = [run["passed"] + len(run["failures"]) for run in runs]
    least, most = min(counts), max(counts)
    tests = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    words = f"{failed} in {len(runs)} runs of {tests} tests"
    words += f"; at most {max(sum(run['skipped'].values()) for run in runs)} skipped in one"
    seeds = {run["seed"] for run in runs if run["whole"]}
    return scores.Score("S28", words, not failed, len(seeds))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", help="files or tests, all by default")
    parser.add_argument("--repeats", type=required.at_least_one, default=20)
    parser.add_argument("--seed", type=required.seed, default=1, help="of the first run")
    parser.add_argument(
        "--jobs", type=required.at_least_one, default=2, help="processes of pytest-xdist"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--more", action="store_true", help="add to the runs that FILE has")
    arguments = parser.parse_args()
    required.native_extension()
    if arguments.more and (arguments.json is None or arguments.tests):
        parser.error("argument --more: wanted --json FILE, and no TESTS")
    workers = ["-n", str(arguments.jobs), "--dist", "loadfile"] if arguments.jobs > 1 else []
    runs = runs_of_these_sources(arguments.json) if arguments.more else []
    if not runs:
        scores.begin(arguments.json, ["S28"])
    for seed in range(arguments.seed, arguments.seed + arguments.repeats):
        begin = time.monotonic()
        run = run_tests([f"--seed={seed}", *workers, *arguments.tests])
        made = {"seed": seed, "commit": scores.commit(), "whole": not arguments.tests}
        runs.append(made | run._asdict())
        skipped = sum(run.skipped.values())
        took = time.monotonic() - begin
        told = f"{run.passed} passed, {len(run.failures)} failed, {skipped} skipped, {took:.0f} s"
        print(f"seed {seed}: {told}", flush=True)
        for test in run.failures:
            print(f"  python -m pytest --seed={seed} '{test}'", flush=True)
        found = score(runs)
        if arguments.json:
            scores.save(arguments.json, [found], {"runs": runs})
    return scores.conclude([found], None)


if __name__ == "__main__":
    sys.exit(main())
