"""Signal handlers that compute, or fork, while a call on the same thread waits; threads at exit.

Long calls let the interpreter run handlers between blocks. What a handler calls works in memory of
its own: both have the bits that they have alone.
"""

import platform
import sys

import pytest
from engines import NATIVE_ENGINES, NUMBA_ENGINES
from processes import output, run_python

pytestmark = [
    pytest.mark.skipif(not NATIVE_ENGINES, reason="homfast._native is not built"),
    pytest.mark.skipif(sys.platform == "win32", reason="sends signals"),
]

COMPUTE = """
import signal, time
import numpy as np
import homfast
from homfast.measure import Gaussian, Hadamard

homfast.set_target({target!r})
homfast.set_num_threads({threads})
rng = np.random.default_rng(0)

def integers(*shape):
    return rng.integers(-3, 4, shape).astype(np.float32)

w, back = integers(96, 64), integers(64, 96)
net = homfast.ReLUNetwork([w, back])
normal = Gaussian(1 << 11, 1 << 12, seed=1, store=False)
signs = Hadamard(1 << 9, 1 << 10, seed=1)

def fitted(x):
    small = homfast.ReLUNetwork([w / 1024, back / 1024])
    homfast.fit(small, [(x, x)], learning_rate=1e-4)
    return small.weights[0]

# With the width of what each takes.
calls = {{
    "linear": (64, lambda x: homfast.linear(x, w)),
    "weights' gradient": (64, lambda x: homfast.linear_relu_backward(x, x, None, None)[1]),
    "input's gradient": (96, lambda x: homfast.linear_relu_backward(x, None, w, None)[0]),
    "network": (64, net),
    "jvp": (64, lambda x: net.jvp(x, x)[1]),
    "vjp": (64, lambda x: net.vjp(x)[1](x)[0]),
    "product": (1 << 12, normal),
    "adjoint": (1 << 11, normal.adjoint),
    "gram": (1 << 12, normal.gram),
    "transform": (1 << 10, signs),
    "adjoint transform": (1 << 9, signs.adjoint),
    "fit": (64, fitted),
}}
# What needs more memory from one handler to the next.
sizes = [(70, 100), (300, 500), (1000, 2000), (3000, 4000)]
others = [homfast.ReLUNetwork([integers(n, 64), integers(64, n)]) for n, _ in sizes]
normals = [Gaussian(60, n, seed=2, store=False) for _, n in sizes]
hadamards = [Hadamard(128 << i, 128 << i, seed=3) for i in range(4)]
few = integers(200, 64)
inputs = [integers(5, n) for _, n in sizes]
count = [0]

def handler_calls(i):
    x = few[: 20 << i]
    yield others[i](x)
    yield others[i].vjp(x)[1](x)[0]
    yield homfast.linear(x, others[i].weights[0])
    yield homfast.linear_relu_backward(x, x, None, None)[1]
    yield normals[i](inputs[i][: 2 + i])
    yield normals[i].gram(inputs[i][: 2 + i])
    yield hadamards[i](np.ones((3, hadamards[i].shape[1]), np.float32))

wanted = [[result.tobytes() for result in handler_calls(i)] for i in range(4)]
wrong = []
inside = [False]

def handler(*_):
    if inside[0]:
        return
    inside[0] = True
    i = count[0] % 4
    count[0] += 1
    if [result.tobytes() for result in handler_calls(i)] != wanted[i]:
        wrong.append(f"handler {{i}}")
    inside[0] = False

signal.signal(signal.SIGALRM, handler)
for name, (width, call) in calls.items():
    rows, took = 4, 0
    while took < 0.03:  # long enough to be asked for signals
        rows *= 4
        x = integers(rows, width)
        alone = call(x).tobytes()
        start = time.perf_counter()
        call(x)
        took = time.perf_counter() - start
    before, end = count[0], time.perf_counter() + 10
    while count[0] < before + 3 and time.perf_counter() < end:
        signal.setitimer(signal.ITIMER_REAL, 0.003, 0.011)
        result = call(x)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if result.tobytes() != alone:
            wrong.append(name)
    if count[0] < before + 3:
        wrong.append(f"{{name}}: too few handlers ran")
print(wrong or "right")
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_handlers_that_compute(native_engine, threads):
    code = COMPUTE.format(target=native_engine.target, threads=threads)
    assert output(code, timeout=200) == "right"


PACK = """
import signal
import numpy as np
import homfast

