"""Walsh-Hadamard transforms and R H D: the bits of the NumPy definition, on every target."""

import numpy as np
import pytest
from oracles import assert_same_bits
from processes import output

import homfast
from homfast._backends import reference

DTYPES = [np.float32, np.float64, np.int32]
# (n, size, m): inputs, what they are padded to, rows picked.
PICKS = [
    (1, 1, 1),
    (5, 8, 3),
    (31, 32, 32),
    (100, 128, 128),
    (3000, 4096, 77),
    (9000, 1 << 14, 500),
]


def data(rng, shape, dtype):
    return (rng.standard_normal(shape) * 1e6).astype(dtype)


def wanted(x):
    out = np.empty_like(x)
    reference.walsh_hadamard(x, out)
    return out


@pytest.mark.parametrize("dtype", DTYPES)
def test_definition(engine, dtype, rng):
    """The matrix by Sylvester's rule, on integers."""
    matrix = np.ones((1, 1), np.int64)
    for _ in range(10):
        x = rng.integers(-1000, 1000, (5, matrix.shape[0]))
        out = np.empty(x.shape, dtype)
        engine.module.walsh_hadamard(x.astype(dtype), out)
        assert (out == x @ matrix).all(), matrix.shape
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits(native_engine, dtype, threads, rng):
    homfast.set_num_threads(threads)
    for power in [*range(17), 18, 20]:
        x = data(rng, (7 if power < 12 else 2, 1 << power), dtype)
        out = np.full_like(x, 7)
        native_engine.module.walsh_hadamard(x, out)
        case = f"{native_engine} {np.dtype(dtype)} 2^{power} threads={threads}"
        assert_same_bits(out, wanted(x), case)
        native_engine.module.walsh_hadamard(x, x)
        assert_same_bits(x, out, f"{case} in place")


@pytest.mark.parametrize("dtype", DTYPES)
def test_strides_and_positions(native_engine, dtype, rng):
    for n in (1, 4, 64, 2048):
        x = np.full((24, n + 5), 9, dtype)[::2, 2:-3]
        x[...] = data(rng, x.shape, dtype)
        around = np.full((14, n + 7), 77, dtype)
        inside = around[1:-1, 3:-4]
        native_engine.module.walsh_hadamard(x, inside)
        assert_same_bits(inside, wanted(x), f"{native_engine} {n}")
        inside[...] = 77
        assert (around == 77).all(), f"{native_engine} {n}: written outside"
        alone = np.empty((1, n), dtype)
        native_engine.module.walsh_hadamard(x[7:8], alone)
        assert_same_bits(alone, wanted(x)[7:8], f"{native_engine} {n} alone")


def test_int32_wraps(engine):
    x = np.full((1, 1 << 13), 2**30, np.int32)
    out = np.empty_like(x)
    engine.module.walsh_hadamard(x, out)
    assert (out == 0).all()  # 2^43 modulo 2^32
    x[0, 0] += 1
    engine.module.walsh_hadamard(x, out)
    assert (out == 1).all()


def test_special_values_stay_in_their_row(native_engine, dtype, rng):
    x = data(rng, (4, 512), dtype)
    clean = wanted(x)
    x[1, 3], x[3, 0] = np.nan, np.inf
    out = np.empty_like(x)
    native_engine.module.walsh_hadamard(x, out)
    assert np.isnan(out[1]).all() and np.isinf(out[3]).all()
    assert_same_bits(out[[0, 2]], clean[[0, 2]], str(native_engine))


