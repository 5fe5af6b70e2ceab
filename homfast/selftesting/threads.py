"""Bits do not depend on how many threads compute, nor on the run.

A product too small for a second thread is asked too, and does not count.
"""

from __future__ import annotations

import numpy as np

import homfast
from homfast.selftesting import sizes
from homfast.selftesting.oracles import NothingToCheck, assert_same_bits, pack

TITLE = "the same bits on any number of threads, and in every run"
KEEPS_BITS = True
COUNTS = (2, 3, 5, 8, 16)
CORNERS = (
    {"rows": 300, "features": 257, "columns": 129},
    {"rows": 3, "features": 2048, "columns": 300},
    {"rows": 1, "features": 1, "columns": 1},
)


def draw(rng, largest):
    return sizes.busy_layer(rng, largest, max(COUNTS), scale=3)


def check(engine, dtype, rng, rows, features, columns):
    x, grad = (rng.standard_normal((rows, n)).astype(dtype) for n in (features, columns))
    weight = rng.standard_normal((columns, features)).astype(dtype)
    mask = pack(rng.random((rows, columns)) < 0.5)
    net = homfast.ReLUNetwork([weight, np.ascontiguousarray(weight.T)], backend=engine.backend)

    def results():
        y, bits = homfast.linear_relu(x, weight, return_mask=True, backend=engine.backend)
        gradients = homfast.linear_relu_backward(grad, x, weight, mask, backend=engine.backend)
        output, vjp = net.vjp(x)
        grad_input, grad_weights = vjp(x)
        return y, bits, *gradients, output, grad_input, *grad_weights

    names = ("linear_relu", "mask", "grad_input", "grad_weight", "network", "its grad_input",
             "grad_weights[0]", "grad_weights[1]")  # fmt: skip
    homfast.set_num_threads(1)
    wanted = results()
    for count in (*COUNTS, max(COUNTS), 1):
        homfast.set_num_threads(count)
        for name, result, other in zip(names, results(), wanted, strict=True):
            case = f"{engine} {dtype} {name} {rows, features, columns}, {count} threads"
            assert_same_bits(result, other, case)
    if sizes.threads_worth(rows, features, columns) < 2:
        raise NothingToCheck(f"{case}: no work for a second thread; the same bits")
