"""NaN, infinities, zeros and denormals: the table of design 3.4."""

import ctypes
import ctypes.util
import platform

import numpy as np
import pytest
from oracles import assert_same_bits, pack, unpack

import homfast
from homfast.selftesting.special_values import check_table, compare_rows, specials


@pytest.mark.parametrize("slope", [0.0, 0.5, -2.0])
def test_relu_table_in_every_lane(engine, dtype, slope):
    """z is the weight itself: x is 1 and there is one feature."""
    for width in range(1, 71):
        for shift in range(0, 13, 3):
            check_table(engine, dtype, width, shift, slope)


def test_no_negative_zero_leaves_a_relu(engine, dtype, rng):
    x = rng.choice(np.array([-1, -0.0, 0, 1], dtype), (37, 5))
    weight = rng.choice(np.array([-1, -0.0, 0, 1], dtype), (67, 5))
    y = homfast.linear_relu(x, weight, backend=engine.backend)
    assert not np.signbit(y).any(), f"{engine} {dtype}"
    zeros = homfast.linear_relu(-0 * x, np.abs(weight), backend=engine.backend)
    assert not np.signbit(zeros).any() and not zeros.any(), f"{engine} {dtype}"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_of_nan_or_inf_is_alone(engine, dtype, rng, value):
    """Every depth, so that every tail is seen: rows without NaN never see another row's."""
    weight = rng.standard_normal((19, 130)).astype(dtype)
    clean = rng.standard_normal((23, 130)).astype(dtype)
    grad = rng.standard_normal((23, 130)).astype(dtype)
    for features in range(1, 131):
        for rows in (3, 23):
            bad = features % rows
            x, w = clean[:rows, :features], weight[:, :features]
            poisoned = x.copy()
            poisoned[bad] = value
            case = f"{engine} {dtype} {value} in row {bad} of {rows}, {features} features"
            compare_rows(
                lambda a, w=w: homfast.linear_relu(
                    a, w, negative_slope=0.1, return_mask=True, backend=engine.backend
                ),
                x, poisoned, bad, f"linear_relu {case}",
            )  # fmt: skip
            g, poisoned = grad[:rows, :features], grad[:rows, :features].copy()
            poisoned[bad] = value
            mask = pack(clean[:rows, :features] > 0)
            w = np.ascontiguousarray(weight[:, :features].T)
            compare_rows(
                lambda a, w=w, mask=mask: homfast.linear_relu_backward(
                    a, None, w, mask, backend=engine.backend
                )[:1],
                g, poisoned, bad, f"grad_input {case}",
            )  # fmt: skip


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_unit_of_nan_or_inf_is_alone(engine, dtype, rng, value):
    x = rng.standard_normal((23, 65)).astype(dtype)
    for features in (1, 7, 8, 16, 33, 65):
        weight = rng.standard_normal((37, features)).astype(dtype)
        wanted = homfast.linear(x[:, :features], weight, backend=engine.backend)
        for bad in (0, 5, 15, 16, 31, 36):
            poisoned = weight.copy()
            poisoned[bad] = value
            y = homfast.linear(x[:, :features], poisoned, backend=engine.backend)
            others = np.delete(np.arange(37), bad)
            case = f"{engine} {dtype} {value} in unit {bad}, {features} features"
            assert_same_bits(y[:, others], wanted[:, others], case)
            assert not np.isfinite(y[:, bad]).any(), f"{case}: it was lost"


def test_one_nan_in_any_place_reaches_its_row(engine, dtype, rng):
    for features in (1, 2, 7, 8, 9, 16, 17, 33, 64):
        weight = rng.standard_normal((17, features)).astype(dtype)
        for rows in (1, features):
            x = rng.standard_normal((features, features)).astype(dtype)
            np.fill_diagonal(x, np.nan)
            y = homfast.linear_relu(x[:rows], weight, backend=engine.backend)
            assert np.isnan(y).all(), f"{engine} {dtype} {rows} rows, {features} features"


def test_zero_times_infinity_is_nan(engine, dtype):
    """No zero-skipping that hides it: in either operand, in every place."""
    for features in (1, 3, 8, 16, 33):
        for place in range(features):
            for zero in (0.0, -0.0):
                left = np.full((18, features), 1, dtype)
                right = np.full((21, features), 1, dtype)
                left[:, place], right[:, place] = zero, np.inf
                case = f"{engine} {dtype} {zero} at {place} of {features}"
                for x, weight in ((left, right), (right, left)):
                    y, mask = homfast.linear_relu(
                        x, weight, return_mask=True, backend=engine.backend
                    )
                    assert np.isnan(y).all() and unpack(mask, len(weight)).all(), case
                    assert np.isnan(homfast.linear(x[:1], weight, backend=engine.backend)).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_masked_unit_passes_zero_whatever_its_gradient_holds(engine, dtype, rng, value):
    for rows, features, columns in ((1, 3, 1), (5, 8, 9), (20, 17, 33), (33, 64, 65)):
        active = rng.random((rows, columns)) < 0.5
        active[0, 0] = False
        grad = rng.standard_normal((rows, columns)).astype(dtype)
        x = rng.standard_normal((rows, features)).astype(dtype)
        weight = rng.standard_normal((columns, features)).astype(dtype)
        zeroed = np.where(active, grad, dtype.type(0))
        poisoned = np.where(active, grad, dtype.type(value))
        mask = pack(active)
        wanted = homfast.linear_relu_backward(zeroed, x, weight, mask, backend=engine.backend)
        results = homfast.linear_relu_backward(poisoned, x, weight, mask, backend=engine.backend)
        case = f"{engine} {dtype} {value} behind the mask, {rows, features, columns}"
        for result, other in zip(results, wanted, strict=True):
            assert_same_bits(result, other, case)
        leaky = homfast.linear_relu_backward(
            poisoned, x, weight, mask, negative_slope=0.5, backend=engine.backend
        )
        assert not np.isfinite(leaky[0][0]).any(), f"{case}: slope 0.5 passes half of it"


