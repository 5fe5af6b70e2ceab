"""Sizes of 0 in every dimension (contract, 5): K = 0 gives +0.0, an empty batch gives empty."""

import itertools

import numpy as np
import pytest
from oracles import assert_same_bits

import homfast

SIZES = list(itertools.product((0, 1, 2, 9, 17), repeat=3))


@pytest.mark.parametrize("slope", [0.0, 0.5, -0.5])
def test_forward(engine, dtype, slope):
    for rows, features, columns in SIZES:
        x, weight = np.ones((rows, features), dtype), np.ones((columns, features), dtype)
        wanted = np.full((rows, columns), features, dtype)
        case = f"{engine} {dtype} (rows, in, out) = {rows, features, columns} slope={slope}"
        out = np.full((rows, columns), np.nan, dtype)
        assert_same_bits(homfast.linear(x, weight, backend=engine.backend), wanted, case)
        homfast.linear(x, weight, out=out, backend=engine.backend)
        assert_same_bits(out, wanted, f"out {case}")
        y, mask = homfast.linear_relu(
            x, weight, negative_slope=slope, return_mask=True, backend=engine.backend
        )
        assert np.array_equal(y, wanted), case
        if slope >= 0:
            assert_same_bits(y, wanted, case)
        bits = np.packbits(wanted > 0, axis=-1, bitorder="little")
        assert_same_bits(mask, bits.reshape(rows, (columns + 7) // 8), f"mask {case}")


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_backward(engine, dtype, slope):
    for rows, features, columns in SIZES:
        x, weight = np.ones((rows, features), dtype), np.ones((columns, features), dtype)
        grad = np.ones((rows, columns), dtype)
        full = np.packbits(np.ones((rows, columns), bool), axis=-1, bitorder="little")
        full = full.reshape(rows, (columns + 7) // 8)
        case = f"{engine} {dtype} (rows, in, out) = {rows, features, columns} slope={slope}"
        for mask in (None, full):
            grad_input, grad_weight = homfast.linear_relu_backward(
                grad, x, weight, mask, negative_slope=slope, backend=engine.backend
            )
            assert_same_bits(grad_input, np.full((rows, features), columns, dtype), case)
            assert_same_bits(grad_weight, np.full((columns, features), rows, dtype), case)


def test_vectors_of_no_features(engine, dtype):
    y = homfast.linear(np.ones(0, dtype), np.ones((3, 0), dtype), backend=engine.backend)
    assert_same_bits(y, np.zeros(3, dtype), f"{engine} {dtype}")
    y = homfast.linear(np.ones((2, 0, 4), dtype), np.ones((3, 4), dtype), backend=engine.backend)
    assert y.shape == (2, 0, 3) and y.dtype == dtype


def test_update_kernels_on_nothing(engine, dtype):
    weight = np.ones((0, 5), dtype)
    engine.module.sgd_update(weight, weight.copy(), 0.1, 0.1)
    moments = weight.copy(), weight.copy()
    coefficients = homfast.training.AdamCoefficients(0.1, 0.9, 0.999, 1e-8, 1.0, 0.0, 1.0)
    engine.module.adam_update(weight, weight.copy(), *moments, coefficients)
