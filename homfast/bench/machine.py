"""What was measured on: processor, target, threads, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import homfast
from homfast._backends import automatic, native


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip().lower() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def source_commit() -> str | None:
    """The commit of the sources in use, "-dirty" behind it if they differ; None outside of git."""
    package = Path(homfast.__file__).parent
    sources = [str(package), str(package.parent / "csrc")]
    if _git(package, "ls-files", "__init__.py") != "__init__.py":
        return None  # an installed package below somebody else's repository
    commit = _git(package, "rev-parse", "--short=12", "HEAD")
    if commit and _git(package, "status", "--porcelain", "--", *sources):
        commit += "-dirty"
    return commit


def describe(threads: int, peers: Iterable[Any] = ()) -> dict[str, Any]:
    """The machine line as a dictionary, without host name or paths."""
    has_native = native.is_available()
    versions = {"homfast": homfast.__version__}
    versions |= {peer.name.partition(".")[0]: str(peer.version) for peer in peers}
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "target": homfast.get_target() if has_native else "none",
        "backend": automatic().name,
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "commit": source_commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def line(machine: Mapping[str, Any]) -> str:
    """`describe`'s dictionary as one line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['cpu']}, target {machine['target']} (backend {machine['backend']}), "
        f"{machine['threads']} threads of {machine['cores']} cores; {versions}, "
        f"Python {machine['python']}; commit {machine['commit'] or 'unknown'}"
    )


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
