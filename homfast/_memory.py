"""Whether arrays fit this machine, asked before they are made.

Linux grants more memory than there is, and kills the process that writes to it.
"""

from __future__ import annotations

import functools
import math
import os
from pathlib import Path

import numpy as np

_SMALL = 1 << 28  # bytes; not worth a look at the memory
_UNKNOWN = 1 << 62  # NumPy will see


@functools.cache
def capacity() -> int:
    """Bytes of memory of this machine, or of the container that the process is in."""
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        physical = _UNKNOWN
    return min([physical, *_container_limits()])


def _container_limits() -> list[int]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        version_1 = controllers == "memory"
        if not version_1 and controllers:
            continue
        root = Path("/sys/fs/cgroup", "memory" if version_1 else "")
        name = "memory.limit_in_bytes" if version_1 else "memory.max"
        for folder in (root / path.lstrip("/"), root):
            try:
                limits.append(int((folder / name).read_text()))
            except (OSError, ValueError):  # not there, or "max"
                continue
    return limits


def available() -> int:
    """Bytes that can be had now."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        free = _UNKNOWN
    return min(free, capacity())


def check(
    shape: tuple[int, ...],
    dtype: np.dtype,
    what: str = "out: a result",
    fix: str = "call with fewer rows at a time",
) -> None:
    """MemoryError, in time, for an array that the machine cannot hold."""
    size = math.prod(shape) * dtype.itemsize
    if size >= _SMALL and size > available():
        raise MemoryError(
            f"{what} of shape {shape} in {dtype} needs {size / 2**30:.4g} GiB, of which this "
            f"machine has {available() / 2**30:.4g} to spare; {fix}"
        )


def empty(shape: tuple[int, ...], dtype: np.dtype, what: str = "out: a result") -> np.ndarray:
    """``numpy.empty``, or MemoryError for what does not fit."""
    check(shape, dtype, what)
    return np.empty(shape, dtype)
