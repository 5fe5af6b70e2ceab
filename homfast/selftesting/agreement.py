"""Engines that fuse multiply-adds give the same bits: each element is one chain over k.

From 16 rows on; a matrix unit sums in another order.
"""

from __future__ import annotations

import numpy as np

import homfast
from homfast.selftesting import sizes
from homfast.selftesting.engines import Engine, engines
from homfast.selftesting.oracles import assert_same_bits, pack

TITLE = "targets and backends that fuse multiply-adds agree to the bit"
KEEPS_BITS = True
CORNERS = (
    {"rows": 16, "features": 3, "columns": 5},
    {"rows": 33, "features": 1025, "columns": 18},
    {"rows": 100, "features": 300, "columns": 77},
)


def draw(rng, largest):
    shape = sizes.layer(rng, largest)
    return shape | {"rows": max(16, shape["rows"])}


def check(engine, dtype, rng, rows, features, columns):
    first = next((other for other in engines() if other.keeps_bits and fuses(other)), None)
    if first in (None, engine) or not fuses(engine):
        return
    problem = (
        rng.standard_normal((rows, features)).astype(dtype),
        rng.standard_normal((columns, features)).astype(dtype),
        rng.standard_normal((rows, columns)).astype(dtype),
        pack(rng.random((rows, columns)) < 0.5),
    )
    found, wanted = results(engine, *problem), results(first, *problem)
    for name, result, other in zip(
        ("linear_relu", "mask", "grad_input", "grad_weight"), found, wanted, strict=True
    ):
        case = f"{engine} and {first} {dtype} {name} {rows, features, columns}"
        assert_same_bits(result, other, case)


def fuses(engine: Engine) -> bool:
    """Whether a product and a sum round once; matrix units sum in another order anyway."""
    engine.use()
    a = np.float32(1 + 2**-12)
    weight = np.array([[-(a * a), a]], np.float32)
    x = np.tile(np.array([1, a], np.float32), (16, 1))
    return engine.fused and bool(homfast.linear(x, weight, backend=engine.backend).all())


def results(engine, x, weight, grad, mask):
    engine.use()
    options = {"negative_slope": 0.1, "backend": engine.backend}
    forward = homfast.linear_relu(x, weight, return_mask=True, **options)
    return *forward, *homfast.linear_relu_backward(grad, x, weight, mask, **options)
