"""Builds each wrong kernel of mutants.py and counts those that the quick tests notice.

    python reliability/mutation.py [--only WORDS] [--targets NAMES] [--limit SECONDS] [--json FILE]

Works in a copy of the checkout. Exit status 0 if every mutant was noticed. A build that fails is no
mutant: it is reported, and fails. A test that does not end within the limit has noticed.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import scores
from checkout import copy_checkout, keep_targets
from mutants import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
BUILD = [sys.executable, "setup.py", "build_ext", "--inplace"]
TEST = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]


def apply(mutant: Mutant, folder: Path) -> None:
    """The edits, each of a piece that is there once."""
    path = folder / mutant.file
    text = path.read_text()
    for old, new in mutant.edits:
        if text.count(old) != 1:
            raise ValueError(f"{mutant.name}: {text.count(old)} times in {mutant.file}: {old!r}")
        text = text.replace(old, new)
    path.write_text(text)


def run(command: list[str], folder: Path, limit: float) -> tuple[str, str]:
    """("passed", "failed" or "did not end", what was printed)."""
    environment = {
        **os.environ,
        "HOMFAST_CUDA": "0",
        "HOMFAST_REQUIRE_NATIVE": "1",
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that what it started ends with it
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "did not end", ""
    return "failed" if process.returncode else "passed", output


def noticed_by(output: str) -> str:
    """The first test that failed, or the last line of a run that broke off."""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    lines = [line for line in output.splitlines() if line.strip()]
    return found[1] if found else "broke off: " + (lines[-1] if lines else "silently")


def judge(mutant: Mutant, folder: Path, limit: float) -> dict[str, Any]:
    """What became of one mutant."""
    begin = time.monotonic()
    path = folder / mutant.file
    original = path.read_bytes()
    try:
        apply(mutant, folder)
        state, output = run(BUILD, folder, limit)
        if state != "passed":
            return {"name": mutant.name, "verdict": "does not build", "output": output[-2000:]}
        verdict, by = "survived", ""
        first = [f"tests/test_{name}.py" for name in mutant.tests]
        for files in (first, []):
            state, output = run([*TEST, *files], folder, limit)
            if state != "passed":
                verdict = "noticed"
                by = "did not end" if state == "did not end" else noticed_by(output)
                break
    finally:
        path.write_bytes(original)
    seconds = round(time.monotonic() - begin, 1)
    return {"name": mutant.name, "verdict": verdict, "by": by, "seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="names that hold these words")
    parser.add_argument(
        "--targets", default="avx2,neon,scalar", help="what to compile, of targets.def"
    )
    parser.add_argument("--limit", type=float, default=1200, help="seconds for a build or a run")
    parser.add_argument("--json", type=Path, help="where to write what became of each")
    arguments = parser.parse_args()
    chosen = [m for m in MUTANTS if arguments.only in m.name]
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_checkout(folder)
        keep_targets(folder, arguments.targets.split(","))
        state, output = run(BUILD, folder, arguments.limit)
        if state != "passed":
            raise SystemExit(f"the unchanged checkout does not build:\n{output[-2000:]}")
        for number, mutant in enumerate(chosen, 1):
            result = judge(mutant, folder, arguments.limit)
            results.append(result)
            how = f"{result['verdict']} {result.get('by', '')}"
            print(f"{number}/{len(chosen)} {mutant.name}: {how}", flush=True)
    noticed = sum(r["verdict"] == "noticed" for r in results)
    print(f"{noticed} of {len(results)} noticed")
    line = f"{len(results) - noticed} of {len(results)}"
    found = scores.Score("S27", line, noticed == len(results), len(results))
    return scores.conclude([found], arguments.json, results)


if __name__ == "__main__":
    sys.exit(main())
