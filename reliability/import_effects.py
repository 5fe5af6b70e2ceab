"""What importing and calling homfast changes in the process: nothing.

    python reliability/import_effects.py [--imports N] [--json FILE]

All that tests/process_state.py looks at is compared before the import, after it and after calls on
each target of this machine, under each state of floating point that a caller may have set. The time
of the import, beyond NumPy's, is the least of N processes. Exit status 0 if nothing changed and the
time is below the limit.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import scores
from homfast.selftesting.engines import targets

ROOT = Path(__file__).parent.parent
sys.path.insert(1, str(ROOT / "tests"))

LIMIT = 0.150  # seconds
LOOKS = """
import json, mxcsr
from process_state import changes, state
mxcsr.write(mxcsr.read() | {mode})
before = state()
import homfast
imported = state()
{work}
print(json.dumps(["import", len(before), changes(before, imported)]))
for target in {targets}:
    homfast.set_target(target)
    for threads in (1, 3):
        homfast.set_num_threads(threads)
        work()
        # Threads are what a call with several may leave.
        found = changes(imported, state(), "threads")
        print(json.dumps([f"calls on {{target}}, {{threads}} threads", len(before) - 1, found]))
"""
IMPORT = """
import numpy, time
start = time.perf_counter()
import homfast
print(time.perf_counter() - start)
"""


def look(mode: int) -> tuple[int, list[str]]:
    """How many comparisons one process made, and what had changed."""
    from processes import output
    from test_process import WORK

    here = [name for name, how in targets().items() if how == "available"]
    code = LOOKS.format(mode=mode, work=WORK, targets=here)
    # threadpoolctl, which tests import, sets the variable in this process.
    told = output(code, KMP_DUPLICATE_LIB_OK=None)
    count, wrong = 0, []
    for when, compared, found in map(json.loads, told.splitlines()):
        count += compared
        wrong += [f"changed by {when}: {line}" for line in found]
    return count, wrong


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

    count, wrong = 0, []
    for mode, bits in MODES.items():
        compared, changed = look(bits)
        count += compared
        wrong += [f"{mode}: {line}" for line in changed]
    for line in wrong:
        print(line)
    took = import_time(arguments.imports)
    words = f"{len(wrong)} of {count} looks; {1000 * took:.0f} ms beyond NumPy's import"
    found = scores.Score("S17", words, not wrong and took < LIMIT, count)
    return scores.conclude([found], arguments.json, wrong)


if __name__ == "__main__":
    sys.exit(main())
