"""A^H A x with a matrix made on the fly once: the bits of a product and its adjoint."""

import numpy as np
import pytest
from oracles import assert_same_bits, product
from processes import output

import homfast
from homfast import _backends
from homfast.measure import Gaussian

SEED, STREAM, ROW = 0xFEDCBA9876543210, 3 << 16, 2**32 - 5
# Panels are 4 to 32 wide, made 1024 deep, used 512 columns at a time; the last takes two blocks.
SHAPES = [(1, 1), (3, 5), (15, 129), (33, 257), (300, 700), (70, 1030), (1000, 1300)]


def gram(engine, m, x, scale=0.3, out=None):
    out = np.full_like(x, np.nan) if out is None else out
    if not engine.module.gaussian_gram(SEED, STREAM, ROW, m, scale, x, out):
        pytest.skip(f"{engine}: products do not read plain panels; operators take two products")
    return out


def two_products(engine, m, x, scale=0.3):
    y, out = np.empty((len(x), m), x.dtype), np.empty_like(x)
    engine.module.gaussian_product(SEED, STREAM, ROW, x, False, y)
    y *= x.dtype.type(scale)
    engine.module.gaussian_product(SEED, STREAM, ROW, y, True, out)
    return out


def test_bits_of_two_products(native_engine, dtype, rng):
    for m, n in SHAPES:
        for batch in (1, 2, 3, 7, 16):
            x = rng.standard_normal((batch, n)).astype(dtype)
            case = f"{native_engine} {dtype} {m} x {n} batch={batch}"
            assert_same_bits(gram(native_engine, m, x), two_products(native_engine, m, x), case)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_positions_and_strides(native_engine, dtype, threads, rng):
    m, n = 517, 1300
    x = rng.standard_normal((11, n)).astype(dtype)
    homfast.set_num_threads(1)
    wanted = gram(native_engine, m, x)
    homfast.set_num_threads(threads)
    apart = np.full((22, n + 3), np.inf, dtype)[::2, 1:-2]
    apart[...] = x
    around = np.full((13, n + 5), 77, dtype)
    inside = around[1:-1, 2:-3]
    gram(native_engine, m, apart, out=inside)
    assert_same_bits(inside, wanted, f"{native_engine} threads={threads}")
    inside[...] = 77
    assert (around == 77).all(), "written outside"
    for i in (0, 5, 10):
        assert_same_bits(gram(native_engine, m, x[i : i + 1]), wanted[i : i + 1], f"row {i} alone")


def test_against_the_reference(engine, dtype, rng):
    m, n = 90, 700
    x = rng.standard_normal((5, n)).astype(dtype)
    entries = np.empty((m, n), dtype)
    engine.module.gaussian_block(SEED, STREAM, ROW, 0, entries)
    y = x.astype(np.float64) @ entries.T.astype(np.float64) * dtype.type(0.3)
    exact, bound = product(y.astype(dtype), entries)
    spread = np.abs(x.astype(np.float64)) @ np.abs(entries.T) @ np.abs(entries)
    error = np.abs(gram(engine, m, x) - exact)
    assert (error <= bound + 2 * n * np.finfo(dtype).eps * spread).all()


def test_special_values_stay_in_their_row(native_engine, dtype, rng):
    x = rng.standard_normal((6, 300)).astype(dtype)
    clean = gram(native_engine, 40, x)
    x[2, 7], x[4, 299] = np.nan, np.inf
    actual = gram(native_engine, 40, x)
    assert np.isnan(actual[2]).all() and not np.isfinite(actual[4]).any()
    keep = [0, 1, 3, 5]
    assert_same_bits(actual[keep], clean[keep], str(native_engine))


def test_what_does_not_pay_is_left_alone(native_engine, dtype):
    run = native_engine.module.gaussian_gram
    for m, batch, n in ((5, 17, 8), (0, 3, 8), (5, 0, 8), (5, 3, 0)):
        out = np.full((batch, n), 7, dtype)
        assert run(SEED, STREAM, 0, m, 1.0, np.ones((batch, n), dtype), out) is False
        assert (out == 7).all()


def test_what_does_not_fit_is_refused(native_engine):
    run = native_engine.module.gaussian_gram
    with pytest.raises(ValueError, match="out"):
        run(0, 0, 0, 5, 1.0, np.ones((3, 4)), np.ones((3, 5)))
    with pytest.raises(TypeError, match="out"):
        run(0, 0, 0, 5, 1.0, np.ones((3, 4)), np.ones((3, 4), np.float32))


@pytest.mark.parametrize("normalize", [True, False])
def test_operators(native_engine, dtype, rng, monkeypatch, normalize):
    """On the fly as stored, scaled or not, a range of rows too, whatever the batch."""
    monkeypatch.setattr(_backends, "_automatic", native_engine.module)
    made, stored = (
        Gaussian(200, 333, seed=1, dtype=dtype, normalize=normalize, store=s) for s in (False, True)
    )
    x = rng.standard_normal((40, 333)).astype(dtype)
    for a, b in ((made, stored), (made.rows(7, 60), stored.rows(7, 60))):
        wanted = b.gram(x)
        assert_same_bits(a.gram(x), wanted, f"{native_engine} {a}")
        assert_same_bits(a.gram(x[3:13]), wanted[3:13], f"{native_engine} {a}")
        assert_same_bits(b.adjoint(b(x)), wanted, f"{native_engine} {b}")


LONG = """
import os, signal, threading, time
import numpy as np
import homfast
from homfast._backends import native
homfast.set_target({target!r})
x, out = np.ones((3, 100_000), np.float32), np.zeros((3, 100_000), np.float32)
sent = []
def send():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
try:
    threading.Timer(0.2, send).start()
    native.gaussian_gram(0, 0, 0, 10**7, 1.0, x, out)
except KeyboardInterrupt:
    assert time.monotonic() - sent[0] < 1, "late"
else:
    raise AssertionError("took no notice")
print("done")
"""


def test_ctrl_c(native_engine):
    gram(native_engine, 2, np.ones((1, 4), np.float32))  # whether there is one
    assert output(LONG.format(target=native_engine.target)) == "done"
