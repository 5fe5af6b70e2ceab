"""Callers on several Python threads, forks, and the pool's size."""

import sys
import threading
import time

import numpy as np
import pytest
from oracles import assert_same_bits, pack
from processes import output

import homfast
from homfast import ReLUNetwork


class Work:
    """Calls of many kinds and sizes, above and below the threshold for threads."""

    def __init__(self, backend, seed=17):
        rng = np.random.default_rng(seed)
        self.backend = backend
        self.jobs = []
        for rows, features, columns in ((1, 9, 5), (20, 33, 17), (200, 129, 65), (64, 513, 130),
                                        (300, 257, 200)):  # fmt: skip
            for dtype in (np.float32, np.float64):
                x = rng.standard_normal((rows, features)).astype(dtype)
                weight = rng.standard_normal((columns, features)).astype(dtype)
                grad = rng.standard_normal((rows, columns)).astype(dtype)
                mask = pack(rng.random((rows, columns)) < 0.5)
                net = ReLUNetwork([weight, weight.T.copy()], backend=backend)
                self.jobs += [
                    lambda x=x, w=weight: (homfast.linear(x, w, backend=backend),),
                    lambda x=x, w=weight: homfast.linear_relu(
                        x, w, return_mask=True, backend=backend
                    ),
                    lambda g=grad, x=x, w=weight, m=mask: homfast.linear_relu_backward(
                        g, x, w, m, backend=backend
                    ),
                    lambda net=net, x=x: (net(x), net.vjp(x)[1](x)[0]),
                ]
        self.wanted = [job() for job in self.jobs]

    def check(self, index):
        for result, wanted in zip(self.jobs[index](), self.wanted[index], strict=True):
            assert_same_bits(result, wanted, f"{self.backend} job {index}")


def on_threads(count, target):
    """Run target(i) on ``count`` threads; the first exception of any of them is raised here."""
    errors = []

    def guarded(index):
        try:
            target(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)  # emulated targets take minutes
    assert not any(thread.is_alive() for thread in threads), "a call hangs"
    if errors:
        raise errors[0]


@pytest.mark.parametrize("threads", [1, 3])
def test_concurrent_callers_get_the_bits_of_a_serial_one(bit_engine, threads):
    homfast.set_num_threads(threads)
    work = Work(bit_engine.backend)

    def caller(index):
        order = np.random.default_rng(index).permutation(3 * len(work.jobs))
        for job in order:
            work.check(job % len(work.jobs))

    on_threads(8, caller)


def test_set_num_threads_while_others_compute(bit_engine):
    homfast.set_num_threads(2)
    work = Work(bit_engine.backend)
    stop = threading.Event()

    def caller(index):
        if index == 0:
            for turn in range(150):
                homfast.set_num_threads(1 + turn % 5)
                time.sleep(0.001)
            stop.set()
            return
        while not stop.is_set():
            for job in range(index, len(work.jobs), 4):
                work.check(job)

    on_threads(5, caller)


def test_errors_in_one_thread_leave_others_alone(bit_engine):
    work = Work(bit_engine.backend)
    bad = np.ones((3, 4), np.float32)

    def caller(index):
        for job in range(len(work.jobs)):
            if index % 2:
                with pytest.raises(ValueError, match=r"^x: "):
                    homfast.linear(bad, bad.T.copy(), backend=bit_engine.backend)
            work.check(job)

    on_threads(6, caller)


