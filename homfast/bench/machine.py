"""What was measured on: processor, target, threads, versions, commit."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import homfast
from homfast._backends import automatic, native
from homfast._installation import cpu_model, source_commit


def target() -> str:
    """The instruction set of the native kernels, "none" without the extension."""
    return homfast.get_target() if native.is_available() else "none"


def describe(threads: int, peers: Iterable[Any] = ()) -> dict[str, Any]:
    """The machine line as a dictionary, without host name or paths."""
    versions = {"homfast": homfast.__version__}
    versions |= {peer.name.partition(".")[0]: str(peer.version) for peer in peers}
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "target": target(),
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


class OtherWork:
    """How much of the machine other processes use, from its making to `share`.

    The figures of a comparison that others took part in are doubtful: OpenMP's and OpenBLAS's
    threads wait for each other, and a call of microseconds then takes a scheduler's slice.
    """

    def __init__(self) -> None:
        self._wall, self._others = time.perf_counter(), _cpu_seconds_of_others()

    def share(self) -> float | None:
        """Processor time of others over that of all cores, 0 to 1; None where it is not known."""
        others = _cpu_seconds_of_others()
        if others is None or self._others is None:
            return None
        available = (time.perf_counter() - self._wall) * (os.cpu_count() or 1)
        return min(max((others - self._others) / available, 0.0), 1.0)


def _cpu_seconds_of_others() -> float | None:
    """Seconds that all cores were busy or stolen since boot, less those of this process."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()
        user, nice, system, _, _, irq, softirq, steal = map(int, fields[1:9])
    except (OSError, ValueError):
        return None
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    own = os.times()
    return busy - own.user - own.system
