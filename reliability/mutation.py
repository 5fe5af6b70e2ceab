"""Builds each wrong kernel of mutants.py and counts those that the quick tests notice.

    python reliability/mutation.py [--only WORDS] [--targets NAMES] [--limit SECONDS] [--json FILE]

Works in a copy of the checkout. The tests that judge must pass on it unchanged: those that the
mutants name before the first one, the whole quick suite once a mutant was left to it. A test that
fails, crashes or does not end within the limit has noticed. A build that fails is no mutant, and a
run of pytest that ends otherwise (no tests, an error of its own, killed) no verdict: both are
reported, and fail. Tests that read the sources do not judge. Exit status 0 if every mutant was
noticed.
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
from collections import Counter
from pathlib import Path
from typing import Any

import required
import scores
from checkout import copy_checkout, keep_targets
from mutants import MUTANTS, Mutant

ROOT = Path(__file__).parent.parent
BUILD = [sys.executable, "setup.py", "build_ext", "--inplace"]
# What reads the sources would notice an edit of any kind.
READERS = [
    "--ignore=tests/test_architecture.py",
    "--deselect=tests/test_reliability.py::test_every_mutant_can_be_made",
    "--deselect=tests/test_reliability.py::test_an_error_that_is_lost_is_noticed_by_the_harness",
    "--deselect=tests/test_selftest.py::test_threads_are_given_work",
    "--deselect=tests/test_free_threading.py::test_the_extension_declares_it",
]
TEST = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *READERS]
FAILED = 1  # of pytest's exit statuses: tests were run, and some failed
JUDGED = ("noticed", "survived")
CRASHES = {"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGTRAP"}


def apply(mutant: Mutant, folder: Path) -> None:
    """The edits, each of a piece that is there once."""
    path = folder / mutant.file
    text = path.read_text()
    for old, new in mutant.edits:
        if text.count(old) != 1:
            raise ValueError(f"{mutant.name}: {text.count(old)} times in {mutant.file}: {old!r}")
        text = text.replace(old, new)
    path.write_text(text)


def run(command: list[str], folder: Path, limit: float) -> tuple[int | None, str]:
    """The exit status, None if it did not end within the limit, and what was printed."""
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
            return None, ""
    return process.returncode, output


def verdict(status: int | None) -> str:
    """What a run of pytest says of a mutant: "survived", "noticed", or that it says nothing."""
    if status == 0:
        return "survived"
    if status is None or status == FAILED:
        return "noticed"
    if status > 0:
        return f"not judged: pytest ended with {status}"
    name = signal.Signals(-status).name
    return "noticed" if name in CRASHES else f"not judged: pytest was ended by {name}"


def files_of(mutants: list[Mutant]) -> list[str]:
    """The tests that they begin with, each once."""
    return list(dict.fromkeys(f"tests/test_{name}.py" for m in mutants for name in m.tests))


def why_no_baseline(files: list[str], folder: Path, limit: float) -> str:
    """Why the unchanged copy can judge nothing by these tests, all if there are none, or ""."""
    for command in (BUILD, [*TEST, *files]):
        status, output = run(command, folder, limit)
        if status != 0:
            how = "did not end" if status is None else f"ended with {status}"
            words = " ".join(command[1:])
            return f"the unchanged checkout: {words} {how}:\n{output[-2000:]}"
    return ""


def noticed_by(output: str) -> str:
    """The first test that failed, or where the run broke off, as far as it says."""
    if found := re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", output, re.MULTILINE):
        return found[1]
    if found := re.search(r'File ".*/(tests/test_\w+\.py)", line \d+ in (test_\w+)', output):
        return f"broke off: {found[1]}::{found[2]}"
    lines = [line for line in output.splitlines() if line.strip()]
    return "broke off: " + (lines[-1] if lines else "silently")


def judge(mutant: Mutant, folder: Path, limit: float) -> dict[str, Any]:
    """What became of one mutant."""
    begin = time.monotonic()
    path = folder / mutant.file
    original = path.read_bytes()
    try:
        apply(mutant, folder)
        status, output = run(BUILD, folder, limit)
        if status != 0:
            return {"name": mutant.name, "verdict": "does not build", "output": output[-2000:]}
        found, by, whole = "survived", "", False
        for files in (files_of([mutant]), []):
            whole = not files
            status, output = run([*TEST, *files], folder, limit)
            found = verdict(status)
            if found != "survived":
                by = "did not end" if status is None else noticed_by(output)
                break
    finally:
        path.write_bytes(original)
    seconds = round(time.monotonic() - begin, 1)
    return {
        "name": mutant.name, "verdict": found, "by": by, "whole": whole, "seconds": seconds,
    }  # fmt: skip


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
    if not chosen:
        parser.error(f"argument --only: no mutant's name holds {arguments.only!r}")
    required.native_extension()
    scores.begin(arguments.json, ["S27"])
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_checkout(folder)
        keep_targets(folder, arguments.targets.split(","))
        if why := why_no_baseline(files_of(chosen), folder, arguments.limit):
            raise SystemExit(why)
        for number, mutant in enumerate(chosen, 1):
            result = judge(mutant, folder, arguments.limit)
            results.append(result)
            how = f"{result['verdict']} {result.get('by', '')}"
            print(f"{number}/{len(chosen)} {mutant.name}: {how}", flush=True)
        left = [r for r in results if r["verdict"] == "noticed" and r["whole"]]
        if left and (why := why_no_baseline([], folder, arguments.limit)):
            print(why)
            for result in left:
                result["verdict"] = "not judged: the whole suite fails without it"
    found = score(results, whole=not arguments.only)
    where = f"; compiled for {arguments.targets.replace(',', ', ')}, CUDA's for the host"
    found = found._replace(result=found.result + where)
    return scores.conclude([found], arguments.json, results)


def score(results: list[dict[str, Any]], whole: bool) -> scores.Score:
    """Of the mutants that tests judged; one that they could not judge spoils the run.

    Of chosen ones none count.
    """
    found = Counter(r["verdict"] if r["verdict"] in JUDGED else "not judged" for r in results)
    judged = sum(found[word] for word in JUDGED)
    words = f"{found['survived']} of {judged}"
    if found["not judged"]:
        words += f", {found['not judged']} not built or not judged"
    clean = judged > 0 and found["noticed"] == len(results)
    return scores.Score("S27", words, clean, judged if whole else 0)


if __name__ == "__main__":
    sys.exit(main())
