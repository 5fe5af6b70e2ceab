"""How many threads compute, and what keeps them from forking."""

from __future__ import annotations

import os
import threading

from homfast._backends import native

# Handing a part to another thread takes some 30 us; below this it does not pay.
_MULTIPLY_ADDS_PER_THREAD = 4e6
_MOST = 4096

_count = 0
_source = ""


def get_num_threads() -> int:
    """That of the extension, which has a pool of its own, where there is one."""
    if native._native is not None:
        return native._native.get_num_threads()
    global _count, _source
    if not _count:
        _count, _source = _default()
    return _count


def set_num_threads(n: int) -> None:
    """Set it, for the extension too; `n` was checked."""
    global _count, _source
    if native._native is not None:
        native._native.set_num_threads(n)
    else:
        _count, _source = n, "set_num_threads"


def source() -> str:
    """Where the number comes from."""
    if native._native is not None:
        return native._native.threads_source()
    get_num_threads()
    return _source


def _default() -> tuple[int, str]:
    """By the rules of the extension."""
    own = os.environ.get("HOMFAST_NUM_THREADS")
    if own:
        count = _parse(own)
        if not count:
            raise ValueError(
                f"HOMFAST_NUM_THREADS: got {own!r}, wanted an integer from 1 to {_MOST}"
            )
        return count, "HOMFAST_NUM_THREADS"
    count = _parse(os.environ.get("OMP_NUM_THREADS", ""))
    if count:
        return count, "OMP_NUM_THREADS"
    try:
        return max(1, len(os.sched_getaffinity(0))), "the affinity mask"
    except AttributeError:
        return os.cpu_count() or 1, "the processors"


def _parse(text: str) -> int:
    """A number of threads, or 0."""
    digits = text.strip().removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5):
        return 0
    return int(digits) if 1 <= int(digits) <= _MOST else 0


def threads_for(multiply_adds: float) -> int:
    """How many threads are worth their while."""
    worth = min(multiply_adds / _MULTIPLY_ADDS_PER_THREAD, _MOST)
    return max(1, min(get_num_threads(), int(worth)))


# Whoever holds it keeps other threads from forking: a child has none of them to release locks.
no_fork = threading.RLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=no_fork.release
    )