def test_one_network_for_many_threads(bit_engine, dtype, rng):
    homfast.set_num_threads(2)
    net = ReLUNetwork.random((33, 200, 100, 7), dtype=dtype, backend=bit_engine.backend)
    x = rng.standard_normal((300, 33)).astype(dtype)
    wanted, jacobian = net(x), net.jacobian(x[:20])

    def caller(index):
        for _ in range(10):
            rows = slice(index, 300 - index)
            assert_same_bits(net(x[rows]), wanted[rows], f"{bit_engine} {dtype}")
            assert_same_bits(net.jacobian(x[:20]), jacobian, f"{bit_engine} {dtype}")

    on_threads(6, caller)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_gil_is_released(bit_engine, threads):
    """While a kernel runs for a second or so, this thread goes on."""
    homfast.set_num_threads(threads)
    x = np.broadcast_to(np.ones(1024, np.float32), (20_000, 1024))
    weight, done = np.ones((256, 1024), np.float32), threading.Event()

    def compute():
        while not done.is_set():
            homfast.linear(x, weight, backend=bit_engine.backend)

    worker = threading.Thread(target=compute, daemon=True)
    worker.start()
    gaps, before = [], time.monotonic()
    while sum(gaps) < 1:
        time.sleep(0.001)
        now = time.monotonic()
        gaps.append(now - before)
        before = now
    done.set()
    worker.join(60)
    assert not worker.is_alive()
    assert len(gaps) > 20, f"{bit_engine}: {len(gaps)} turns in a second, one {max(gaps):.2f} s"


FORK = """
import hashlib, os, signal, sys, threading
import numpy as np
import homfast
if {target!r}:
    homfast.set_target({target!r})
homfast.set_num_threads(3)
rng = np.random.default_rng(1)
x = rng.standard_normal((300, 257)).astype(np.float32)
weight = rng.standard_normal((129, 257)).astype(np.float32)
net = homfast.ReLUNetwork([weight, weight.T.copy()], backend={backend!r})
grad = rng.standard_normal((300, 129)).astype(np.float32)

def work():
    y, mask = homfast.linear_relu(x, weight, return_mask=True, backend={backend!r})
    gradients = homfast.linear_relu_backward(grad, x, weight, mask, backend={backend!r})
    trained = net.to(x)
    homfast.fit(trained, [(x, x)], learning_rate=1e-3)
    return b"".join(a.tobytes() for a in (y, mask, *gradients, net(x), *trained.weights))

def child(body):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        try:
            body()
            os._exit(0 if work() == wanted else 3)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(4)
    return pid

def reap(pid):
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 0, f"child ended with {{status}} (-14: it hung for 30 s; 3: other bits)"

wanted = work()
"""

SCENES = {
    "call, fork, call": """
for _ in range(3):
    reap(child(lambda: None))
    assert work() == wanted
""",
    "fork before the first call": """
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    signal.alarm(30)
    os.write(writer, hashlib.sha256(work()).digest())
    os._exit(0)
reap(pid)
assert os.read(reader, 32) == hashlib.sha256(work()).digest()
""",
    "nested": """
reap(child(lambda: reap(child(lambda: reap(child(lambda: None))))))
reap(child(lambda: (work(), reap(child(lambda: None)))))
assert work() == wanted
""",
    "two threads fork": """
def forks():
    for _ in range(5):
        reap(child(lambda: None))

errors = []
threading.excepthook = lambda arguments: errors.append(arguments.exc_value)
threads = [threading.Thread(target=forks) for _ in range(2)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not errors, errors
assert work() == wanted
""",
    "fork while another thread computes": """
stop = threading.Event()
def compute():
    while not stop.is_set():
        assert work() == wanted
worker = threading.Thread(target=compute)
worker.start()
for _ in range(10):
    reap(child(lambda: None))
stop.set()
worker.join()
assert work() == wanted
""",
    "the child changes the pool": """
reap(child(lambda: [homfast.set_num_threads(n) or work() for n in (1, 4, 2)]))
assert homfast.get_num_threads() == 3 and work() == wanted
""",
}


@pytest.mark.parametrize("scene", SCENES)
def test_fork(bit_engine, scene):
    setup = FORK.format(target=bit_engine.target, backend=bit_engine.backend)
    if scene == "fork before the first call":  # the pool is not made yet
        setup = setup.replace("wanted = work()", "")
    code = setup + SCENES[scene]
    assert output(code + "\nprint('done')", timeout=120) == "done"


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_a_child_of_fork_has_workers_of_its_own(native_engine):
    """And not the parent's pool, whose workers it lacks and whose locks may be held."""
    setup = FORK.format(target=native_engine.target, backend="native")
    code = """
def body():
    threads = lambda: len(os.listdir("/proc/self/task"))
    assert threads() == 1
    assert work() == wanted
    assert threads() == 3, threads()

reap(child(body))
print("done")
"""
    assert output(setup + code, timeout=120) == "done"


