"""Run the main job once with each measurement operator, and keep the numbers.

    python benchmarks/recover_operators.py --json benchmarks/results/NAME-recover-operators.json

runs ``homfast recover`` five times, one after the other; ``python benchmarks/report.py`` writes the
table of docs/operators.md from the file. Other arguments go to each run as they are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homfast.recovery.settings import OPERATORS

KIND = "recover-operators"  # as in report.py


def run(arguments: Sequence[str]) -> list[dict[str, Any]]:
    """What `homfast recover` finds with each operator, in the order of `OPERATORS`.

    Raises
    ------
    subprocess.CalledProcessError
        A run failed, or was interrupted.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        picture, numbers = Path(folder, "recover.png"), Path(folder, "recover.json")
        for operator in OPERATORS:
            print(f"--operator {operator}", flush=True)
            command = [sys.executable, "-m", "homfast", "recover", *arguments]
            command += ["--operator", operator, "--output", str(picture), "--json", str(numbers)]
            subprocess.run(command, check=True)
            found.append(json.loads(numbers.read_text(encoding="utf-8")))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run all, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    args, rest = parser.parse_known_args(argv)
    if not args.json.parent.is_dir():
        parser.error(f"--json: {args.json.parent} is no directory")
    try:
        runs = run(rest)
    except subprocess.CalledProcessError as error:
        return error.returncode
    text = json.dumps({"kind": KIND, "runs": runs}, indent=2, allow_nan=False)
    args.json.write_text(text + "\n", encoding="utf-8")
    print(f"written {args.json}; python benchmarks/report.py makes the table of it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
