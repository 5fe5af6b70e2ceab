"""The fused optimizer steps: the formulas of the reference, to the bit, on every target.

Each product and sum rounds on its own, so that no target and no tail of a vector differs.
"""

import numpy as np
import pytest
from oracles import assert_same_bits

import homfast
from homfast._backends import reference
from homfast.training import AdamCoefficients

SIZES = [*range(36), 63, 64, 65, 127, 129, 1000, 100_003]
COEFFICIENTS = {
    "adam": AdamCoefficients(1e-3, 0.9, 0.999, 1e-8, 1.7, 0.0, 1.0),
    "adam with decay": AdamCoefficients(1e-3, 0.9, 0.999, 1e-8, 31.6, 0.01, 1.0),
    "adamw": AdamCoefficients(1e-2, 0.9, 0.999, 1e-8, 1.0, 0.0, 0.999),
    "first step": AdamCoefficients(0.5, 0.0, 0.0, 1e-3, 1.0, 0.0, 1.0),
}


def state(rng, size, dtype):
    weight, grad, first = (rng.standard_normal((1, size)).astype(dtype) for _ in range(3))
    return weight, grad, first, rng.standard_exponential((1, size)).astype(dtype)


@pytest.mark.parametrize("kind", COEFFICIENTS)
def test_adam_is_the_reference(bit_engine, dtype, rng, kind):
    for size in SIZES:
        arrays = state(rng, size, dtype)
        wanted = [array.copy() for array in arrays]
        bit_engine.module.adam_update(*arrays, COEFFICIENTS[kind])
        reference.adam_update(*wanted, COEFFICIENTS[kind])
        for name, array, other in zip(
            ("weight", "grad", "first_moment", "second_moment"), arrays, wanted, strict=True
        ):
            assert_same_bits(array, other, f"{bit_engine} {dtype} {kind} {name} size={size}")


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_sgd_is_the_reference(bit_engine, dtype, rng, weight_decay):
    for size in SIZES:
        weight, grad, _, _ = state(rng, size, dtype)
        wanted, kept = weight.copy(), grad.copy()
        bit_engine.module.sgd_update(weight, grad, 0.1, weight_decay)
        reference.sgd_update(wanted, grad, 0.1, weight_decay)
        assert_same_bits(weight, wanted, f"{bit_engine} {dtype} {weight_decay} size={size}")
        assert_same_bits(grad, kept, "the gradient was written to")


def test_threads_do_not_change_the_step(bit_engine, dtype, rng):
    for size in (65, 100_003, 1_000_001):
        arrays = state(rng, size, dtype)
        results = []
        for threads in (1, 2, 5):
            homfast.set_num_threads(threads)
            own = [array.copy() for array in arrays]
            bit_engine.module.adam_update(*own, COEFFICIENTS["adam with decay"])
            bit_engine.module.sgd_update(own[0], own[1], 0.1, 0.01)
            results.append(own)
        for own in results[1:]:
            for array, wanted in zip(own, results[0], strict=True):
                assert_same_bits(array, wanted, f"{bit_engine} {dtype} size={size}")


def test_a_wrong_element_stays_alone(bit_engine, dtype, rng):
    arrays = state(rng, 70, dtype)
    wanted = [array.copy() for array in arrays]
    bit_engine.module.adam_update(*wanted, COEFFICIENTS["adam"])
    for place in (0, 7, 8, 63, 69):
        own = [array.copy() for array in arrays]
        own[1][0, place] = np.nan
        bit_engine.module.adam_update(*own, COEFFICIENTS["adam"])
        others = np.delete(np.arange(70), place)
        assert np.isnan(own[0][0, place])
        assert_same_bits(own[0][:, others], wanted[0][:, others], f"{bit_engine} {dtype} {place}")
