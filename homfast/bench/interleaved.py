"""The measuring loop: contenders take turns in one process, and medians are kept.

In each round every contender runs one burst of calls. Three things spoil such comparisons and are
met here. Idle thread pools spin (libgomp and OpenBLAS for tens of milliseconds, one OpenBLAS for
more than 60, beside which a product took twice as long) and take the cores from whoever runs next:
a pause precedes each burst and lasts until the process uses no processor time. The clock of the
processor drifts by a fifth: bursts are short, the order rotates and reverses between the rounds,
and the peak is measured in every round. One slow burst is an accident of the machine: the median
over the rounds is kept.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

PAUSE = 0.06  # seconds before each burst, at least
_LOOK = 0.01  # seconds of sleep in which a process that is quiet uses less than a tenth
_LOOKS = 100
BURST = 0.03  # seconds a burst lasts, if a call is not longer
ROUNDS = 9
_LEAST_ROUNDS = 3  # a median of fewer is none


@dataclass(frozen=True)
class Contender:
    """One implementation of one operation on given data.

    Attributes
    ----------
    name : str
    call : callable
        Runs the operation once and returns its result.
    run : callable, optional
        ``run(count)`` runs it `count` times, where that is not a loop over `call`.
    context : callable
        Returns a context manager, entered around a burst and outside of the clock.
    """

    name: str
    call: Callable[[], Any]
    run: Callable[[int], Any] | None = None
    context: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext

    def result(self) -> Any:
        """The result of one call."""
        with self.context():
            return self.call()

    def repeat(self, count: int) -> None:
        """`count` calls, within a context that the caller entered."""
        if self.run is not None:
            self.run(count)
            return
        call = self.call
        for _ in repeat(None, count):
            call()


@dataclass
class Measured:
    """What `measure` found.

    Attributes
    ----------
    bursts : dict of str to list of float
        Seconds a call, by contender, one entry a round.
    counts : dict of str to int
        Calls a burst.
    peaks : dict of str to list of float
        What ``between`` returned after each round, by its names.
    """

    bursts: dict[str, list[float]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    peaks: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Seconds a call of the contender `name`."""
        return statistics.median(self.bursts[name])

    def quartiles(self, name: str) -> tuple[float, float]:
        """First and third quartile of the seconds a call."""
        low, _, high = statistics.quantiles(self.bursts[name], n=4, method="inclusive")
        return low, high

    def peak(self, roof: str) -> float | None:
        """Median over the rounds of the peak called `roof`; None without it."""
        return statistics.median(self.peaks[roof]) if self.peaks.get(roof) else None

    def share_of_peak(self, name: str, flops: float, roof: str) -> float | None:
        """Median over the rounds of flop/s over the peak of that round; None without a peak."""
        if not self.peaks.get(roof):
            return None
        pairs = zip(self.bursts[name], self.peaks[roof], strict=True)
        return statistics.median(flops / seconds / peak for seconds, peak in pairs)


class Clock:
    """Shares `seconds`, or no limit for None, among `count` measurements as they come."""

    def __init__(self, seconds: float | None, count: int):
        self._end = None if seconds is None else time.perf_counter() + seconds
        self._left = count

    def next_deadline(self) -> float | None:
        """By when the next one is to end: what others left over is shared again."""
        if self._end is None:
            return None
        now = time.perf_counter()
        deadline = now + (self._end - now) / self._left
        self._left -= 1
        return deadline


def turn_order(count: int, round_number: int) -> list[int]:
    """Who runs when in a round: rotated every second round and reversed in the odd ones.

    Rotation alone would give each contender the same predecessor in every round.
    """
    shift = (round_number // 2) % count
    order = [*range(shift, count), *range(shift)]
    return order[::-1] if round_number % 2 else order


def calibrate(
    contender: Contender, burst: float, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Calls that fill `burst` seconds, at least one."""
    count = 1
    with contender.context():
        contender.repeat(1)  # the first call loads, allocates and wakes
        while True:
            start = clock()
            contender.repeat(count)
            elapsed = clock() - start
            if elapsed >= burst / 2:
                return max(1, round(count * burst / elapsed))
            count *= 4 if elapsed < burst / 8 else 2


def wait_until_quiet(
    pause: float,
    sleep: Callable[[float], None] = time.sleep,
    used: Callable[[], float] = time.process_time,
) -> None:
    """Sleep `pause` seconds, and on until no thread of the process runs, a second at most.

    Parameters
    ----------
    pause : float
        Seconds; 0 returns at once.
    sleep, used : callable
        The tests put their own here; ``used()`` is the processor time of all threads.
    """
    if pause <= 0:
        return
    sleep(pause)
    for _ in range(_LOOKS):
        before = used()
        sleep(_LOOK)
        if used() - before < _LOOK / 10:
            return


def measure(
    contenders: Sequence[Contender],
    *,
    rounds: int = ROUNDS,
    burst: float = BURST,
    pause: float = PAUSE,
    deadline: float | None = None,
    between: Callable[[], Mapping[str, float]] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
    used: Callable[[], float] = time.process_time,
) -> Measured:
    """Time the contenders in turns.

    Parameters
    ----------
    contenders : sequence of Contender
        With different names; their results were checked before.
    rounds : int
        How many bursts each runs, at least 3.
    burst, pause : float
        Seconds a burst takes, and the least seconds of silence before it.
    deadline : float, optional
        A reading of `clock` after which no round starts, except that three are always run.
    between : callable, optional
        Run after a pause at the end of each round; returns measured peaks by name.
    clock, sleep, used : callable
        The tests put their own here; see `wait_until_quiet`.

    Returns
    -------
    Measured
    """
    if rounds < _LEAST_ROUNDS:
        raise ValueError(f"rounds: got {rounds}, wanted at least {_LEAST_ROUNDS} for a median")
    if not contenders:
        raise ValueError("contenders: got none, wanted at least one")
    names = [contender.name for contender in contenders]
    if len(set(names)) != len(names):
        raise ValueError(f"contenders: got the names {names}, wanted each once")
    found = Measured({name: [] for name in names})
    for contender in contenders:
        wait_until_quiet(pause, sleep, used)
        found.counts[contender.name] = calibrate(contender, burst, clock)
    with _no_garbage_collection():
        for number in range(rounds):
            if deadline is not None and number >= _LEAST_ROUNDS and clock() >= deadline:
                break
            for index in turn_order(len(contenders), number):
                contender = contenders[index]
                wait_until_quiet(pause, sleep, used)
                seconds = _burst(contender, found.counts[contender.name], clock)
                found.bursts[contender.name].append(seconds)
            if between is not None:
                wait_until_quiet(pause, sleep, used)
                for roof, peak in between().items():
                    found.peaks.setdefault(roof, []).append(peak)
    return found


def _burst(contender: Contender, count: int, clock: Callable[[], float]) -> float:
    """Seconds a call within one burst."""
    with contender.context():
        if count > 1:
            contender.repeat(1)  # wakes the pool after the pause, for everyone alike
        start = clock()
        contender.repeat(count)
        return (clock() - start) / count


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
