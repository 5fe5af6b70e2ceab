"""A pool of threads for kernels that are called from Python.

Numba's own threads are not used: its `omp` layer ends a forked child, and its `workqueue` ends a
process in which two threads call at a time. Here kernels release the GIL and are cut into parts
whose bits do not depend on the cut; the caller takes parts too, so that a pool that has no thread
to give, because others use it or the interpreter is about to end, costs time and no more.

Nor are those of `concurrent.futures`: handing work out takes locks that a fork takes too, and a
signal handler may fork, or raise, at any step of a call. What is here has no lock that a handler
could find held, and a helper asks the call itself whether it still runs.
"""

from __future__ import annotations

import _thread
import atexit
import contextvars
import ctypes
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any

_LOOK = 0.1  # seconds between looks whether a wait is one of a forked child, which has no helpers


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
    call = _Call(function, waiting)
    try:
        try:
            call.ask(min(threads, len(waiting)) - 1)
            call.work()
        finally:
            call.end()
    finally:
        call.end()  # once more, for a handler may raise on the way to the first
    if os.getpid() != call.process and call.turns:
        raise RuntimeError(
            "homfast: this process was forked within a call, by a signal handler, and has no "
            "thread that computes the rest of it; fork between calls, or leave the child by "
            "os._exit"
        )
    if call.errors:
        raise call.errors[0]


class _Call:
    """Parts of one call that wait, and the turns of those who help.

    A helper holds its turn while it takes parts. The call ends by leaving none to take and then
    taking all turns for good: it waits for who has one, and who comes later goes away.
    """

    def __init__(self, function: Callable[..., Any], waiting: deque[tuple[Any, ...]]) -> None:
        self.function = function
        self.waiting = waiting
        self.process = os.getpid()
        self.mode = _float_mode()
        self.turns: list[threading.RLock] = []
        self.errors: list[BaseException] = []

    def ask(self, count: int) -> None:
        """For the help of `count` other threads, or of as many as there can be."""
        pool = _pool  # a child that a handler forks has another
        for _ in range(pool.grow(count)):
            turn = threading.RLock()
            self.turns.append(turn)
            # np.errstate of the caller is in its context.
            pool.tasks.put(functools.partial(contextvars.copy_context().run, self.help, turn))

    def work(self) -> None:
        """Parts, one after the other, until none waits."""
        while True:
            try:
                part = self.waiting.popleft()
            except IndexError:
                return
            try:
                self.function(*part)
            except BaseException:
                self.waiting.clear()
                raise

    def help(self, turn: threading.RLock) -> None:
        """`work`, of a thread of the pool, in the floating-point mode of the caller."""
        if not turn.acquire(blocking=False):
            return
        try:
            own = _float_mode()
            _set_float_mode(self.mode)
            try:
                self.work()
            finally:
                _set_float_mode(own)
        except BaseException as error:
            self.errors.append(error)
        finally:
            turn.release()

    def end(self) -> None:
        """Let nobody compute any more, whatever interrupts: they write to memory of the caller."""
        self.waiting.clear()
        interrupt: BaseException | None = None
        for turn in self.turns:
            while os.getpid() == self.process:
                try:
                    if turn.acquire(timeout=_LOOK):
                        break
                except BaseException as error:
                    interrupt = error
        if interrupt is not None:
            raise interrupt


class _Pool:
    """Threads that do what is put into a queue, in order, until None."""

    def __init__(self) -> None:
        self.tasks: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.count = 0
        self.stopped = False
        self.ends: list[_thread.LockType] = []  # one of each thread, which holds it while it is

    def grow(self, count: int) -> int:
        """Have `count` threads, and say how many there are of them."""
        if self.stopped:
            return 0
        try:
            while self.count < count:  # two who do this at a time start more: no harm
                if self.count == 0:
                    _stop_at_exit()
                _thread.start_new_thread(self._serve, ())
                self.count += 1
        except RuntimeError:  # no thread can be started, or the interpreter is about to end
            pass
        return min(count, self.count)

    def _serve(self) -> None:
        end = _thread.allocate_lock()
        with end:
            self.ends.append(end)
            while True:
                task = self.tasks.get()
                if task is None:
                    break
                task()
                del task  # and with it the caller's arrays
            self.tasks.put(None)  # for the next one

    def stop(self) -> None:
        """End the threads, after what is in the queue, and take no more."""
        self.stopped = True
        self.tasks.put(None)
        for end in self.ends:
            end.acquire()


_pool = _Pool()
_stops_at_exit = False


def _stop_at_exit() -> None:
    """Let no thread of the pool run into the end of the interpreter, where it would be killed."""
    global _stops_at_exit
    if not _stops_at_exit:
        atexit.register(lambda: _pool.stop())  # that of the process which ends
        _stops_at_exit = True


def _forget() -> None:
    """In a forked child: the parent's threads are not there."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

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
