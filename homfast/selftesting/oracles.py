"""What results are compared with: values in wider arithmetic, and bounds on the error.

The bound of a product of K terms is componentwise, gamma_K |W||x| + K tiny, gamma_K = K u/(1 - K u)
with u the unit roundoff (2^-24, 2^-53) and tiny the least denormal; plus K 2^-120 max|w| max|x|
where a matrix unit flushes denormals. Higham, Accuracy and Stability of Numerical Algorithms,
section 3.1. The wider arithmetic adds its own gamma_K.
"""

from __future__ import annotations

import numpy as np

ROUNDOFF = {np.dtype(np.float32): 2.0**-24, np.dtype(np.float64): 2.0**-53}
MANY_TERMS = 8  # of fewer, one rounding can fill the bound
WIDE = {np.dtype(np.float32): np.float64, np.dtype(np.float64): np.longdouble}


def gamma(terms, roundoff):
    return terms * roundoff / (1 - terms * roundoff)


def tiny(dtype):
    """The least positive denormal, in wider arithmetic."""
    return WIDE[dtype](np.finfo(dtype).smallest_subnormal)


def product(left, right, *, fused=True, extra_roundings=0):
    """left (m, k) @ right (k, n) in wider arithmetic, and the bound on the kernel's error."""
    wide = WIDE[left.dtype]
    terms = left.shape[1]
    a, b = left.astype(wide), right.astype(wide)
    magnitude = np.abs(a) @ np.abs(b)
    own = float(np.finfo(wide).eps) / 2
    bound = (gamma(terms + extra_roundings, ROUNDOFF[left.dtype]) + gamma(terms, own)) * magnitude
    bound += (terms + extra_roundings) * tiny(left.dtype)
    if not fused and terms:
        largest = np.abs(a).max(axis=1, initial=0)[:, None] * np.abs(b).max(axis=0, initial=0)
        bound += terms * wide(2.0**-120) * largest
    return a @ b, bound


def relu(value, bound, slope, dtype):
    """ReLU of a value known up to ``bound``, and the bound on the result."""
    wide = value.dtype.type
    a = wide(dtype.type(slope))
    result = np.where(value <= 0, a * value, value)
    growth = max(1.0, abs(float(a)))
    rounding = 0 if slope == 0 else ROUNDOFF[dtype] * np.abs(result) + tiny(dtype)
    return result, growth * bound * (1 + 2.0**-20) + rounding


def unpack(mask, features):
    """Bits (..., bytes) as booleans (..., features); the padding bits have to be 0."""
    bits = np.unpackbits(mask, axis=-1, bitorder="little")
    ensure(not bits[..., features:].any(), "padding bits of the mask are set")
    return bits[..., :features].astype(bool)


def pack(active):
    return np.packbits(active, axis=-1, bitorder="little")


def select(active, grad, slope):
    """A unit's gradient where it is active; +0, or slope times it, elsewhere."""
    a = grad.dtype.type(slope)
    with np.errstate(invalid="ignore"):
        return np.where(active, grad, a * grad if slope else grad.dtype.type(0))


# Comparisons ------------------------------------------------------------------------------------


class NothingToCheck(Exception):
    """A case that this machine cannot decide; the message says why. It does not count as passed."""


def ensure(holds, message):
    """AssertionError unless it holds, with ``python -O`` too."""
    if not holds:
        raise AssertionError(message)


def assert_within(actual, value, bound, case):
    """|actual - value| <= bound in every component; the message says where it is worst."""
    ensure(actual.shape == value.shape, f"{case}: shape {actual.shape}, wanted {value.shape}")
    if not actual.size:
        return
    ensure(np.isfinite(actual).all(), f"{case}: {np.sum(~np.isfinite(actual))} not finite")
    error = np.abs(actual.astype(value.dtype) - value)
    bad = error > bound
    if bad.any():
        with np.errstate(over="ignore"):  # of a bound of 0
            ratio = np.where(bad, error / np.maximum(bound, np.finfo(bound.dtype).tiny), 0)
        at = tuple(int(i) for i in np.unravel_index(np.argmax(ratio), ratio.shape))
        raise AssertionError(
            f"{case}: {bad.sum()} of {bad.size} beyond the bound; worst at {at}: "
            f"got {actual[at]!r}, wanted {value[at]!r} within {bound[at]!r} ({ratio[at]:.3g} times)"
        )


def worst_ratio(actual, value, bound):
    """The largest error over its bound, 0 of nothing; a figure for people, checked elsewhere."""
    if not actual.size:
        return 0.0
    error = np.abs(actual.astype(value.dtype) - value)
    return float(np.max(error / np.maximum(bound, np.finfo(bound.dtype).tiny)))


def assert_same_bits(actual, wanted, case):
    """Equal bit for bit, the sign of zero included; NaNs are one class."""
    ensure(actual.dtype == wanted.dtype, f"{case}: dtype {actual.dtype}, wanted {wanted.dtype}")
    ensure(actual.shape == wanted.shape, f"{case}: shape {actual.shape}, wanted {wanted.shape}")
    if same_bits(actual, wanted):
        return
    if actual.dtype.kind == "c":
        assert_same_bits(actual.real, wanted.real, f"{case}, real part")
        assert_same_bits(actual.imag, wanted.imag, f"{case}, imaginary part")
        return
    different = bits(actual) != bits(wanted)
    if actual.dtype.kind == "f":
        different &= ~(np.isnan(actual) & np.isnan(wanted))
    if not different.any():
        return
    at = tuple(int(i) for i in np.argwhere(different)[0])
    raise AssertionError(
        f"{case}: {different.sum()} of {different.size} differ; first at {at}: "
        f"got {actual[at]!r}, wanted {wanted[at]!r}"
    )


def same_bits(first, second):
    return first.tobytes() == second.tobytes()


def bits(array):
    return np.ascontiguousarray(array).view(f"u{array.itemsize}").reshape(array.shape)


# Data -------------------------------------------------------------------------------------------


def integers(rng, shape, dtype, largest=8):
    """Integers other than 0 in -largest..largest: sums of products of few of them are exact."""
    values = rng.integers(1, largest + 1, shape) * rng.choice([-1, 1], shape)
    return values.astype(dtype)


def operands(rng, kind, rows, features, columns, dtype):
    """x (rows, features) and weight (columns, features) of one kind of data."""
    x_shape, weight_shape = (rows, features), (columns, features)
    if kind == "lognormal":
        x, weight = (
            np.exp(3 * rng.standard_normal(s)) * rng.choice([-1, 1], s)
            for s in (x_shape, weight_shape)
        )
    elif kind == "cauchy":
        x, weight = rng.standard_cauchy(x_shape), rng.standard_cauchy(weight_shape)
    else:
        x, weight = rng.standard_normal(x_shape), rng.standard_normal(weight_shape)
    if kind == "graded":  # opposite in x and weight, so that every term counts alike
        grades = rng.integers(-40, 41, features)
        x, weight = np.ldexp(x, -grades), np.ldexp(weight, grades)
    return x.astype(dtype), weight.astype(dtype)


KINDS = ("normal", "graded", "lognormal", "cauchy")
