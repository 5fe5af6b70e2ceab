"""What importing and calling homfast changes in the process: nothing.

    python reliability/import_effects.py [--imports N] [--json FILE]

All that tests/process_state.py looks at is compared before the import, after it and after calls on
each target of this machine, under each state of floating point that a caller may have set. Exit
status 0 if nothing changed. The time of the import, beyond NumPy's, the least of N processes, is
told beside its limit and not judged: it is that of the machine as well.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import required
import scores

ROOT = Path(__file__).parent.parent
sys.path.insert(1, str(ROOT / "tests"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--imports", type=required.at_least_one, default=20, help="processes that are timed"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    from test_floating_point_state import MODES
    from test_process import IMPORT_LIMIT, import_time, looks

    required.native_extension()
    scores.begin(arguments.json, ["S17"])
    count, wrong = 0, []
    for mode, bits in MODES.items():
        for when, compared, changed in looks(bits):
            count += compared
            wrong += [f"{mode}, changed by {when}: {line}" for line in changed]
    for line in wrong:
        print(line)
    took = min(import_time() for _ in range(arguments.imports))
    words = f"{len(wrong)} of {count} looks; {1000 * took:.0f} ms beyond NumPy's import"
    words += f", wanted below {1000 * IMPORT_LIMIT:.0f}"
    found = scores.Score("S17", words, not wrong and count > 0, count)
    return scores.conclude([found], arguments.json, wrong)


if __name__ == "__main__":
    sys.exit(main())
