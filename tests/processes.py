"""Python code in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import homfast

HERE = Path(__file__).parent


def environment_of_tests():
    """The variables of this process, and the same homfast, and these modules, to be found."""
    paths = [str(Path(homfast.__file__).parent.parent), str(HERE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run_python(code, *, timeout=60, **environment):
    """Run ``code``; a variable given as None is unset, and HOMFAST_* of this process are too."""
    variables = {k: v for k, v in environment_of_tests().items() if not k.startswith("HOMFAST_")}
    for name, value in environment.items():
        variables.pop(name, None)
        if value is not None:
            variables[name] = value
    return subprocess.run(
        [sys.executable, "-P", "-X", "faulthandler", "-c", code],
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
