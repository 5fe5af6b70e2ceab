"""Products with matrices that are made on the fly: the bits of the stored ones (contract, 2)."""

from functools import cache

import numpy as np
import pytest
from oracles import assert_same_bits, product
from processes import output

import homfast
from homfast._backends import reference

SEED, STREAM, ROW = 0xFEDCBA9876543210, 3 << 16, 2**32 - 5
ENSEMBLES = ["gaussian", "rademacher"]
# Panels are 8 to 32 wide, counters have 2, 4 or 128 entries, tiles are 256 deep.
SHAPES = [
    (1, 1),
    (3, 5),
    (7, 127),
    (15, 129),
    (17, 256),
    (33, 257),
    (130, 31),
    (300, 700),
    (70, 1030),
]
BATCHES = [1, 2, 3, 7, 16, 61]


@cache
def matrix(kind, m, n, dtype):
    entries = np.empty((m, n), dtype)
    getattr(reference, f"{kind}_block")(SEED, STREAM, ROW, 0, entries)
    return entries


def run(engine, kind, x, width, adjoint, out=None):
    out = np.full((x.shape[0], width), np.nan, x.dtype) if out is None else out
    if not getattr(engine.module, f"{kind}_product")(SEED, STREAM, ROW, x, adjoint, out):
        pytest.skip(f"{engine}: products do not read plain panels; operators make whole blocks")
    return out


def stored(engine, kind, x, shape, adjoint):
    """The product with the stored matrix as operators do it: packed, whatever the batch."""
    handle = engine.module.pack_weight(matrix(kind, *shape, x.dtype))
    out = np.empty((x.shape[0], shape[1] if adjoint else shape[0]), x.dtype)
    if adjoint:
        engine.module.grad_input(x, handle, None, 0.0, out)
    else:
        engine.module.linear(x, handle, out)
    return out


@pytest.mark.parametrize("adjoint", [False, True], ids=["forward", "adjoint"])
@pytest.mark.parametrize("kind", ENSEMBLES)
def test_bits_of_the_stored_matrix(bit_engine, dtype, kind, adjoint, rng):
    for shape in SHAPES:
        width = shape[1] if adjoint else shape[0]
        for batch in BATCHES:
            x = rng.standard_normal((batch, shape[0] if adjoint else shape[1])).astype(dtype)
            actual = run(bit_engine, kind, x, width, adjoint)
            case = f"{bit_engine} {kind} {dtype} {shape} batch={batch} adjoint={adjoint}"
            assert_same_bits(actual, stored(bit_engine, kind, x, shape, adjoint), case)


@pytest.mark.parametrize("adjoint", [False, True], ids=["forward", "adjoint"])
@pytest.mark.parametrize("kind", ENSEMBLES)
def test_bits_of_few_rows_of_great_depth(native_engine, dtype, kind, adjoint, rng):
    """Sums of one or two rows stay in registers for 2^14 terms, then go on."""
    depth, width = (1 << 14) + 37, 263
    x = rng.standard_normal((2, depth)).astype(dtype)
    shape = (depth, width) if adjoint else (width, depth)
    wanted = stored(native_engine, kind, x, shape, adjoint)
    for some in (slice(0, 1), slice(1, 2), slice(0, 2)):
        case = f"{native_engine} {kind} {dtype} rows {some} adjoint={adjoint}"
        assert_same_bits(run(native_engine, kind, x[some], width, adjoint), wanted[some], case)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("kind", ENSEMBLES)
def test_threads_positions_and_strides(bit_engine, dtype, kind, threads, rng):
    """Each row alone, and in the middle of a batch of other strides, on any number of threads."""
    m, n = 517, 1300
    for adjoint in (False, True):
        x = rng.standard_normal((11, m if adjoint else n)).astype(dtype)
        homfast.set_num_threads(1)
        wanted = run(bit_engine, kind, x, n if adjoint else m, adjoint)
        homfast.set_num_threads(threads)
        case = f"{bit_engine} {kind} {dtype} threads={threads} adjoint={adjoint}"
        apart = np.full((22, x.shape[1] + 3), np.inf, dtype)[::2, 1:-2]
        apart[...] = x
        around = np.full((13, wanted.shape[1] + 5), 77, dtype)
        inside = around[1:-1, 2:-3]
        run(bit_engine, kind, apart, 0, adjoint, inside)
        assert_same_bits(inside, wanted, case)
        inside[...] = 77
        assert (around == 77).all(), f"{case}: written outside"
        for i in (0, 5, 10):
            alone = run(bit_engine, kind, x[i : i + 1], wanted.shape[1], adjoint)
            assert_same_bits(alone, wanted[i : i + 1], f"{case} row {i} alone")


