"""Runs of pytest on this checkout, with what came of each test."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Run(NamedTuple):
    """What a run told."""

    passed: int
    failures: list[str]  # tests, as pytest takes them, or what broke the run off
    skipped: dict[str, int]  # by reason

    @property
    def count(self) -> int:
        """Of the tests that ran."""
        return self.passed + len(self.failures)


def run_tests(arguments: Sequence[str]) -> Run:
    """`python -m pytest` with these arguments, in a process of its own.

    The tests that need the native extension are no skip there.
    """
    environment = {**os.environ, "HOMFAST_REQUIRE_NATIVE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = [
            "-q",
            "-p",
            "no:cacheprovider",
            "-o",
            "junit_family=xunit1",
            f"--junit-xml={report}",
        ]
        command = [sys.executable, "-m", "pytest", *options, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        cases = list(ElementTree.parse(report).iter("testcase")) if report.is_file() else []
    passed, failures, skipped = 0, [], collections.Counter[str]()
    for case in cases:
        reason = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failures.append(f"{case.get('file')}::{case.get('name')}")
        elif reason is not None:
            skipped[str(reason.get("message"))] += 1
        else:
            passed += 1
    if done.returncode and not failures:
        failures.append(f"exit {done.returncode}: {(done.stdout + done.stderr).strip()[-1000:]}")
    return Run(passed, failures, dict(skipped))
