"""Ctrl-C held back for as long as something in Python must be done as a whole."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """SIGINT within the block is handled at its end, by whoever handled it before.

    Python handles signals in the main thread of the main interpreter; elsewhere nothing is to be
    done, nor where another language has installed the handler.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    heard = []
    try:
        signal.signal(signal.SIGINT, lambda number, frame: heard.append((number, frame)))
    except ValueError:  # of another interpreter's main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if heard:
            before(*heard[0])