weight = np.random.default_rng(0).integers(-3, 4, (6000, 6000)).astype(np.float32)
net = homfast.ReLUNetwork([weight, weight[:50]])
x = weight[:2]
count = [0]
found = []

def handler(*_):
    if not found:
        found.append(net(x))

signal.signal(signal.SIGALRM, handler)
wanted = homfast.linear(homfast.linear_relu(x, weight), weight[:50])
for attempt in range(100):
    net.set_weights([weight, weight[:50]])  # to be packed again
    found.clear()
    signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.001 * (attempt % 20))
    assert (net(x) == wanted).all()
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert all((y == wanted).all() for y in found)
    count[0] += len(found)
    if count[0] > 5:
        break
print("right" if count[0] else "no handler ran")
"""


def test_a_handler_may_use_the_network_that_is_being_packed():
    assert output(PACK, timeout=100) == "right"


FIT = """
import signal
import numpy as np
import homfast

weight = np.full((1024, 1024), 1e-4, np.float32)
net = homfast.ReLUNetwork([weight, weight])
x = np.ones((2000, 1024), np.float32)
found = []

def handler(*_):
    signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        homfast.fit(net, [(x[:2], x[:2])], learning_rate=1e-4)
    except RuntimeError as error:
        found.append(str(error))

signal.signal(signal.SIGALRM, handler)
for attempt in range(200):
    signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.001 * (attempt % 20))
    homfast.fit(net, [(x, x)], learning_rate=1e-4)
    if found:
        break
signal.setitimer(signal.ITIMER_REAL, 0)
print(found[0])
"""


def test_a_handler_may_not_fit_the_network_that_is_being_fitted():
    told = output(FIT, timeout=100)
    assert told.startswith("fit: got a network that is being fitted") and "wanted" in told


FORKING_HANDLER = """
own, children = os.getpid(), []

def handler(*_):
    if os.getpid() == own:
        child = os.fork()
        if child:
            children.append(child)
        else:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)

signal.signal(signal.SIGALRM, handler)
"""

FORK = """
import os, signal, sys
import numpy as np
import homfast

homfast.set_num_threads(2)
x, w = np.ones((400_000, 64), np.float32), np.ones((96, 64), np.float32)
"""
FORK += FORKING_HANDLER
FORK += """
for attempt in range(20):
    signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.001 * attempt)
    try:
        right = bool((homfast.linear(x, w) == 64).all())
    except RuntimeError as error:
        right = str(error).startswith("homfast: this process was forked within a call")
        assert os.getpid() != own, error
    signal.setitimer(signal.ITIMER_REAL, 0)
    if os.getpid() != own:
        right = right and bool((homfast.linear(x, w) == 64).all())  # by threads of its own
        os._exit(0 if right else 3)
    assert right
ends = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
print(ends)
"""


def test_a_child_of_a_handler_has_a_result_or_an_error():
    assert output(FORK, timeout=100) == "{0}"


LEFT = """
import os, signal, sys
import numpy as np
import homfast

homfast.set_num_threads(2)
x, w = np.ones((400_000, 64), np.float32), np.ones((96, 64), np.float32)
children = []

def handler(*_):
    children.append(os.fork())
    if children[-1] == 0:
        sys.exit(7)

signal.signal(signal.SIGALRM, handler)
for after in (0.02, 0.005, 0.002, 0.001) * 5:  # until one came before the call's end
    signal.setitimer(signal.ITIMER_REAL, after)
    y = homfast.linear(x, w)
    signal.setitimer(signal.ITIMER_REAL, 0)
    if children:
        break
print((y == 64).all(), *(os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children))
"""


def test_what_a_handler_raises_in_a_child_leaves_it():
    assert output(LEFT, timeout=100) == "True 7"


PACKING_THREAD = """
import os, signal, threading, time
import numpy as np
import homfast

