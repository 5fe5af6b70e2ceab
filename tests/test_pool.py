"""The pool of the backends in Python: parts of a call on several threads, whatever interrupts."""

import _thread
import contextvars
import gc
import threading
import time
import weakref

import numpy as np
import pytest
from processes import output

from homfast._backends import pool


@pytest.fixture
def own_pool(monkeypatch):
    """One with nothing in its queue: what lies there from other calls can leave a call alone."""
    made = pool._Pool()
    monkeypatch.setattr(pool, "_pool", made)
    yield made
    made.stop()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_part_is_done_once(count):
    done = []
    pool.run_parts(done.append, [(i,) for i in range(100)], count)
    assert sorted(done) == list(range(100))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("whose", ["the caller's", "a helper's"])
def test_an_error_ends_it_and_nobody_computes_any_more(own_pool, error, whose):
    running, begun, raised = set(), [], threading.Event()
    caller = threading.get_ident()

    def part(index):
        running.add(index)
        begun.append(index)
        if (threading.get_ident() == caller) == (whose == "the caller's"):
            running.discard(index)
            raised.set()
            raise error("of a part")
        raised.wait(60)
        time.sleep(0.001)
        running.discard(index)

    with pytest.raises(error, match="of a part"):
        pool.run_parts(part, [(i,) for i in range(1000)], 3)
    assert not running
    assert len(begun) < 1000


def test_a_pool_that_cannot_start_threads_costs_time_alone(monkeypatch):
    within = (
        contextvars.copy_context()
    )  # its run() raises RuntimeError there, and is no Python code
    monkeypatch.setattr(pool, "_pool", pool._Pool())
    monkeypatch.setattr(_thread, "start_new_thread", within.run)
    done = []
    within.run(pool.run_parts, done.append, [(i,) for i in range(10)], 4)
    assert done == list(range(10))
    assert not pool._pool.count


def test_an_ended_call_keeps_nothing_though_its_helpers_are_busy(own_pool):
    begun, go = threading.Semaphore(0), threading.Event()

    def busy(index):
        begun.release()
        go.wait(60)

    other = threading.Thread(target=pool.run_parts, args=(busy, [(i,) for i in range(3)], 3))
    other.start()
    try:
        for _ in range(3):
            assert begun.acquire(timeout=60)
        gone = []
        for _ in range(200):
            array = np.ones(1000)
            gone.append(weakref.ref(array))
            pool.run_parts(lambda i, kept=array: kept.sum(), [(i,) for i in range(4)], 3)
            del array
        assert not any(ref() is not None for ref in gone)
        assert own_pool.tasks.qsize() < 50
    finally:
        go.set()
        other.join()


def test_a_call_that_failed_keeps_nothing(own_pool):
    caller, array, raised = threading.get_ident(), np.ones(1000), threading.Event()
    gone = weakref.ref(array)

    def part(index, kept):
        if threading.get_ident() != caller:
            raised.set()
            raise ZeroDivisionError
        raised.wait(60)
        time.sleep(0.001)

    gc.disable()
    try:
        with pytest.raises(ZeroDivisionError):
            pool.run_parts(part, [(i, array) for i in range(1000)], 2)
        del array
        deadline = time.monotonic() + 10  # the helper lets go of its task in a moment
        while gone() is not None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert gone() is None
    finally:
        gc.enable()


def test_a_call_within_a_part_has_its_own_helpers():
    """As a signal handler's that comes while the call below it computes."""
    done = []

    def part(index):
        pool.run_parts(lambda i: done.append((index, i)), [(i,) for i in range(20)], 3)

    pool.run_parts(part, [(i,) for i in range(20)], 3)
    assert sorted(done) == [(i, j) for i in range(20) for j in range(20)]


# What a signal handler does may come at any step of the caller's in pool.py. `at` runs an action
# once, at a step of a call that is counted from its begin; it says False once a call has none left.
EACH_STEP = """
import dis, os, signal, sys, time
from homfast._backends import pool

NOP = dis.opmap["NOP"]
closed = late = False

def part(index):
    global late
    late = late or closed
    time.sleep(0.0004)
    late = late or closed
    done.append(index)

def at(step, action):
    global closed, done
    count, acted, done = 0, False, []
    def trace(frame, event, argument):
        nonlocal count, acted
        if frame.f_code.co_filename != pool.__file__:
            return None
        frame.f_trace_opcodes = True
        code = frame.f_code.co_code
        if event == "opcode" and code[frame.f_lasti] != NOP:  # no handler runs at a try's begin
            count += 1
            if count == step:
                acted = True
                action()
        return trace
    closed = False
    sys._getframe().f_trace_opcodes = True  # Python 3.12 looks for it here
    sys.settrace(trace)
    try:
        pool.run_parts(part, [(i,) for i in range(12)], 3)
    finally:
        sys.settrace(None)
        closed = True
    return acted

def fresh():
    pool._pool_of_process().stop()
    pool._pool = pool._Pool()

if not FRESH:
    pool.run_parts(lambda i: None, [(i,) for i in range(12)], 3)  # the threads are there
"""
RAISING = """
class Timeout(IndexError, RuntimeError):
    pass

def action():
    raise Timeout

step = 0
while True:
    step += 1
    if FRESH:
        fresh()
    try:
        if not at(step, action):
            break
    except Timeout:
        pass
    else:
        raise AssertionError(f"what was raised at step {step} was lost")
    time.sleep(0.001)
    assert not late, f"a helper computed after the call was ended at step {step}"
assert sorted(done) == list(range(12)), done
print(step > 100)
"""
FORKING = """
own, children = os.getpid(), []

def action():
    child = os.fork()
    if child:
        children.append(child)
    else:
        signal.alarm(20)

step = 1
while True:
    if FRESH:
        fresh()
    try:
        acted = at(step, action)
        right = sorted(done) == list(range(12))
    except RuntimeError as error:
        assert os.getpid() != own
        right = str(error).startswith("homfast: this process was forked within a call")
    if os.getpid() != own:
        time.sleep(0.002)
        right = right and not late
        done.clear()
        pool.run_parts(done.append, [(i,) for i in range(100)], 3)  # by threads of its own
        sys.exit(7 if right and sorted(done) == list(range(100)) else 3)
    assert right and not late
    if not acted:
        break
    step += 5
ends = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
print(len(children) > 20 and ends == {7})
"""


@pytest.mark.parametrize("fresh", [False, True], ids=["threads are there", "threads are started"])
@pytest.mark.parametrize("code", [RAISING, FORKING], ids=["raises", "forks"])
def test_what_a_handler_does_at_any_step(code, fresh):
    assert output(f"FRESH = {fresh}\n{EACH_STEP}\n{code}", timeout=200) == "True"


THRICE = """
import signal, threading, time
from homfast._backends import pool

class Timeout(Exception):
    pass

def handler(number, frame):
    raise Timeout(signal.Signals(number).name)

numbers = signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2
for number in numbers:
    signal.signal(number, handler)
main, late, came = threading.main_thread(), False, 0

def part(index):
    global late
    time.sleep(0.02)
    if threading.current_thread() is main:
        return
    for number in numbers:
        signal.raise_signal(number)  # while the caller waits for this part
    time.sleep(0.02)
    late = late or closed

for _ in range(20):
    closed = False
    try:
        pool.run_parts(part, [(i,) for i in range(2)], 2)
    except Timeout as error:
        came += 1
    closed = True
    time.sleep(0.05)
print("late", late, came > 0)
"""


def test_several_handlers_that_raise_at_once():
    assert output(THRICE, timeout=100) == "late False True"
