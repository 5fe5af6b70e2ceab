"""Ctrl-C in a long native call: KeyboardInterrupt in less than a second, the next call right."""

import sys

import pytest
from processes import output

CODE = """
import os, signal, threading, time
import numpy as np
import homfast
homfast.set_target({target!r})
homfast.set_num_threads({threads})
rows = {rows}  # seconds of work for any processor, in little memory: the rows of x are one row
x = np.broadcast_to(np.ones(4096, np.float32), (rows, 4096))
weight = np.ones((64, 4096), np.float32)
out = np.zeros((rows, 64), np.float32)
grad = np.broadcast_to(np.ones(64, np.float32), (rows, 64))
net = homfast.ReLUNetwork([weight, np.ones((1, 64), np.float32)], backend="native")
wide = np.broadcast_to(np.ones(65536, np.float32), (2_000_000, 65536))
few = np.ones((4, 65536), np.float32)

calls = {{
    "linear": lambda: homfast.linear(x, weight, out=out, backend="native"),
    "plain": lambda: homfast.linear(x, weight),
    "backward": lambda: homfast.linear_relu_backward(grad, x, None, None, backend="native"),
    "network": lambda: net(x),
    "few rows": lambda: homfast.linear(few, wide),
}}
for name, call in calls.items():
    sent = []
    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
    timer = threading.Timer(0.3, send)
    start = time.monotonic()
    try:
        timer.start()
        call()
    except KeyboardInterrupt:
        taken = time.monotonic() - sent[0]
    else:
        raise AssertionError(f"{{name}} ended after {{time.monotonic() - start:.2f}} s, too early "
                             "to be interrupted, or took no notice")
    assert taken < 1, f"{{name}}: KeyboardInterrupt came after {{taken:.2f}} s"
    small = homfast.linear(x[:50], weight, backend="native")
    assert (small == 4096).all() and small.shape == (50, 64), f"the call after {{name}}"
    gradient = homfast.linear_relu_backward(grad[:50], x[:50], None, None, backend="native")[1]
    assert (gradient == 50).all(), f"the call after {{name}}"
    assert (net(x[:50]) == 262144).all(), f"the call after {{name}}"
assert (out != 4096).any(), "linear was done before it was interrupted"
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_in_a_call_of_seconds(native_engine, threads):
    rows = 200_000 if native_engine.target == "scalar" else 2_000_000
    code = CODE.format(target=native_engine.target, threads=threads, rows=rows)
    assert output(code, timeout=100) == "done"
