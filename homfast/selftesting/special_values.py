"""NaN, infinities, zeros and denormals: the table (contract, 4)."""

from __future__ import annotations

import numpy as np

import homfast
from homfast.selftesting import sizes
from homfast.selftesting.oracles import assert_same_bits, ensure, pack, unpack

TITLE = "NaN, infinities, signed zeros and denormals: the table, and no leak into other rows"
KEEPS_BITS = False
CHOICES = {"value": ("nan", "inf", "-inf")}
CORNERS = (
    {"rows": 3, "features": 1, "columns": 13, "value": "nan"},
    {"rows": 23, "features": 33, "columns": 19, "value": "nan"},
    {"rows": 18, "features": 130, "columns": 37, "value": "inf"},
    {"rows": 5, "features": 16, "columns": 8, "value": "-inf"},
)


def draw(rng, largest):
    shape = sizes.layer(rng, min(largest, 200))
    return shape | {"value": str(rng.choice(CHOICES["value"]))}


def check(engine, dtype, rng, rows, features, columns, value):
    number = float(value)
    case = f"{engine} {dtype} {value} (rows, in, out) = {rows, features, columns}"
    x, grad = (rng.standard_normal((rows, n)).astype(dtype) for n in (features, columns))
    weight = rng.standard_normal((columns, features)).astype(dtype)
    active = rng.random((rows, columns)) < 0.5
    check_row_is_alone(engine, x, weight, int(rng.integers(rows)), number, case)
    check_gradient_row_is_alone(engine, grad, weight, active, int(rng.integers(rows)), number, case)
    check_unit_is_alone(engine, x, weight, int(rng.integers(columns)), number, case)
    check_masked_unit(engine, grad, x, weight, active, number, case)
    check_zero_times_infinity(engine, x, weight, int(rng.integers(features)), case)
    check_table(engine, dtype, columns, int(rng.integers(13)), float(rng.choice([0, 0.5])))
    check_denormals(engine, dtype)


def specials(dtype):
    info = np.finfo(dtype)
    values = [np.nan, 0.0, -0.0, info.smallest_subnormal, -info.smallest_subnormal, info.tiny,
              -info.tiny, info.max, -info.max, np.inf, -np.inf, 1.0, -1.0]  # fmt: skip
    return np.array(values, dtype)


def check_table(engine, dtype, width, shift, slope):
    """ReLU of each special value; z is the weight itself, for x is 1 and there is one feature."""
    z = np.resize(np.roll(specials(dtype), shift), width)
    y, mask = homfast.linear_relu(
        np.ones((3, 1), dtype), z[:, None], negative_slope=slope, return_mask=True,
        backend=engine.backend,
    )  # fmt: skip
    case = f"{engine} {dtype} slope={slope} z={z}"
    active = ~(z <= 0)
    with np.errstate(over="ignore"):
        wanted = np.where(active, z, dtype.type(slope) * z if slope else 0).astype(dtype)
    for row in range(3):
        ensure(np.array_equal(unpack(mask[row], width), active), f"mask {case}")
        if slope == 0:
            assert_same_bits(y[row], wanted, case)
        else:  # the sign of a zero is not promised
            ensure(np.array_equal(y[row], wanted, equal_nan=True), f"{case} got {y[row]}")


def check_row_is_alone(engine, x, weight, bad, value, case):
    poisoned = x.copy()
    poisoned[bad] = value
    compare_rows(
        lambda rows: homfast.linear_relu(
            rows, weight, negative_slope=0.1, return_mask=True, backend=engine.backend
        ),
        x, poisoned, bad, f"linear_relu {case}, row {bad}",
    )  # fmt: skip


def check_gradient_row_is_alone(engine, grad, weight, active, bad, value, case):
    poisoned, mask = grad.copy(), pack(active)
    poisoned[bad] = value
    compare_rows(
        lambda rows: homfast.linear_relu_backward(
            rows, None, weight, mask, backend=engine.backend
        )[:1],
        grad, poisoned, bad, f"grad_input {case}, row {bad}",
    )  # fmt: skip


def compare_rows(call, clean, poisoned, bad, case):
    """All rows but `bad` have the bits they had; a NaN in it is not lost on the way forward."""
    others = np.delete(np.arange(len(clean)), bad)
    for result, wanted in zip(call(poisoned), call(clean), strict=True):
        assert_same_bits(result[others], wanted[others], case)
        if result.dtype.kind == "f" and np.isnan(poisoned[bad]).all() and "grad_input" not in case:
            ensure(np.isnan(result[bad]).any(), f"{case}: NaN was lost")


def check_unit_is_alone(engine, x, weight, bad, value, case):
    wanted = homfast.linear(x, weight, backend=engine.backend)
    poisoned = weight.copy()
    poisoned[bad] = value
    y = homfast.linear(x, poisoned, backend=engine.backend)
    others = np.delete(np.arange(len(weight)), bad)
    assert_same_bits(y[:, others], wanted[:, others], f"linear {case}, unit {bad}")
    ensure(not np.isfinite(y[:, bad]).any(), f"linear {case}, unit {bad}: it was lost")


def check_masked_unit(engine, grad, x, weight, active, value, case):
    """A masked unit passes +0.0 whatever its gradient holds."""
    zeroed = np.where(active, grad, grad.dtype.type(0))
    poisoned = np.where(active, grad, grad.dtype.type(value))
    mask = pack(active)
    wanted = homfast.linear_relu_backward(zeroed, x, weight, mask, backend=engine.backend)
    results = homfast.linear_relu_backward(poisoned, x, weight, mask, backend=engine.backend)
    for result, other in zip(results, wanted, strict=True):
        assert_same_bits(result, other, f"behind the mask: {case}")


def check_zero_times_infinity(engine, x, weight, place, case):
    """It is NaN, and the NaN is active in the mask: no zero is skipped."""
    x, weight = x.copy(), weight.copy()
    x[:, place], weight[:, place] = 0, np.inf
    y, mask = homfast.linear_relu(x, weight, return_mask=True, backend=engine.backend)
    ensure(np.isnan(y).all(), f"0 * inf {case}, feature {place}: not NaN everywhere")
    ensure(unpack(mask, len(weight)).all(), f"0 * inf {case}, feature {place}: mask")


def check_denormals(engine, dtype):
    least = np.finfo(dtype).smallest_subnormal
    x = np.array([[least, 3 * least, -5 * least]], dtype)
    y = homfast.linear(x, np.eye(3, dtype=dtype), backend=engine.backend)
    assert_same_bits(y, x, f"{engine} {dtype}: denormals")
