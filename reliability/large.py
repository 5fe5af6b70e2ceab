"""Arrays of more than 2^31 elements: the tests of tests/test_large.py, counted.

    python reliability/large.py [--json FILE]

Each compares every element of a result with integer arithmetic or, of operators, with the bits that
a row has alone. They map 8 GiB without reserving them, of which a few MiB are there. Exit status 0
if all passed; a skip is no pass.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import required
import scores
from suite import run_tests


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    required.native_extension()
    scores.begin(arguments.json, ["S21"])
    run = run_tests(["-m", "not gpu", "tests/test_large.py"])
    for test in run.failures:
        print(f"python -m pytest '{test}'")
    words = f"{len(run.failures)} of {run.count} tests"
    if run.skipped:
        words += f", {sum(run.skipped.values())} skipped"
    clean = not run.failures and not run.skipped
    found = scores.Score("S21", words, clean, run.count)
    return scores.conclude([found], arguments.json, [*run.failures, *run.skipped])


if __name__ == "__main__":
    sys.exit(main())