homfast.set_num_threads(1)
weight = np.ones((3000, 3000), np.float32)
net = homfast.ReLUNetwork([weight, weight])
x = weight[:2]
stop = threading.Event()

def work():
    while not stop.is_set():
        for handle in net._packed:
            handle.refresh()
        net(x)

thread = threading.Thread(target=work)
thread.start()
ends = []
for _ in range(6):
    time.sleep(0.013)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        os._exit(0 if (net(x) == 9_000_000).all() else 3)
    ends.append(child)
stop.set()
thread.join()
print({os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in ends})
"""


def test_a_child_packs_what_a_thread_of_its_parent_was_packing():
    assert output(PACKING_THREAD, timeout=100) == "{0}"


NUMBA = """
import os, signal
import numpy as np
import homfast

homfast.set_num_threads(2)
x = np.broadcast_to(np.ones(1024, np.float32), (400_000, 1024))
w = np.ones((64, 1024), np.float32)
homfast.linear(x[:50_000], w, backend="numba")  # compiled, and the threads started
"""
NUMBA += FORKING_HANDLER
NUMBA += """
for attempt in range(10):
    signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.01 * attempt)
    try:
        right = bool((homfast.linear(x, w, backend="numba") == 1024).all())
    except RuntimeError as error:
        right = str(error).startswith("homfast: this process was forked within a call")
        assert os.getpid() != own, error
    signal.setitimer(signal.ITIMER_REAL, 0)
    if os.getpid() != own:
        os._exit(0 if right else 3)
    assert right
print({os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children})
"""


@pytest.mark.skipif(not NUMBA_ENGINES, reason="Numba is not installed")
def test_a_child_of_a_handler_on_numba_has_a_result_or_an_error():
    assert output(NUMBA, timeout=200) == "{0}"


MODE = """
import signal
import numpy as np
import homfast
import mxcsr

homfast.set_num_threads(1)
x = np.full((400_000, 64), 1e-30, np.float32)
w = np.full((256, 64), 1e-14, np.float32)  # sums are denormal
wanted = homfast.linear(x, w)
own, ran = mxcsr.read(), []

def handler(*_):
    mxcsr.write(own | 0x8040)
    ran.append(1)

signal.signal(signal.SIGALRM, handler)
for _ in range(20):
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    y = homfast.linear(x, w)
    signal.setitimer(signal.ITIMER_REAL, 0)
    mxcsr.write(own)  # of a handler that came before the call
    assert (y == wanted).all()
    if ran:
        break
assert ran and wanted.all()
print("right")
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="sets x86's MXCSR")
def test_the_floating_point_mode_of_a_handler_is_not_that_of_the_call():
    assert output(MODE, timeout=100) == "right"


SET_WEIGHTS = """
import signal
import numpy as np
import homfast

first = [np.full((1500, 1500), 2**-10, np.float32) for _ in range(12)]
second = [-w for w in first]
x = np.ones((2, 1500), np.float32)
net = homfast.ReLUNetwork(first)

class Timeout(Exception):
    pass

def handler(*_):
    raise Timeout

signal.signal(signal.SIGALRM, handler)
count = 0
for attempt in range(40):
    net.set_weights(first)
    net(x)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002 + 0.002 * attempt)
        net.set_weights(second)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Timeout:
        count += 1
    assert (net(x) == homfast.ReLUNetwork(net.weights)(x)).all(), attempt
print("right" if count else "no handler ran")
"""


def test_a_network_whose_change_is_interrupted_has_the_weights_that_it_says():
    assert output(SET_WEIGHTS, timeout=200) == "right"


EXIT = """
import threading, time
import numpy as np
import homfast

homfast.set_num_threads(1)
x, w = np.ones(({rows}, 64), np.float32), np.ones((64, 64), np.float32)
net = homfast.ReLUNetwork([w, w])

def work():
    while True:
        homfast.linear(x, w)
        net(x)

for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
print("over")
"""


@pytest.mark.parametrize("rows", [8, 8_000, 800_000])
def test_daemon_threads_that_compute_when_the_interpreter_ends(rows):
    for _ in range(3):
        done = run_python(EXIT.format(rows=rows), timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")
