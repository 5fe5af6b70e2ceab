"""The pool of the backends in Python: parts of a call on several threads, whatever interrupts."""

import _thread
import threading
import time

import pytest
from processes import output

from homfast._backends import pool


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_part_is_done_once(count):
    done = []
    pool.run_parts(done.append, [(i,) for i in range(100)], count)
    assert sorted(done) == list(range(100))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("whose", ["the caller's", "a helper's"])
def test_an_error_ends_it_and_nobody_computes_any_more(error, whose):
    running, begun = set(), []
    caller = threading.get_ident()

    def part(index):
        running.add(index)
        begun.append(index)
        time.sleep(0.001)
        running.discard(index)
        if (threading.get_ident() == caller) == (whose == "the caller's"):
            raise error("of a part")

    with pytest.raises(error, match="of a part"):
        pool.run_parts(part, [(i,) for i in range(1000)], 3)
    assert not running
    assert len(begun) < 1000


def test_a_pool_that_cannot_start_threads_costs_time_alone(monkeypatch):
    def refuse(*arguments):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(pool, "_pool", pool._Pool())
    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    done = []
    pool.run_parts(done.append, [(i,) for i in range(10)], 4)
    assert done == list(range(10))


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
import os, signal, sys, time
from homfast._backends import pool

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
        if event == "opcode":
            count += 1
            if count == step:
                acted = True
                action()
        return trace
    closed = False
    sys.settrace(trace)
    try:
        pool.run_parts(part, [(i,) for i in range(12)], 3)
    finally:
        sys.settrace(None)
        closed = True
    return acted

pool.run_parts(lambda i: None, [(i,) for i in range(12)], 3)  # the threads are there
"""
RAISING = (
    EACH_STEP
    + """
class Timeout(Exception):
    pass

def action():
    raise Timeout

steps = ended = 0
while True:
    steps += 1
    try:
        if not at(steps, action):
            break
    except Timeout:
        ended += 1
    time.sleep(0.001)
    assert not late, f"a helper computed after the call was ended at step {steps}"
assert sorted(done) == list(range(12)), done
print(steps > 100 and ended > 0.9 * steps)
"""
)
FORKING = (
    EACH_STEP
    + """
own, children = os.getpid(), []

def action():
    child = os.fork()
    if child:
        children.append(child)
    else:
        signal.alarm(20)

step = 1
while True:
    try:
        acted = at(step, action)
        right = sorted(done) == list(range(12))
    except RuntimeError as error:
        assert os.getpid() != own
        right = str(error).startswith("homfast: this process was forked within a call")
    if os.getpid() != own:
        pool.run_parts(done.append, [(i,) for i in range(100)], 3)  # by threads of its own
        os._exit(0 if right and len(done) >= 100 else 3)
    assert right and not late
    if not acted:
        break
    step += 5
ends = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
print(len(children) > 20 and ends == {0})
"""
)


@pytest.mark.parametrize("code", [RAISING, FORKING], ids=["raises", "forks"])
def test_what_a_handler_does_at_any_step(code):
    assert output(code, timeout=200) == "True"
