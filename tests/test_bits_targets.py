"""Targets that fuse multiply-adds give the same bits: each element is one chain over k."""

import numpy as np
import pytest
from engines import NATIVE_ENGINES
from oracles import assert_same_bits, pack

import homfast
from homfast.selftesting.agreement import fuses

SHAPES = [(16, 3, 5), (17, 33, 9), (100, 300, 77), (64, 64, 64), (33, 1025, 18), (40, 17, 130)]


def results(engine, dtype, shape):
    rows, features, columns = shape
    rng = np.random.default_rng(7)
    x = rng.standard_normal((rows, features)).astype(dtype)
    weight = rng.standard_normal((columns, features)).astype(dtype)
    grad = rng.standard_normal((rows, columns)).astype(dtype)
    mask = pack(rng.random((rows, columns)) < 0.5)
    engine.use()
    forward = homfast.linear_relu(x, weight, negative_slope=0.1, return_mask=True, backend="native")
    backward = homfast.linear_relu_backward(
        grad, x, weight, mask, negative_slope=0.1, backend="native"
    )
    return *forward, *backward


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_targets_that_fuse_agree(native_engine, dtype, shape):
    if not fuses(native_engine):
        return
    wanted = results(native_engine, dtype, shape)
    for other in filter(fuses, NATIVE_ENGINES):
        for result, bits in zip(results(other, dtype, shape), wanted, strict=True):
            assert_same_bits(result, bits, f"{other} and {native_engine} {dtype} {shape}")


def test_neon_and_scalar_agree_on_few_rows(dtype):
    """Fewer than 16 rows are summed in as many partial sums as there are lanes: alike on both."""
    pair = [engine for engine in NATIVE_ENGINES if engine.target in ("neon", "scalar")]
    if len(pair) < 2:
        pytest.skip("neon is not here")
    for shape in ((1, 257, 30), (2, 64, 64), (3, 5, 7), (7, 31, 33), (15, 100, 9)):
        for result, bits in zip(*(results(engine, dtype, shape) for engine in pair), strict=True):
            assert_same_bits(result, bits, f"{dtype} {shape}")