def problem(n, size, m, rng):
    signs = np.empty((1, -(-n // 32)), np.uint32)
    reference.rademacher_words(5, 6, 7, 0, signs)
    return signs[0], rng.permutation(size)[:m].astype(np.int64)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("pick", [*PICKS, (70_000, 1 << 17, 1000)], ids=str)
def test_subsampled(native_engine, dtype, pick, threads, rng):
    homfast.set_num_threads(threads)
    n, size, m = pick
    signs, rows = problem(n, size, m, rng)
    for adjoint in (False, True):
        for batch in (0, 1, 3, 9):
            x = data(rng, (batch, m if adjoint else n), dtype)
            out = np.full((batch, n if adjoint else m), 7, dtype)
            right = out.copy()
            native_engine.module.subsampled_hadamard(x, signs, rows, size, 0.3, adjoint, out)
            reference.subsampled_hadamard(x, signs, rows, size, 0.3, adjoint, right)
            assert_same_bits(out, right, f"{native_engine} {dtype} {pick} {batch} {adjoint}")


@pytest.mark.parametrize("pick", PICKS, ids=str)
def test_subsampled_is_its_matrix(engine, pick, rng):
    """Columns of the identity give R H D, and the adjoint its transpose, exactly."""
    n, size, m = min(pick[0], 100), min(pick[1], 128), min(pick[2], 100)
    signs, rows = problem(n, size, m, rng)
    whole = np.empty((size, size))
    engine.module.walsh_hadamard(np.eye(size), whole)
    flips = 1 - 2 * (signs[np.arange(n) // 32] >> (np.arange(n) % 32) & 1).astype(int)
    matrix = whole[rows, :n] * flips * 0.5
    out, back = np.empty((n, m)), np.empty((m, n))
    engine.module.subsampled_hadamard(np.eye(n), signs, rows, size, 0.5, False, out)
    engine.module.subsampled_hadamard(np.eye(m), signs, rows, size, 0.5, True, back)
    assert np.array_equal(out.T, matrix) and np.array_equal(back, matrix)


def test_zero_sizes(engine, dtype):
    engine.module.walsh_hadamard(np.zeros((0, 8), dtype), np.zeros((0, 8), dtype))
    none, signs = np.zeros(0, np.int64), np.zeros(1, np.uint32)
    out = np.full((3, 5), 7, dtype)
    engine.module.subsampled_hadamard(np.zeros((3, 0), dtype), signs, none, 8, 1.0, True, out)
    assert_same_bits(out, np.zeros_like(out), str(engine))
    empty = np.zeros((3, 0), dtype)
    engine.module.subsampled_hadamard(np.ones((3, 5), dtype), signs, none, 8, 1.0, False, empty)


def test_what_does_not_fit_is_refused(native_engine):
    module = native_engine.module
    for x, out in [((2, 6), (2, 6)), ((2, 8), (3, 8)), ((2, 8), (2, 16)), ((2, 0), (2, 0))]:
        with pytest.raises(ValueError, match=r"power of two|shape"):
            module.walsh_hadamard(np.zeros(x), np.zeros(out))
    with pytest.raises(TypeError):
        module.walsh_hadamard(np.zeros((2, 8)), np.zeros((2, 8), np.float32))
    with pytest.raises(TypeError):
        module.walsh_hadamard(np.zeros((2, 8), np.int16), np.zeros((2, 8), np.int16))
    x, out = np.zeros((2, 8)), np.zeros((2, 3))
    signs, rows = np.zeros(1, np.uint32), np.arange(3)
    for bad in [
        (x, signs, np.array([0, 1, 8]), 8, 1.0, False, out),
        (x, signs, np.array([0, 1, -1]), 8, 1.0, False, out),
        (x, signs, rows[:2], 8, 1.0, False, out),
        (x, np.zeros(2, np.uint32), rows, 8, 1.0, False, out),
        (x, signs, rows, 4, 1.0, False, out),
        (x, signs, rows, 12, 1.0, False, out),
        (x, signs, rows, 8, 1.0, False, out[:1]),
    ]:
        with pytest.raises(ValueError):
            module.subsampled_hadamard(*bad)


LONG = """
import os, signal, threading, time
import numpy as np
import homfast
from homfast._backends import native
homfast.set_target({target!r})
homfast.set_num_threads({threads})
x = np.broadcast_to(np.ones(1 << 14, np.float32), ({rows}, 1 << 14))
out = np.lib.stride_tricks.as_strided(np.zeros(1 << 14, np.float32), x.shape, (0, 4))
sent = []
def send():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
try:
    threading.Timer(0.2, send).start()
    native.walsh_hadamard(x, out)
except KeyboardInterrupt:
    print("done" if time.monotonic() - sent[0] < 1 else "late")
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c(native_engine, threads):
    code = LONG.format(target=native_engine.target, threads=threads, rows=2_000_000)
    assert output(code) == "done"
