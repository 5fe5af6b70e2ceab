"""On small integers every order of summation is exact: results equal int64 arithmetic bit for bit.

This finds errors of indexing, which bounds may hide; it sees no loss of precision (those tests are
in test_linear*.py). No operand is 0, so that a skipped term shows.
"""

import numpy as np
import pytest
from oracles import assert_same_bits, integers, pack

import homfast

SMALL = (1, 2, 3, 4, 5, 6, 7, 8, 9, 13)
LANES = (15, 16, 17, 23, 31, 32, 33)
LARGE = [(1, 1000, 1), (1000, 1, 3), (2, 3, 1000), (6, 513, 48), (97, 101, 103), (64, 256, 64),
         (129, 127, 131), (16, 1025, 17), (300, 40, 200), (5, 600, 9)]  # fmt: skip


def shapes():
    for rows in (*SMALL, 17, 33):
        for features in (*SMALL, *LANES):
            for columns in (*SMALL, *LANES):
                yield rows, features, columns


def operands(rng, dtype, rows, features, columns, largest=8):
    x = integers(rng, (rows, features), dtype, largest)
    weight = integers(rng, (columns, features), dtype, largest)
    grad = integers(rng, (rows, columns), dtype, largest)
    return x, weight, grad, rng.random((rows, columns)) < 0.5


def exact(values, dtype):
    """int64 results as floats; 0 is +0."""
    assert not values.size or np.abs(values).max() <= 2**24, "not exact in float32"
    return values.astype(dtype)


def check_forward(engine, x, weight, case):
    product = x.astype(np.int64) @ weight.T.astype(np.int64)
    wanted = exact(product, x.dtype)
    y = homfast.linear(x, weight, backend=engine.backend)
    assert_same_bits(y + 0, wanted, f"linear {case}")
    y, mask = homfast.linear_relu(x, weight, return_mask=True, backend=engine.backend)
    assert_same_bits(y, np.maximum(wanted, 0), f"linear_relu {case}")
    assert_same_bits(mask, pack(product > 0), f"mask {case}")
    y = homfast.linear_relu(x, weight, negative_slope=0.5, backend=engine.backend)
    assert_same_bits(y + 0, np.where(product > 0, wanted, wanted / 2), f"slope 0.5 {case}")


def check_backward(engine, x, weight, grad, active, case):
    mask, g = pack(active), grad.astype(np.int64)
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


def test_forward_on_the_grid(engine, dtype, rng):
    for shape in shapes():
        x, weight, _, _ = operands(rng, dtype, *shape)
        check_forward(engine, x, weight, f"{engine} {dtype} (rows, in, out) = {shape}")


def test_backward_on_the_grid(engine, dtype, rng):
    for index, shape in enumerate(shapes()):
        if index % 2:
            shape = shape[::-1]
        x, weight, grad, active = operands(rng, dtype, *shape)
        case = f"{engine} {dtype} (rows, in, out) = {shape}"
        check_backward(engine, x, weight, grad, active, case)


@pytest.mark.parametrize("shape", LARGE, ids=str)
def test_larger_shapes(engine, dtype, rng, shape):
    x, weight, grad, active = operands(rng, dtype, *shape)
    case = f"{engine} {dtype} (rows, in, out) = {shape}"
    check_forward(engine, x, weight, case)
    check_backward(engine, x, weight, grad, active, case)


@pytest.mark.parametrize("shape", [(1000, 513, 257), (257, 1000, 513), (2049, 129, 65)], ids=str)
def test_blocked_shapes(engine, rng, shape):
    """Beyond the blocks of the macro-loop. float64 holds these sums exactly."""
    dtype = np.dtype(np.float32)
    x, weight, grad, active = operands(rng, dtype, *shape, largest=3)
    case = f"{engine} {dtype} (rows, in, out) = {shape}"
    y = homfast.linear(x, weight, backend=engine.backend)
    wide = x.astype(np.float64), weight.astype(np.float64)
    assert_same_bits(y + 0, (wide[0] @ wide[1].T).astype(dtype) + 0, f"linear {case}")
    gradients = homfast.linear_relu_backward(grad, x, weight, pack(active), backend=engine.backend)
    passed = np.where(active, grad.astype(np.float64), 0)
    for gradient, wanted in zip(gradients, (passed @ wide[1], passed.T @ wide[0]), strict=True):
        assert_same_bits(gradient + 0, wanted.astype(dtype) + 0, f"gradients {case}")


@pytest.mark.parametrize("threads", [1, 2, 3, 7, 64, 257])
def test_more_threads_than_rows(bit_engine, dtype, rng, threads):
    homfast.set_num_threads(threads)
    for shape in ((1, 1, 1), (2, 3, 5), (37, 129, 65), (300, 40, 200), (7, 1000, 300)):
        x, weight, grad, active = operands(rng, dtype, *shape)
        case = f"{bit_engine} {dtype} {shape} {threads} threads"
        check_forward(bit_engine, x, weight, case)
        check_backward(bit_engine, x, weight, grad, active, case)


def test_network_on_integers(engine, dtype, rng):
    """Forward and both gradients of three layers, exactly."""
    for widths in ((3, 5, 7, 2), (17, 33, 9, 4), (8, 64, 16, 1)):
        pairs = zip(widths[1:], widths, strict=False)
        weights = [integers(rng, shape, dtype, 2) for shape in pairs]
        net = homfast.ReLUNetwork(weights, backend=engine.backend)
        for rows in (1, 5, 16, 37):
            x = integers(rng, (rows, widths[0]), dtype, 2)
            grad = integers(rng, (rows, widths[-1]), dtype, 2)
            y, vjp = net.vjp(x)
            grad_input, grad_weights = vjp(grad)
            hidden, active = [x.astype(np.int64)], []
            for weight in weights[:-1]:
                z = hidden[-1] @ weight.T.astype(np.int64)
                active.append(z > 0)
                hidden.append(np.maximum(z, 0))
            case = f"{engine} {dtype} {widths} {rows} rows"
            wanted = exact(hidden[-1] @ weights[-1].T.astype(np.int64), dtype)
            assert_same_bits(y + 0, wanted, f"f {case}")
            assert_same_bits(net(x) + 0, wanted, f"call {case}")
            g = grad.astype(np.int64)
            for layer in (2, 1, 0):
                g = np.where(active[layer], g, 0) if layer < 2 else g
                wanted = exact(g.T @ hidden[layer], dtype)
                assert_same_bits(grad_weights[layer] + 0, wanted, f"grad_weights[{layer}] {case}")
                g = g @ weights[layer].astype(np.int64)
            assert_same_bits(grad_input + 0, exact(g, dtype), f"grad_input {case}")


@pytest.mark.slow
def test_whole_grid(engine, dtype, rng):
    sizes = (*range(18), 23, 24, 25, 31, 32, 33, 40, 47, 48, 49)
    for rows in sizes:
        for features in sizes:
            for columns in sizes:
                x, weight, grad, active = operands(rng, dtype, rows, features, columns)
                case = f"{engine} {dtype} (rows, in, out) = {rows, features, columns}"
                check_forward(engine, x, weight, case)
                check_backward(engine, x, weight, grad, active, case)
