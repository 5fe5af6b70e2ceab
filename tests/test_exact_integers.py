"""On small integers every order of summation is exact: results equal int64 arithmetic bit for bit.

This finds errors of indexing, which bounds may hide; it sees no loss of precision (those tests are
in test_linear*.py). No operand is 0, so that a skipped term shows.
"""

import numpy as np
import pytest
from oracles import assert_same_bits, integers, pack

import homfast
from homfast.selftesting.exact_integers import (
    check_backward,
    check_forward,
    check_network,
    operands,
)

SMALL = (1, 2, 3, 4, 5, 6, 7, 8, 9, 13)
LANES = (15, 16, 17, 23, 31, 32, 33)
LARGE = [(1, 1000, 1), (1000, 1, 3), (2, 3, 1000), (6, 513, 48), (97, 101, 103), (64, 256, 64),
         (129, 127, 131), (16, 1025, 17), (300, 40, 200), (5, 600, 9)]  # fmt: skip


def shapes():
    for rows in (*SMALL, 17, 33):
        for features in (*SMALL, *LANES):
            for columns in (*SMALL, *LANES):
                yield rows, features, columns


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
        for rows in (1, 5, 16, 37):
            x = integers(rng, (rows, widths[0]), dtype, 2)
            grad = integers(rng, (rows, widths[-1]), dtype, 2)
            check_network(engine, weights, x, grad, f"{engine} {dtype} {widths} {rows} rows")


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
