"""Callers in several threads at once, with one network and operator, get what one caller gets.

That of one thread; calls too small for a second thread are asked too, and do not count.
"""

from __future__ import annotations

import threading

import numpy as np

import homfast
from homfast.selftesting import sizes
from homfast.selftesting.oracles import NothingToCheck, assert_same_bits, pack

TITLE = "the same bits for callers in several threads at once"
KEEPS_BITS = True
REPEATS = 3
THREADS = 4  # that a call may take
CORNERS = (
    {"rows": 101, "features": 100, "columns": 81, "callers": 4},
    {"rows": 1, "features": 17, "columns": 33, "callers": 8},
)


def draw(rng, largest):
    return sizes.busy_layer(rng, largest, THREADS) | {"callers": int(rng.integers(2, 9))}


def check(engine, dtype, rng, rows, features, columns, callers):
    x, grad = (rng.standard_normal((rows, n)).astype(dtype) for n in (features, columns))
    weight = rng.standard_normal((columns, features)).astype(dtype)
    mask = pack(rng.random((rows, columns)) < 0.5)
    net = homfast.ReLUNetwork([weight, np.ascontiguousarray(weight.T)], backend=engine.backend)
    op = homfast.measure.Gaussian(columns, features, seed=1, dtype=dtype)

    def results():
        y, bits = homfast.linear_relu(x, weight, return_mask=True, backend=engine.backend)
        gradients = homfast.linear_relu_backward(grad, x, weight, mask, backend=engine.backend)
        output, vjp = net.vjp(x)
        grad_input, grad_weights = vjp(x)
        return y, bits, *gradients, output, grad_input, *grad_weights, op(x), op.adjoint(grad)

    homfast.set_num_threads(1)
    wanted = results()
    homfast.set_num_threads(THREADS)
    case = f"{engine} {dtype} {rows, features, columns}, one of {callers} callers"
    errors, start = [], threading.Barrier(callers)

    def compute():
        try:
            start.wait()
            for _ in range(REPEATS):
                for number, (result, other) in enumerate(zip(results(), wanted, strict=True)):
                    assert_same_bits(result, other, f"{case}, result {number}")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=compute, daemon=True) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    if sizes.threads_worth(rows, features, columns) < 2:
        raise NothingToCheck(f"{case}: no work for a second thread; the same bits")
