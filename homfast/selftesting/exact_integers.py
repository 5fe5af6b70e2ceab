"""On small integers every order of summation is exact: results equal int64 arithmetic bit for bit.

This finds errors of indexing, which bounds may hide. No operand is 0, so that a skipped term shows.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import homfast
from homfast.selftesting import sizes
from homfast.selftesting.oracles import assert_same_bits, ensure, integers, pack

TITLE = "small integers: exact, also the mask, gradients and networks"
KEEPS_BITS = False
CORNERS = (
    {"rows": 0, "features": 3, "columns": 4},
    {"rows": 3, "features": 0, "columns": 4},
    {"rows": 3, "features": 4, "columns": 0},
    {"rows": 1, "features": 1, "columns": 1},
    {"rows": 17, "features": 33, "columns": 65},
    {"rows": 130, "features": 257, "columns": 31},
)


def draw(rng, largest):
    return sizes.layer(rng, largest, least=0)


def check(engine, dtype, rng, rows, features, columns):
    x, weight, grad, active = operands(rng, dtype, rows, features, columns)
    case = f"{engine} {dtype} (rows, in, out) = {rows, features, columns}"
    check_forward(engine, x, weight, case)
    check_backward(engine, x, weight, grad, active, case)
    widths = [min(width, 40) for width in (features, columns, features)]
    weights = [integers(rng, (n, m), dtype, 2) for m, n in pairwise(widths)]
    x, grad = (integers(rng, (rows, widths[0]), dtype, 2) for _ in range(2))
    check_network(engine, weights, x, grad, f"{engine} {dtype} {rows} rows, widths {widths}")


def operands(rng, dtype, rows, features, columns, largest=8):
    x = integers(rng, (rows, features), dtype, largest)
    weight = integers(rng, (columns, features), dtype, largest)
    grad = integers(rng, (rows, columns), dtype, largest)
    return x, weight, grad, rng.random((rows, columns)) < 0.5


def exact(values, dtype):
    """int64 results as floats; 0 is +0."""
    ensure(not values.size or np.abs(values).max() <= 2**24, "not exact in float32")
    return values.astype(dtype)


def check_forward(engine, x, weight, case):
    product = x.astype(np.int64) @ weight.T.astype(np.int64)
    wanted = exact(product, x.dtype)
    y = homfast.linear(x, weight, backend=engine.backend)
    assert_same_bits(y + 0, wanted, f"linear {case}")
    y, mask = homfast.linear_relu(x, weight, return_mask=True, backend=engine.backend)
    assert_same_bits(y, np.maximum(wanted, 0), f"linear_relu {case}")
    assert_same_bits(mask, packed(product > 0), f"mask {case}")
    y = homfast.linear_relu(x, weight, negative_slope=0.5, backend=engine.backend)
    assert_same_bits(y + 0, np.where(product > 0, wanted, wanted / 2), f"slope 0.5 {case}")


def check_backward(engine, x, weight, grad, active, case):
    mask, g = packed(active), grad.astype(np.int64)
    passed = np.where(active, g, 0)
    grad_input, grad_weight = homfast.linear_relu_backward(
        grad, x, weight, mask, backend=engine.backend
    )
    wanted = exact(passed @ weight.astype(np.int64), x.dtype)
    assert_same_bits(grad_input + 0, wanted, f"grad_input {case}")
    wanted = exact(passed.T @ x.astype(np.int64), x.dtype)
    assert_same_bits(grad_weight + 0, wanted, f"grad_weight {case}")
    passed = np.where(active, 2 * g, g)
    grad_input, grad_weight = homfast.linear_relu_backward(
        2 * grad, x, weight, mask, negative_slope=0.5, backend=engine.backend
    )
    wanted = exact(passed @ weight.astype(np.int64), x.dtype)
    assert_same_bits(grad_input + 0, wanted, f"grad_input slope 0.5 {case}")
    wanted = exact(passed.T @ x.astype(np.int64), x.dtype)
    assert_same_bits(grad_weight + 0, wanted, f"grad_weight slope 0.5 {case}")


def check_network(engine, weights, x, grad, case):
    """Forward and all gradients, exactly."""
    dtype = x.dtype
    net = homfast.ReLUNetwork(weights, backend=engine.backend)
    y, vjp = net.vjp(x)
    grad_input, grad_weights = vjp(grad)
    hidden, active = [x.astype(np.int64)], []
    for weight in weights[:-1]:
        z = hidden[-1] @ weight.T.astype(np.int64)
        active.append(z > 0)
        hidden.append(np.maximum(z, 0))
    wanted = exact(hidden[-1] @ weights[-1].T.astype(np.int64), dtype)
    assert_same_bits(y + 0, wanted, f"f {case}")
    assert_same_bits(net(x) + 0, wanted, f"call {case}")
    g = grad.astype(np.int64)
    for layer in reversed(range(len(weights))):
        g = np.where(active[layer], g, 0) if layer < len(active) else g
        wanted = exact(g.T @ hidden[layer], dtype)
        assert_same_bits(grad_weights[layer] + 0, wanted, f"grad_weights[{layer}] {case}")
        g = g @ weights[layer].astype(np.int64)
    assert_same_bits(grad_input + 0, exact(g, dtype), f"grad_input {case}")


def packed(active):
    """`pack`, of no rows too."""
    rows, columns = active.shape
    return pack(active).reshape(rows, (columns + 7) // 8)
