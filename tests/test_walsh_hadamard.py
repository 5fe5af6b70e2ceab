"""homfast.measure.walsh_hadamard: values, order, bits, and what it refuses."""

import numpy as np
import pytest
from oracles import assert_same_bits, integers

from homfast import _backends
from homfast.measure import walsh_hadamard

DTYPES = [np.float32, np.float64, np.int32]


@pytest.fixture
def automatic(engine, monkeypatch):
    monkeypatch.setattr(_backends, "_automatic", engine.module)
    return engine


def sylvester(n):
    matrix = np.ones((1, 1), np.int64)
    while len(matrix) < n:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def butterflies(x):
    """The definition: distances 1, 2, 4, ... in this order, each step rounded once."""
    values, h, n = x.copy(), 1, x.shape[-1]
    while h < n:
        for i in range(n):
            if not i & h:
                a, b = values[..., i].copy(), values[..., i + h].copy()
                values[..., i], values[..., i + h] = a + b, a - b
        h *= 2
    return values


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 4, 8, 32, 64, 128, 1024])
def test_integers_are_exact(automatic, dtype, n, rng):
    x = integers(rng, (5, n), np.dtype(dtype))
    wanted = (x.astype(np.int64) @ sylvester(n)).astype(dtype)
    assert_same_bits(walsh_hadamard(x), wanted, f"{automatic} {n}")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 16, 64, 256, 2048])
def test_bits_are_those_of_the_butterflies(automatic, dtype, n, rng):
    x = rng.standard_normal((3, n)).astype(dtype)
    assert_same_bits(walsh_hadamard(x), butterflies(x), f"{automatic} {n}")


def test_int32_is_modulo(automatic, rng):
    x = rng.integers(-(2**31), 2**31, (3, 256)).astype(np.int32)
    wanted = (x.astype(np.int64) @ sylvester(256)).astype(np.int32)
    assert_same_bits(walsh_hadamard(x), wanted, str(automatic))


def test_natural_order():
    linalg = pytest.importorskip("scipy.linalg")
    eye = np.eye(16)
    np.testing.assert_array_equal(walsh_hadamard(eye), linalg.hadamard(16))


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_batches_and_out(automatic, dtype, rng):
    x = (100 * rng.standard_normal((2, 3, 5, 64))).astype(dtype)
    wanted = walsh_hadamard(x)
    assert wanted.shape == x.shape and wanted.dtype == dtype
    for row in np.ndindex(2, 3, 5):
        assert_same_bits(walsh_hadamard(x[row]), wanted[row], "alone")
    assert_same_bits(walsh_hadamard(np.asfortranarray(x)), wanted, "columns")
    assert_same_bits(walsh_hadamard(x[:, ::-1, ::2]), wanted[:, ::-1, ::2].copy(), "strides")
    out = np.full((6, 2 * 64), 77, dtype)
    rows = x[0, :2].reshape(10, 64)[:6]
    assert walsh_hadamard(rows, out=out[:, :64]) is not None
    assert_same_bits(out[:, :64].copy(), wanted[0, :2].reshape(10, 64)[:6].copy(), "out")
    assert (out[:, 64:] == 77).all()
    inside = x.copy()
    assert walsh_hadamard(inside, out=inside) is inside
    assert_same_bits(inside, wanted, "in place")
    shifted = np.zeros(65, dtype)
    shifted[:64] = x[0, 0, 0]
    walsh_hadamard(shifted[:64], out=shifted[1:])
    assert_same_bits(shifted[1:].copy(), wanted[0, 0, 0], "overlapping")
    assert walsh_hadamard(x[:0]).shape == (0, 3, 5, 64)


def test_scaling_nan_and_twice(automatic, dtype, rng):
    x = rng.standard_normal((4, 128)).astype(dtype)
    assert_same_bits(walsh_hadamard(np.ldexp(x, 9)), np.ldexp(walsh_hadamard(x), 9), "2^9")
    x[1, 3], x[2, 5] = np.nan, np.inf
    y = walsh_hadamard(x)
    assert np.isnan(y[1]).all() and np.isinf(y[2]).all() and np.isfinite(y[[0, 3]]).all()
    whole = integers(rng, (3, 64), dtype)
    assert_same_bits(walsh_hadamard(walsh_hadamard(whole)), 64 * whole, "twice is n times")


def test_large(dtype):
    """2^22 elements: a constant goes to n at 0, a unit at the end to alternating signs."""
    n = 2**22
    y = walsh_hadamard(np.ones(n, dtype))
    assert y[0] == n and not y[1:].any()
    unit = np.zeros(n, dtype)
    unit[-1] = 1
    y = walsh_hadamard(unit)
    parity = np.array([i.bit_count() % 2 for i in range(1024)])
    np.testing.assert_array_equal(y[:1024], 1 - 2 * parity)


def test_torch_in_torch_out():
    torch = pytest.importorskip("torch")
    y = walsh_hadamard(torch.tensor([1, 2, 3, 4], dtype=torch.int32))
    assert isinstance(y, torch.Tensor) and y.tolist() == [10, -2, -4, 0]


def test_refuses():
    for x, error, message in (
        (np.ones(3), ValueError, r"x: got shape \(3,\), .* a power of two from 1 to 134217728"),
        (np.ones((4, 0)), ValueError, "a power of two"),
        (np.array(1.0), ValueError, r"x: got shape \(\)"),
        (np.ones(4, np.int64), TypeError, "x: got dtype int64, wanted float32, float64 or int32"),
        (np.ones(4, np.complex64), TypeError, "x: got dtype complex64"),
        ([1.0, 2.0], TypeError, "x: got list"),
        (np.ma.ones(4), TypeError, "masked"),
        (np.ones(4, ">f4"), TypeError, "byte-swapped"),
    ):
        with pytest.raises(error, match=message):
            walsh_hadamard(x)
    with pytest.raises(ValueError, match="out: got shape"):
        walsh_hadamard(np.ones(4), out=np.ones(8))
    with pytest.raises(TypeError, match="out: got dtype"):
        walsh_hadamard(np.ones(4), out=np.ones(4, np.float32))