WORKER_WITHOUT_MEMORY = """
import resource
import numpy as np
import homfast
rng = np.random.default_rng(0)
x = rng.integers(-3, 4, (400, 400)).astype(np.float32)
weight = rng.integers(-3, 4, (4096, 400)).astype(np.float32)
wanted, out = x @ weight.T, np.empty((400, 4096), np.float32)
equal = np.empty(out.shape, bool)  # where to compare without memory
homfast.set_num_threads(1)
homfast.linear(x, weight, out=out, backend="native")  # this thread has its memory
homfast.set_num_threads(2)
small = np.ones((128, 128), np.float32)
homfast.linear(small, small, backend="native")  # there is a worker, with little
pages = int(open("/proc/self/statm").read().split()[0])
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 20), limits[1]))
failed = False
for _ in range(100):  # this thread may have taken both parts
    out.fill(np.nan)
    try:
        homfast.linear(x, weight, out=out, backend="native")
    except MemoryError:
        failed = True
        break
    assert np.equal(out, wanted, out=equal).all(), "a worker's error was lost"
resource.setrlimit(resource.RLIMIT_AS, limits)
assert failed
homfast.linear(x, weight, out=out, backend="native")
assert np.array_equal(out, wanted)
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
def test_a_worker_without_memory_is_a_memory_error(native_engine):
    environment = {"HOMFAST_TARGET": native_engine.target, "MALLOC_ARENA_MAX": "1"}
    assert output(WORKER_WITHOUT_MEMORY, timeout=120, **environment) == "done"


SURPLUS = """
import os, time
import numpy as np
import homfast

def spent():
    "Nanoseconds on a processor, by thread."
    times = {}
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/schedstat") as file:
            times[task] = int(file.read().split()[0])
    return times

x = np.ones((256, 256), np.float32)
others = set(spent())

def calls(seconds=0.4):
    before, end = spent(), time.monotonic() + seconds
    while time.monotonic() < end:
        homfast.linear(x, x, backend="native")
    after = spent()
    return sorted(after[t] - before.get(t, 0) for t in after if t not in others)

homfast.set_num_threads(5)
busy = calls()
assert len(busy) == 4 and busy[0] > 1e6, busy
homfast.set_num_threads(2)
calls(0.01)
few = calls()
assert len(few) == 4 and few[2] < 1e6 < few[3], f"three workers too many were awake for {few} ns"
homfast.set_num_threads(5)
busy = calls()
assert busy[0] > 1e6, f"they did not come back: {busy} ns"
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the time of each thread in /proc")
def test_workers_beyond_the_limit_sleep(native_engine):
    environment = {"HOMFAST_TARGET": native_engine.target}
    assert output(SURPLUS, **environment) == "done"


LIMITS = """
import numpy as np
{imports}
homfast.set_num_threads(3)
x = np.ones((300, 200), np.float32)
homfast.linear(x, x, backend="native")
entry, = [e for e in threadpoolctl.threadpool_info() if e["user_api"] == "homfast"]
assert entry["num_threads"] == 3, entry
with threadpoolctl.threadpool_limits(1, user_api="homfast"):
    assert homfast.get_num_threads() == 1, "limited by name"
    assert (homfast.linear(x, x, backend="native") == 200).all()
assert homfast.get_num_threads() == 3, "limits put back"
with threadpoolctl.threadpool_limits(2):
    assert homfast.get_num_threads() == 2, "limited with all others"
assert homfast.get_num_threads() == 3
print("done")
"""


@pytest.mark.parametrize("first", ["homfast", "threadpoolctl"])
def test_threadpoolctl_limits_the_pool(native_engine, first):
    pytest.importorskip("threadpoolctl")
    names = ("homfast", "threadpoolctl")
    order = names if first == "homfast" else names[::-1]
    imports = "\n".join(f"import {name}" for name in order)
    assert output(LIMITS.format(imports=imports)) == "done"