def test_a_masked_unit_is_zero_and_zero_times_infinity_is_nan(engine, dtype):
    """Selecting is not skipping: +0.0 meets the weight, or the input, all the same."""
    grad, mask = np.ones((18, 9), dtype), np.zeros((18, 2), np.uint8)
    weight, x = np.ones((9, 5), dtype), np.ones((18, 5), dtype)
    weight[4, 2] = x[7, 3] = np.inf
    grad_input, grad_weight = homfast.linear_relu_backward(
        grad, x, weight, mask, backend=engine.backend
    )
    wanted = np.zeros((18, 5), dtype)
    wanted[:, 2] = np.nan
    assert_same_bits(grad_input, wanted, f"{engine} {dtype} grad_input")
    wanted = np.zeros((9, 5), dtype)
    wanted[:, 3] = np.nan
    assert_same_bits(grad_weight, wanted, f"{engine} {dtype} grad_weight")


def test_gradient_at_the_table(engine, dtype):
    """A NaN pre-activation passes its gradient, as in PyTorch; a zero of either sign does not."""
    z = specials(dtype)
    _, mask = homfast.linear_relu(
        np.ones((1, 1), dtype), z[:, None], return_mask=True, backend=engine.backend
    )
    grad, eye = np.full((1, len(z)), 3, dtype), np.eye(len(z), dtype=dtype)
    passed = homfast.linear_relu_backward(grad, None, eye, mask, backend=engine.backend)[0]
    assert np.array_equal(passed[0], np.where((z > 0) | np.isnan(z), 3, 0)), f"{engine} {passed}"


def test_grad_weight_sums_all_rows(engine, dtype, rng):
    grad = rng.standard_normal((40, 9)).astype(dtype)
    x = rng.standard_normal((40, 5)).astype(dtype)
    wanted = homfast.linear_relu_backward(grad, x, None, None, backend=engine.backend)[1]
    for row in (0, 17, 39):
        poisoned = x.copy()
        poisoned[row, 2] = np.nan
        result = homfast.linear_relu_backward(grad, poisoned, None, None, backend=engine.backend)[1]
        assert np.isnan(result[:, 2]).all(), f"{engine} {dtype} row {row}"
        assert_same_bits(result[:, [0, 1, 3, 4]], wanted[:, [0, 1, 3, 4]], f"{engine} row {row}")


def test_denormals_are_kept(engine, dtype):
    least = np.finfo(dtype).smallest_subnormal
    x = np.array([[least, 3 * least, -5 * least]], dtype)
    y = homfast.linear(x, np.eye(3, dtype=dtype), backend=engine.backend)
    assert_same_bits(y, x, f"{engine} {dtype}")
    half = homfast.linear(np.full((1, 1), 0.5, dtype), x.T * 2, backend=engine.backend)
    assert_same_bits(half, x, f"{engine} {dtype}")


def test_clean_data_raises_no_floating_point_flags(bit_engine, dtype, rng):
    """Padding lanes divide nothing by zero (numpy#28687): sticky flags stay clear but inexact."""
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    arm = platform.machine() in ("aarch64", "arm64")
    invalid_divide_overflow_underflow = 0x0F if arm else 0x1D  # of fenv.h
    inexact = 0x10 if arm else 0x20
    for rows, features, columns in ((1, 1, 1), (3, 5, 7), (20, 17, 33), (7, 130, 9)):
        x = rng.standard_normal((rows, features)).astype(dtype)
        weight = rng.standard_normal((columns, features)).astype(dtype)
        grad, mask = np.ones((rows, columns), dtype), pack(np.eye(rows, columns) > 0)
        library.feclearexcept(invalid_divide_overflow_underflow | inexact)
        homfast.linear_relu(x, weight, negative_slope=0.1, backend=bit_engine.backend)
        homfast.linear_relu_backward(grad, x, weight, mask, backend=bit_engine.backend)
        raised = library.fetestexcept(invalid_divide_overflow_underflow)
        assert raised == 0, f"{bit_engine} {dtype} {rows, features, columns}: {raised:#x}"


def test_no_numpy_warnings_either_way(engine, dtype):
    x = np.array([[np.inf, np.nan, 0], [np.finfo(dtype).max] * 3], dtype)
    with np.errstate(all="raise"):
        y, mask = homfast.linear_relu(
            x, np.ones((2, 3), dtype), negative_slope=0.5, return_mask=True, backend=engine.backend
        )
        homfast.linear_relu_backward(y, x, x[:, :], mask, backend=engine.backend)
