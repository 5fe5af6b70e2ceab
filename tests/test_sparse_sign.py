"""Sparse matrices of signs: the bits of the NumPy definition, on every target."""

import numpy as np
import pytest
from oracles import assert_same_bits

import homfast
from homfast._backends import reference

SHAPES = [(1, 1, 1), (7, 20, 3), (1000, 3000, 8), (40, 5000, 2), (5000, 40, 8)]  # m, n, per column
BATCHES = [0, 1, 2, 3, 8, 16, 17, 33, 40]


def columns(rng, m, n, count):
    rows = np.argsort(rng.random((n, m)), axis=1)[:, :count].astype(np.int64)
    return rows, rng.choice([-1, 1], rows.shape).astype(np.int8)


def dense(rows, signs, m):
    matrix = np.zeros((m, rows.shape[0]))
    matrix[rows, np.arange(rows.shape[0])[:, None]] = signs
    return matrix


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bits(native_engine, dtype, shape, threads, rng):
    homfast.set_num_threads(threads)
    m, n, count = shape
    rows, signs = columns(rng, m, n, count)
    ours = native_engine.module.pack_sparse_sign(rows, signs, m)
    definition = reference.pack_sparse_sign(rows, signs, m)
    for batch in BATCHES:
        for adjoint in (False, True):
            x = rng.standard_normal((batch, m if adjoint else n)).astype(dtype)
            out = np.full((batch, n if adjoint else m), np.nan, dtype)
            wanted = out.copy()
            ours.product(x, adjoint, out)
            definition.product(x, adjoint, wanted)
            assert_same_bits(out, wanted, f"{native_engine} {dtype} {shape} {batch} {adjoint}")
            ours.product(x, adjoint, out, accumulate=True)
            definition.product(x, adjoint, wanted, accumulate=True)
            assert_same_bits(out, wanted, f"{native_engine} {dtype} {shape} {batch} {adjoint} on")


def test_positions_and_strides(native_engine, dtype, rng):
    """Each row alone has the bits that it has in a batch; nothing beside `out` changes."""
    m, n = 300, 700
    handle = native_engine.module.pack_sparse_sign(*columns(rng, m, n, 8), m)
    for adjoint in (False, True):
        x = np.full((42, (m if adjoint else n) + 5), np.inf, dtype)[::2, 2:-3]
        x[...] = rng.standard_normal(x.shape)
        around = np.full((23, (n if adjoint else m) + 7), 77, dtype)
        inside = around[1:-1, 3:-4]
        handle.product(x, adjoint, inside)
        alone = np.empty_like(inside)
        for i in range(len(x)):
            handle.product(x[i : i + 1], adjoint, alone[i : i + 1])
        assert_same_bits(inside, alone, f"{native_engine} {dtype} {adjoint}")
        inside[...] = 77
        assert (around == 77).all(), f"{native_engine}: written outside"


def test_exact_integers(engine, dtype, rng):
    m, n = 50, 400
    rows, signs = columns(rng, m, n, 8)
    handle, matrix = engine.module.pack_sparse_sign(rows, signs, m), dense(rows, signs, m)
    for batch in (1, 20):
        x = rng.integers(-99, 100, (batch, n)).astype(dtype)
        y = rng.integers(-99, 100, (batch, m)).astype(dtype)
        forward, adjoint = np.empty_like(y), np.empty_like(x)
        handle.product(x, False, forward)
        handle.product(y, True, adjoint)
        assert (forward == x @ matrix.T).all() and (adjoint == y @ matrix).all()


def test_sums_go_on_where_they_stopped(engine, dtype, rng):
    """So columns can be taken a few at a time: the same bits as all at once."""
    m, n = 50, 400
    rows, signs = columns(rng, m, n, 8)
    for batch in (1, 2, 3, 20):
        x = rng.standard_normal((batch, n)).astype(dtype)
        whole, parts = np.empty((batch, m), dtype), np.empty((batch, m), dtype)
        engine.module.pack_sparse_sign(rows, signs, m).product(x, False, whole)
        for start in range(0, n, 130):
            span = slice(start, start + 130)
            handle = engine.module.pack_sparse_sign(rows[span], signs[span], m)
            handle.product(x[:, span], False, parts, accumulate=start > 0)
        assert_same_bits(parts, whole, f"{engine} {dtype} {batch}")


def test_zero_sizes_and_empty_rows(engine, dtype):
    for m, n, count in [(5, 0, 3), (0, 0, 1), (5, 3, 0), (5, 3, 1)]:
        rows, signs = np.zeros((n, count), np.int64), np.ones((n, count), np.int8)
        handle = engine.module.pack_sparse_sign(rows, signs, m)
        for batch in (0, 1, 9):
            out = np.full((batch, m), 7, dtype)
            handle.product(np.ones((batch, n), dtype), False, out)
            assert_same_bits(out[:, 1:], np.zeros((batch, max(m - 1, 0)), dtype), str(engine))
            assert (out[:, :1] == n * count).all()


def test_special_values_stay_in_their_row(native_engine, dtype, rng):
    handle = native_engine.module.pack_sparse_sign(*columns(rng, 30, 200, 4), 30)
    x = rng.standard_normal((20, 200)).astype(dtype)
    clean, actual = np.empty((20, 30), dtype), np.empty((20, 30), dtype)
    handle.product(x, False, clean)
    x[3] = np.nan
    handle.product(x, False, actual)
    keep = np.arange(20) != 3
    assert np.isnan(actual[3]).all()
    assert_same_bits(actual[keep], clean[keep], str(native_engine))


def test_what_does_not_fit_is_refused(native_engine):
    pack = native_engine.module.pack_sparse_sign
    rows, signs = np.zeros((4, 2), np.int64), np.ones((4, 2), np.int8)
    for bad in [
        (rows + 3, signs, 3),
        (rows - 1, signs, 3),
        (rows, signs[:3], 3),
        (rows, signs, -1),
    ]:
        with pytest.raises(ValueError):
            pack(*bad)
    with pytest.raises(TypeError):
        pack(rows.astype(np.int32), signs, 3)
    handle = pack(rows, signs, 3)
    for x, adjoint, out in [
        ((5, 3), False, (5, 3)),
        ((5, 4), False, (4, 3)),
        ((5, 3), True, (5, 3)),
    ]:
        with pytest.raises(ValueError):
            handle.product(np.zeros(x), adjoint, np.zeros(out))