@pytest.mark.parametrize("kind", ENSEMBLES)
def test_against_the_reference(engine, dtype, kind, rng):
    m, n = 90, 700
    for adjoint in (False, True):
        x = rng.standard_normal((5, m if adjoint else n)).astype(dtype)
        entries = matrix(kind, m, n, dtype)
        exact, bound = product(x, entries if adjoint else np.ascontiguousarray(entries.T))
        actual = run(engine, kind, x, n if adjoint else m, adjoint)
        assert (np.abs(actual - exact) <= bound).all()


def test_exact_integers(engine, dtype, rng):
    """Sums of integers are exact in any order."""
    m, n = 61, 2000
    entries = matrix("rademacher", m, n, dtype).astype(np.int64)
    x, y = rng.integers(-99, 100, (9, n)), rng.integers(-99, 100, (9, m))
    assert (run(engine, "rademacher", x.astype(dtype), m, False) == x @ entries.T).all()
    assert (run(engine, "rademacher", y.astype(dtype), n, True) == y @ entries).all()


@pytest.mark.parametrize("kind", ENSEMBLES)
def test_zero_sizes(engine, dtype, kind):
    for batch, inputs, outputs in [(0, 5, 3), (3, 0, 5), (3, 5, 0), (0, 0, 0)]:
        for adjoint in (False, True):
            out = run(engine, kind, np.ones((batch, inputs), dtype), outputs, adjoint)
            assert_same_bits(out, np.zeros((batch, outputs), dtype), f"{engine} {kind}")


@pytest.mark.parametrize("kind", ENSEMBLES)
def test_special_values_stay_in_their_row(bit_engine, dtype, kind, rng):
    x = rng.standard_normal((6, 300)).astype(dtype)
    clean = run(bit_engine, kind, x, 40, False)
    x[2, 7], x[4, 299] = np.nan, np.inf
    actual = run(bit_engine, kind, x, 40, False)
    assert np.isnan(actual[2]).all() and np.isinf(actual[4]).all()
    keep = [0, 1, 3, 5]
    assert_same_bits(actual[keep], clean[keep], f"{bit_engine} {kind}")


def test_what_does_not_fit_is_refused(native_engine):
    module = native_engine.module
    with pytest.raises(ValueError, match="out"):
        module.gaussian_product(0, 0, 0, np.ones((3, 4)), False, np.ones((2, 5)))
    with pytest.raises(TypeError, match="out"):
        module.rademacher_product(0, 0, 0, np.ones((3, 4)), False, np.ones((3, 5), np.float32))
    with pytest.raises(ValueError, match="x"):
        module.gaussian_product(0, 0, 0, np.ones((3, 8))[:, ::2], False, np.ones((3, 5)))


LONG = """
import os, signal, threading, time
import numpy as np
import homfast
from homfast._backends import native
homfast.set_target({target!r})
homfast.set_num_threads({threads})
x, out = np.ones((40, 100_000), np.float32), np.zeros((40, 100_000), np.float32)
for adjoint in (False, True):
    sent = []
    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
    try:
        threading.Timer(0.2, send).start()
        native.{kind}_product(0, 0, 0, x, adjoint, out)
    except KeyboardInterrupt:
        assert time.monotonic() - sent[0] < 1, "late"
    else:
        raise AssertionError("took no notice")
print("done")
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ENSEMBLES)
def test_ctrl_c(native_engine, kind, threads):
    run(native_engine, kind, np.ones((1, 4), np.float32), 4, False)  # whether there is one
    code = LONG.format(target=native_engine.target, threads=threads, kind=kind)
    assert output(code) == "done"
