"""Python code in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys


def run_python(code, *, timeout=60, **environment):
    """Run ``code``; a variable given as None is unset, and HOMFAST_* of this process are too."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("HOMFAST_")}
    for name, value in environment.items():
        variables.pop(name, None)
        if value is not None:
            variables[name] = value
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=variables,
    )


def output(code, **options):
    """What ``code`` prints; a failure of the test with its messages if it fails."""
    done = run_python(code, **options)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-3000:]}\n{code}"
    return done.stdout.strip()
