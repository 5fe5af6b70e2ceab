"""How many threads compute, and a pool of them for kernels that are called from Python.

Numba's own threads are not used: its `omp` layer ends a forked child, and its `workqueue` ends a
process in which two threads call at a time. Here kernels release the GIL and are cut into parts
whose bits do not depend on the cut; the caller takes parts too, so that a pool that has no thread
to give, because others use it or the interpreter is about to end, costs time and no more.
"""

from __future__ import annotations

import contextvars
import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from homfast._backends import native

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

# Handing a part to another thread takes some 30 us; below this it does not pay.
_MULTIPLY_ADDS_PER_THREAD = 4e6
_MOST = 4096

_count = 0
_source = ""
_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


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


def run_parts(function: Callable[..., Any], parts: Iterable[tuple[Any, ...]], threads: int) -> None:
    """``function(*part)`` for every part, on this thread and up to `threads` - 1 others.

    When it returns or raises, nobody computes any more. An exception, KeyboardInterrupt too, ends
    it after the parts that have begun.
    """
    waiting = deque(parts)
    if threads <= 1 or len(waiting) <= 1:
        for part in waiting:
            function(*part)
        return
    mode = _float_mode()

    def work() -> None:
        while True:
            try:
                part = waiting.popleft()
            except IndexError:
                return
            try:
                function(*part)
            except BaseException:
                waiting.clear()
                raise

    def help_out() -> None:
        own = _float_mode()
        _set_float_mode(mode)
        try:
            work()
        finally:
            _set_float_mode(own)

    own = os.getpid()
    helpers = _submit(help_out, min(threads, len(waiting)) - 1)
    try:
        work()
    finally:
        waiting.clear()
        if os.getpid() == own:
            _wait(helpers)
    if os.getpid() != own and helpers:
        raise RuntimeError(
            "homfast: this process was forked within a call, by a signal handler, and has no "
            "thread that computes the rest of it; fork between calls, or leave the child by "
            "os._exit"
        )
    for helper in helpers:
        if not helper.cancelled():
            helper.result()


def _submit(work: Callable[[], None], count: int) -> list[Future[None]]:
    """`count` calls of `work` on other threads, or as many as there can be."""
    global _pool, _pool_size
    helpers: list[Future[None]] = []
    try:
        from concurrent.futures import ThreadPoolExecutor  # takes a while, and is not always needed

        # Held by another thread, or by this one below a signal handler: done without helpers.
        lock = _lock  # a child that a signal handler forks has another
        if not lock.acquire(blocking=False):
            return []
        try:
            if _pool is None or _pool_size < count:
                if _pool is not None:
                    _pool.shutdown(wait=False)  # after what it has begun
                _pool = ThreadPoolExecutor(count, thread_name_prefix="homfast")
                _pool_size = count
            for _ in range(count):  # np.errstate of the caller is in its context
                helpers.append(_pool.submit(contextvars.copy_context().run, work))
        finally:
            lock.release()
    except RuntimeError:  # no thread can be started, or the interpreter is about to end
        pass
    return helpers


def _wait(helpers: list[Future[None]]) -> None:
    """Until no helper runs, whatever interrupts: they write to memory of the caller's."""
    interrupt: BaseException | None = None
    for helper in helpers:
        while not (helper.cancel() or helper.done()):
            try:
                helper.exception()
            except BaseException as error:
                interrupt = error
    if interrupt is not None:
        raise interrupt


def _forget_pool() -> None:
    """In a forked child: the parent's threads are not there, and its locks may be held."""
    global _lock, _pool, _pool_size
    _lock, _pool, _pool_size = threading.Lock(), None, 0


# Whoever holds it keeps other threads from forking: a child has none of them to release locks.
no_fork = threading.RLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
    os.register_at_fork(
        before=no_fork.acquire, after_in_parent=no_fork.release, after_in_child=no_fork.release
    )

# Flush to zero and the rounding mode belong to a thread: helpers take the caller's for a call, and
# bits then do not depend on who computes. glibc's fenv_t has 32 bytes at most.
try:
    _libm = ctypes.CDLL(None)
    _get_environment, _set_environment = _libm.fegetenv, _libm.fesetenv
except (AttributeError, OSError):
    _get_environment = _set_environment = None  # type: ignore[assignment]


def _float_mode() -> Any:
    mode = ctypes.create_string_buffer(64)
    if _get_environment is not None:
        _get_environment(mode)
    return mode


def _set_float_mode(mode: Any) -> None:
    if _set_environment is not None:
        _set_environment(mode)
