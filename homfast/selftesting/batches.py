"""A row's bits do not depend on the batch: its size, the position in it, the order of rows.

Those of networks and operators always; those of layers, which may sum fewer than 16 rows in another
order, after `set_batch_invariant(True)`.
"""

from __future__ import annotations

import numpy as np

import homfast
from homfast._backends import native
from homfast.selftesting import sizes
from homfast.selftesting.oracles import assert_same_bits, pack

TITLE = "a row's bits at every batch size and position"
KEEPS_BITS = True
WHOLE = 257
CORNERS = (
    {"features": 64, "columns": 64, "batch": 1},
    {"features": 17, "columns": 33, "batch": 15},
    {"features": 256, "columns": 24, "batch": 16},
    {"features": 5, "columns": 257, "batch": 129},
)


def draw(rng, largest):
    shape = sizes.layer(rng, largest)
    return {
        "features": shape["features"],
        "columns": shape["columns"],
        "batch": int(rng.integers(1, WHOLE + 1)),
    }


def check(engine, dtype, rng, features, columns, batch):
    x, grad = (rng.standard_normal((WHOLE, n)).astype(dtype) for n in (features, columns))
    weight = rng.standard_normal((columns, features)).astype(dtype)
    mask = pack(rng.random((WHOLE, columns)) < 0.5)
    net = homfast.ReLUNetwork(
        [weight, np.ascontiguousarray(weight.T)], negative_slope=0.1, backend=engine.backend
    )
    start = int(rng.integers(0, WHOLE - batch + 1))
    parts = {
        f"{batch} rows from {start}": np.arange(start, start + batch),
        f"{batch} rows in another order": rng.permutation(WHOLE)[:batch],
    }
    seeded = {"seed": int(rng.integers(2**63)), "dtype": dtype}
    ops = (
        homfast.measure.Gaussian(columns, features, **seeded, store=False),
        homfast.measure.Rademacher(columns, features, **seeded, store=True),
    )
    asked = [(False, name, call) for name, call in always(net, ops, x, grad).items()]
    asked += [(True, name, call) for name, call in layers(engine, x, grad, weight, mask).items()]
    for invariant, name, call in asked:
        if engine.backend == "native":
            native._native.set_batch_invariant(invariant)  # put back after the case
        whole = call(slice(None))
        for words, rows in parts.items():
            case = f"{engine} {dtype} {name} (in, out) = {features, columns}, {words}"
            for result, wanted in zip(call(rows), whole, strict=True):
                assert_same_bits(result, wanted[rows], case)


def always(net, ops, x, grad):
    """Whose rows never depend on the batch: name -> function of rows -> arrays of rows."""
    found = {
        "network": lambda rows: (net(x[rows]),),
        "network's grad_input": lambda rows: (net.vjp(x[rows])[1](x[rows])[0],),
    }
    for op in ops:
        found[f"{op!r}"] = lambda rows, op=op: (op(x[rows]), op.adjoint(grad[rows]))
    return found


def layers(engine, x, grad, weight, mask):
    """Those that are set to: likewise."""
    options = {"negative_slope": 0.1, "backend": engine.backend}
    return {
        "linear": lambda rows: (homfast.linear(x[rows], weight, backend=engine.backend),),
        "linear_relu": lambda rows: homfast.linear_relu(
            x[rows], weight, return_mask=True, **options
        ),
        "grad_input": lambda rows: homfast.linear_relu_backward(
            grad[rows], None, weight, mask[rows], **options
        )[:1],
    }
