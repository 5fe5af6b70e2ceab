"""What importing and calling homfast changes in the process: nothing.

    python reliability/import_effects.py [--imports N] [--json FILE]

All that tests/process_state.py looks at is compared before the import, after it and after calls on
each target of this machine, under each state of floating point that a caller may have set. The time
of the import, beyond NumPy's, is the least of N processes. Exit status 0 if nothing changed and the
time is below the limit.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import scores

ROOT = Path(__file__).parent.parent
sys.path.insert(1, str(ROOT / "tests"))

LIMIT = 0.150  # seconds
IMPORT = """
import numpy, time
start = time.perf_counter()
import homfast
print(time.perf_counter() - start)
"""


def import_time(processes: int) -> float:
    """Seconds beyond NumPy's, the least of so many."""
    from processes import output

    return min(float(output(IMPORT)) for _ in range(processes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--imports", type=int, default=20, help="processes that are timed")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    from test_floating_point_state import MODES
    from test_process import looks

    count, wrong = 0, []
    for mode, bits in MODES.items():
        for when, compared, changed in looks(bits):
            count += compared
            wrong += [f"{mode}, changed by {when}: {line}" for line in changed]
    for line in wrong:
        print(line)
    took = import_time(arguments.imports)
    words = f"{len(wrong)} of {count} looks; {1000 * took:.0f} ms beyond NumPy's import"
    found = scores.Score("S17", words, not wrong and took < LIMIT, count)
    return scores.conclude([found], arguments.json, wrong)


if __name__ == "__main__":
    sys.exit(main())
