"""The suite again and again, in random order and with new data: tests that fail now and then.

    python reliability/flakes.py [--repeats N] [--seed S] [--jobs N] [--json FILE] [TESTS]

Run number i is `python -m pytest --seed S+i`, which shuffles the files and the tests within each,
and seeds the fixture `rng` and Hypothesis anew. Only runs of the whole quick suite count, but TESTS
can be named to try some. Exit status 0 if nothing failed; a failure is printed as the line that
repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import required
import scores
from suite import run_tests


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", help="files or tests, all by default")
    parser.add_argument("--repeats", type=required.at_least_one, default=20)
    parser.add_argument("--seed", type=required.seed, default=1, help="of the first run")
    parser.add_argument(
        "--jobs", type=required.at_least_one, default=2, help="processes of pytest-xdist"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    required.native_extension()
    workers = ["-n", str(arguments.jobs), "--dist", "loadfile"] if arguments.jobs > 1 else []
    lines: list[str] = []
    runs = []
    for seed in range(arguments.seed, arguments.seed + arguments.repeats):
        begin = time.monotonic()
        run = run_tests([f"--seed={seed}", *workers, *arguments.tests])
        runs.append(run)
        lines += [f"python -m pytest --seed={seed} '{test}'" for test in run.failures]
        skipped = sum(run.skipped.values())
        took = time.monotonic() - begin
        told = f"{run.passed} passed, {len(run.failures)} failed, {skipped} skipped, {took:.0f} s"
        print(f"seed {seed}: {told}", flush=True)
        for line in lines[len(lines) - len(run.failures) :]:
            print(f"  {line}", flush=True)
    least, most = (choose(run.count for run in runs) for choose in (min, max))
    tests = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    words = f"{len(lines)} in {len(runs)} runs of {tests} tests"
    words += f"; {max(sum(run.skipped.values()) for run in runs)} skipped in each"
    counted = 0 if arguments.tests else len(runs)
    found = scores.Score("S28", words, not lines, counted)
    skips = {reason: count for run in runs for reason, count in run.skipped.items()}
    return scores.conclude([found], arguments.json, {"failures": lines, "skipped": skips})


if __name__ == "__main__":
    sys.exit(main())
