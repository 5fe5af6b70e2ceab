"""Many threads, forks and Ctrl-C: the long forms of tests/test_threads.py and test_interrupt.py.

    python reliability/concurrency.py [--calls N] [--forks N] [--interrupts N] [--json FILE]

Exit status 0 if all calls gave the bits of a serial one, nothing hung, Ctrl-C was heard in time.
Only calls that ended well are counted; an exception in any thread is a failure.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import homfast
import required
import scores
from operations import Call, digest, operations

CALLERS = 8
HANGS = 120  # seconds without an end
LONG = 1.5  # seconds of a forward pass; what follows it takes longer
DELAYS = (0.2, 0.5, 0.8, 1.1, 0.3)  # seconds, to the other half of a step of training too


def verdict(call: Call, wanted: str) -> str:
    """What is wrong with a call that must give the bits `wanted`, or ""."""
    try:
        return "" if digest(call()) == wanted else "other bits"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def watched(work: Callable[..., None], wrong: list[str], *arguments: Any) -> threading.Thread:
    """A thread that may not end by an exception: that would end it alone, and be printed."""

    def run() -> None:
        try:
            work(*arguments)
        except BaseException as error:
            wrong.append(f"{work.__name__}: the thread ended: {type(error).__name__}: {error}")

    return threading.Thread(target=run)


def check_threads(calls: int) -> tuple[int, list[str]]:
    """So many mixed calls from eight threads, errors among them, while one changes the pool.

    How many of them ended well, and what did not.
    """
    tables = [operations(rows, width) for rows, width in ((3, 17), (40, 64), (200, 130))]
    work = [(f"{name} {i}", call) for i, table in enumerate(tables) for name, call in table.items()]
    wanted = [digest(call()) for _, call in work]
    wrong: list[str] = []
    well = [0] * CALLERS
    done = threading.Event()
    count = homfast.get_num_threads()

    def change() -> None:
        number = 0
        while not done.wait(0.001):
            number = number % 5 + 1
            homfast.set_num_threads(number)

    def compute(caller: int) -> None:
        share = (calls + caller) // CALLERS  # of all callers together: calls
        order = np.random.default_rng(caller).integers(len(work), size=share)
        for number, which in enumerate(order):
            name, call = work[which]
            if what := verdict(call, wanted[which]):
                wrong.append(f"{name}: {what} in call {number} of thread {caller}")
            else:
                well[caller] += 1
            if number % 50 == 0:
                try:
                    homfast.linear(np.ones((2, 3)), np.ones((2, 4)))
                    wrong.append("shapes that do not match were not refused")
                except ValueError:
                    pass

    changer = watched(change, wrong)
    callers = [watched(compute, wrong, i) for i in range(CALLERS)]
    changer.start()
    for thread in callers:
        thread.start()
    for thread in callers:
        while thread.is_alive():
            faulthandler.dump_traceback_later(HANGS, exit=True)  # no caller ended meanwhile
            thread.join(HANGS / 4)
    faulthandler.cancel_dump_traceback_later()
    done.set()
    changer.join()
    homfast.set_num_threads(count)
    return sum(well), wrong


def check_forks(count: int) -> tuple[int, list[str]]:
    """Children that compute after calls of the parent, beside a thread of it, and nested.

    How many of them ended well, and what did not.
    """
    calls = operations(200, 130)
    wanted = {name: digest(call()) for name, call in calls.items()}
    wrong: list[str] = []
    well = 0
    done = threading.Event()

    def compute() -> None:
        while True:  # once at least
            for name, call in calls.items():
                if what := verdict(call, wanted[name]):
                    wrong.append(f"{name}: {what} beside forks")
            if done.is_set():
                return

    def in_child(name: str, depth: int) -> int:
        """Exit status of a child that makes the call, in a child of its own if depth says so."""
        pid = os.fork()
        if pid == 0:
            signal.alarm(10)
            status = 4
            try:
                if depth:
                    status = in_child(name, depth - 1)
                else:
                    status = 0 if digest(calls[name]()) == wanted[name] else 3
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    names = sorted(calls)
    before = homfast.get_num_threads()
    for threads, share in ((1, count // 2), (3, count - count // 2)):
        homfast.set_num_threads(threads)
        beside = watched(compute, wrong)
        beside.start()
        for number in range(share):
            name = names[number % len(names)]
            status = in_child(name, depth=number % 3)
            if status:
                words = {3: "other bits", -signal.SIGALRM: "hung for 10 s"}
                wrong.append(f"{name}: {words.get(status, f'ended with {status}')} in a child")
            else:
                well += 1
        done.set()
        beside.join()
        done.clear()
    homfast.set_num_threads(before)
    return well, wrong


def long_calls() -> dict[str, Call]:
    """Calls that take seconds on a processor a hundred times as fast: views cost no memory."""
    wide = 1 << 16
    tall = np.broadcast_to(np.ones(wide, np.float32), (6_000_000, wide))
    weight = np.ones((64, wide), np.float32)
    grad = np.broadcast_to(np.ones(64, np.float32), (6_000_000, 64))
    out = np.zeros((6_000_000, 64), np.float32)
    net = homfast.ReLUNetwork([weight, np.ones((1, 64), np.float32)])
    operator = homfast.measure.Gaussian(1 << 21, 1 << 20, seed=1, store=False)
    signs = homfast.measure.Rademacher(1 << 21, 1 << 21, seed=1, store=False)
    one = np.ones((1, 1 << 20), np.float32)
    four = np.ones((4, 1 << 21), np.float32)
    found: dict[str, Call] = {
        "linear": lambda: homfast.linear(tall, weight, out=out),
        "backward": lambda: homfast.linear_relu_backward(grad, tall, None, None),
        "network": lambda: net(tall),
        "Gaussian, one row": lambda: operator.forward(one),
        "Rademacher, four rows": lambda: signs.forward(four),
        "Gaussian, gram": lambda: operator.gram(one),
    }
    return found | training_calls()


def training_calls() -> dict[str, Call]:
    """Likewise those that keep what each row gave, of rows for which this machine takes seconds."""
    weights = [np.full(shape, 1 / 4096, np.float32) for shape in ((4096, 64), (4096, 4096))]
    weights.append(np.ones((1, 4096), np.float32))
    net, trained = homfast.ReLUNetwork(weights), homfast.ReLUNetwork(weights)
    rows, taken = 500, 0.0
    while taken < LONG:
        rows *= 2
        x = np.broadcast_to(np.ones(64, np.float32), (rows, 64))
        y, pull_back = net.vjp(x)
        begin = time.monotonic()
        net.vjp(x)
        taken = time.monotonic() - begin
    return {
        "vjp": lambda: net.vjp(x),
        "vjp, pulled back": lambda: pull_back(y),
        "fit": lambda: homfast.fit(trained, [(x, -y)], learning_rate=1e-4),
    }


def interrupted(call: Call, delay: float) -> float | None:
    """Seconds from SIGINT to the end of a call; None if it ended before, or took no notice."""
    sent: list[float] = []
    ended = False

    def send() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(delay, send)
    try:
        timer.start()
        call()
        ended = True
        timer.join()  # where SIGINT is heard that the call did not hear
    except KeyboardInterrupt:
        if not sent:  # of whoever runs this
            timer.cancel()
            raise
        return None if ended else time.monotonic() - sent[0]
    return None


def check_interrupts(count: int) -> tuple[list[str], float]:
    """Ctrl-C early and late in calls of seconds, and the slowest answer."""
    calls = long_calls()
    small = np.ones((50, 1024), np.float32)
    weight = np.ones((64, 1024), np.float32)
    net = homfast.ReLUNetwork([weight, np.ones((1, 64), np.float32)])
    wrong: list[str] = []
    slowest = 0.0
    names = list(calls)
    for number in range(count):
        name = names[number % len(names)]
        taken = interrupted(calls[name], DELAYS[number // len(names) % len(DELAYS)])
        if taken is None:
            wrong.append(f"{name}: ended before it was interrupted, or took no notice")
        else:
            slowest = max(slowest, taken)
        if not (homfast.linear(small, weight) == 1024).all() or not (net(small) == 65536).all():
            wrong.append(f"the call after {name} is wrong")
    return wrong, slowest


def score(name: str, well: int, asked: int, wrong: list[str]) -> scores.Score:
    """Of so many that ended well; fewer than were asked for are a failure that nothing names."""
    words = f"{len(wrong)} of {asked:,}" + (f", {well:,} ended well" if well < asked else "")
    return scores.Score(name, words, not wrong and well == asked, well)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=required.at_least_one, default=100_000)
    parser.add_argument("--forks", type=required.at_least_one, default=300)
    parser.add_argument("--interrupts", type=required.at_least_one, default=50)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    required.native_extension()
    scores.begin(arguments.json, ["S15", "S16", "S22"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupts = arguments.interrupts
    calls, threads = check_threads(arguments.calls)
    forks, children = check_forks(arguments.forks)
    missed, slowest = check_interrupts(interrupts)
    heard = f"{slowest * 1e3:.0f} ms, {len(missed)} of {interrupts} wrong"
    heard += f", on {homfast.get_target()}"
    found = [
        score("S15", calls, arguments.calls, threads),
        score("S16", forks, arguments.forks, children),
        scores.Score("S22", heard, not missed and 0 < slowest < 0.3, interrupts),
    ]
    return scores.conclude(found, arguments.json, [*threads, *children, *missed][:50])


if __name__ == "__main__":
    sys.exit(main())
