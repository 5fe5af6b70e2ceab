"""Products, ReLU, masks and gradients of layers within the componentwise bound (contract, 1).

A pre-activation near 0 may round to either side: masks may differ from the oracle's within the
bound, and gradients are compared under a mask that is given.
"""

from __future__ import annotations

import numpy as np

import homfast
from homfast.selftesting import sizes
from homfast.selftesting.oracles import (
    KINDS,
    MANY_TERMS,
    assert_same_bits,
    assert_within,
    ensure,
    operands,
    pack,
    product,
    relu,
    select,
    unpack,
    worst_ratio,
)

TITLE = "layers and their gradients within the componentwise bound"
KEEPS_BITS = False
SLOPES = (0.0, 0.25, 0.1, -1.0, 1.0, 3.0)
CHOICES = {"kind": KINDS}
CORNERS = (
    {"rows": 1, "features": 1, "columns": 1, "kind": "normal", "slope": 0.0},
    {"rows": 17, "features": 33, "columns": 65, "kind": "graded", "slope": 0.1},
    {"rows": 3, "features": 257, "columns": 130, "kind": "lognormal", "slope": 0.0},
    {"rows": 130, "features": 521, "columns": 37, "kind": "cauchy", "slope": 0.25},
)


def draw(rng, largest):
    kind, slope = str(rng.choice(KINDS)), float(rng.choice(SLOPES))
    return sizes.layer(rng, largest) | {"kind": kind, "slope": slope}


def check(engine, dtype, rng, rows, features, columns, kind, slope):
    x, weight = operands(rng, kind, rows, features, columns, dtype)
    grad = rng.standard_normal((rows, columns)).astype(dtype)
    mask = pack(rng.random((rows, columns)) < 0.5)
    case = f"{engine} {dtype} {kind} (rows, in, out) = {rows, features, columns} slope={slope}"
    y = homfast.linear(x, weight, backend=engine.backend)
    value, bound = product(x, weight.T, fused=engine.fused)
    assert_within(y, value, bound, case)
    check_relu(engine, dtype, x, weight, slope, case)
    worst = check_gradients(engine, grad, x, weight, mask, slope, case)
    few = min(rows, features, columns) < MANY_TERMS
    return None if few else max(worst, worst_ratio(y, value, bound))


def check_relu(engine, dtype, x, weight, slope, case):
    """linear_relu and its mask, which are returned."""
    y, mask = homfast.linear_relu(
        x, weight, negative_slope=slope, return_mask=True, backend=engine.backend
    )
    z, bound = product(x, weight.T, fused=engine.fused)
    assert_within(y, *relu(z, bound, slope, dtype), case)
    active = unpack(mask, weight.shape[0])
    wrong = (active != (z > 0)) & (np.abs(z) > bound)
    ensure(not wrong.any(), f"{case}: {wrong.sum()} bits wrong, first at {np.argwhere(wrong)[:1]}")
    if slope >= 0:
        agree = np.array_equal(active & (y != 0), y > 0)
        ensure(agree, f"{case}: mask and y disagree")
    if slope == 0:
        assert_same_bits(y[~active], np.zeros_like(y[~active]), f"{case}: inactive units")
    return y, mask


def check_gradients(engine, grad, x, weight, mask, slope, case):
    """Both gradients under `mask`, None for a linear layer: the largest error over its bound."""
    grad_input, grad_weight = homfast.linear_relu_backward(
        grad, x, weight, mask, negative_slope=slope, backend=engine.backend
    )
    passed = grad if mask is None else select(unpack(mask, grad.shape[1]), grad, slope)
    options = {"fused": engine.fused, "extra_roundings": int(slope != 0)}
    of_input, of_weight = product(passed, weight, **options), product(passed.T, x, **options)
    assert_within(grad_input, *of_input, f"grad_input {case}")
    assert_within(grad_weight, *of_weight, f"grad_weight {case}")
    return max(worst_ratio(grad_input, *of_input), worst_ratio(grad_weight, *of_weight))
