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
import time
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
    every = list(parts)
    if threads <= 1 or len(every) <= 1:
        for part in every:
            function(*part)
        return
    call = _Call(function, every, min(threads, len(every)))
    call.run()
    errors = call.take_errors()
    if errors:
        try:
            raise errors[0]
        finally:
            del errors  # which refer to this frame
    if call.turns and os.getpid() != call.process:
        raise RuntimeError(
            "homfast: this process was forked within a call, by a signal handler, and has no "
            "thread that computes the rest of it; fork between calls, or leave the child by "
            "os._exit"
        )


class _Call:
    """Parts of one call that wait, and the turns of those who help.

    A helper holds its turn while it takes parts. The call ends by saying so and then taking all
    turns for good: it waits for who has one, and who comes later goes away.
    """

    def __init__(
        self, function: Callable[..., Any], parts: list[tuple[Any, ...]], threads: int
    ) -> None:
        self.process = os.getpid()
        self.function: Callable[..., Any] | None = function
        # A last part for each thread: an empty queue would raise what a handler may raise, too.
        self.waiting = deque[tuple[Any, ...] | None]([*parts, *[None] * threads])
        self.threads = threads
        self.mode = _float_mode()
        self.turns: list[threading.RLock] = []
        self.over = self.finished = False
        self.interrupt: BaseException | None = None
        self.errors: list[BaseException] = []

    def run(self, levels: int = 8) -> None:
        """Compute, on this thread and others, and finish, whatever interrupts.

        They write to memory of the caller. Handlers that raise may come one upon the other; each
        level hears those that come between the steps of the level below it.
        """
        try:
            if levels:
                self.run(levels - 1)
            else:
                self.ask()
                self.work()
        finally:
            while not self.finished:
                try:
                    self.finish()
                except BaseException as error:  # and no call, after which a handler would run
                    first = self.interrupt
                    self.interrupt = error if first is None else first

    def ask(self) -> None:
        """For the help of other threads, of as many as there can be."""
        pool = _pool_of_process()
        for _ in range(pool.grow(self.threads - 1)):
            if os.getpid() != self.process:
                return  # a child that a handler forked: alone, it computes what was not handed out
            turn = threading.RLock()
            self.turns.append(turn)
            # np.errstate of the caller is in its context.
            pool.tasks.put(functools.partial(contextvars.copy_context().run, self.help, turn))

    def work(self) -> None:
        """Parts, one after the other, until none waits."""
        function = self.function
        while not self.over:
            part = self.waiting.popleft()
            if part is None or function is None:
                return
            try:
                function(*part)
            except BaseException:
                self.over = True
                raise

    def help(self, turn: threading.RLock) -> None:
        """`work`, of a thread of the pool, in the floating-point mode of the caller."""
        if os.getpid() != self.process or not turn.acquire(blocking=False):
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

    def finish(self) -> None:
        """Wait until no helper computes, and let go of what they would compute."""
        self.over = True
        for turn in self.turns:
            while os.getpid() == self.process and not turn.acquire(timeout=_LOOK):
                pass
        self.function = None  # whoever comes late from the queue keeps no array alive
        self.waiting.clear()
        self.finished = True

    def take_errors(self) -> list[BaseException]:
        """What was raised meanwhile, in order; it refers to the call, which forgets it."""
        found = [] if self.interrupt is None else [self.interrupt]
        found += self.errors
        self.interrupt = None
        self.errors.clear()
        return found


class _Pool:
    """Threads of one process that do what is put into a queue, in order, until None."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.tasks: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self.count = 0
        self.stopped = False
        self.ends: list[_thread.LockType] = []  # one of each thread, which holds it while it is

    def grow(self, count: int) -> int:
        """Have `count` threads, and say how many there are of them, if they are not far behind."""
        if self.stopped or self.tasks.qsize() > 4 * count:
            return 0
        while self.count < count:  # two who do this at a time start more: no harm
            try:
                _thread.start_new_thread(self._serve, ())
            except RuntimeError as error:
                if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                    raise  # of a signal handler
                break  # no thread can be started, or the interpreter is about to end
            self.count += 1
        return min(count, self.count)

    def _serve(self) -> None:
        end = _thread.allocate_lock()
        with end:
            self.ends.append(end)
            while os.getpid() == self.process:  # started by a child on its parent's: not for it
                task = self.tasks.get()
                if task is None:
                    self.tasks.put(None)  # for the next one
                    return
                task()
                del task  # and with it the caller's arrays

    def stop(self) -> None:
        """End the threads, after what is in the queue, and take no more."""
        self.stopped = True
        self.tasks.put(None)
        begun_by = time.monotonic() + 1
        while len(self.ends) < self.count and time.monotonic() < begun_by:
            time.sleep(0.001)
        for end in self.ends:
            while os.getpid() == self.process and not end.acquire(timeout=_LOOK):
                pass


_pool = _Pool()


def _pool_of_process() -> _Pool:
    """Not its parent's, whose threads are not here."""
    global _pool
    if _pool.process != os.getpid():
        _pool = _Pool()
    return _pool


@atexit.register
def _stop() -> None:
    """Let no thread of the pool run into the end of the interpreter, where it would be killed."""
    _pool_of_process().stop()


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
