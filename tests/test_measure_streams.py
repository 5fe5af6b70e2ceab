"""Entries of the discrete ensembles: known bits, addressing, distribution, plain definitions."""

import hashlib

import numpy as np
import pytest
from oracles import assert_same_bits

from homfast._backends import streams
from homfast._backends.philox import philox4x32
from homfast.measure import Hadamard

SEED = 0x0123456789ABCDEF
# Frozen with version 1 of the streams. A change here is a new version, never a new golden value.
GOLDEN = {
    "rademacher": "b3f04af9edd4a02e82766a4bc79a859677bc8166fd5724da01f6681151b9ffb3",
    "sparse_sign": "da0f732f71fb1de1f81f6fa015a74129a3df334700388dcab523c3de7a67b677",
    "hadamard_signs": "366762002cbfe451e6152837fcc6ec7cd7629771dc30c6bc9edbd23232cf7ce4",
    "row_permutation": "9c9d3eefc2a0369429d1f9de9450f5e2e1dff9a6a2cc1df043be0e67a99f4c1c",
}


def digest(*arrays):
    joined = b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays)
    return hashlib.sha256(joined).hexdigest()


def signs(engine, kind, seed, rows, columns, dtype):
    """Entries of a stream of signs."""
    out = np.empty((len(rows), len(columns)), dtype)
    word = streams.stream_word(kind)
    engine.module.rademacher_block(seed, word, rows.start, columns.start, out)
    return out


def word(kind, seed, *counter):
    """Four words of a counter, in Python integers."""
    stream = streams.stream_word(kind)
    return [int(w) for w in philox4x32(*counter, stream, seed & 0xFFFFFFFF, seed >> 32)]


def test_each_stream_has_a_word_of_its_own():
    kinds = [v for k, v in vars(streams).items() if k.isupper() and k != "VERSION"]
    assert len(set(kinds)) == len(kinds)
    assert streams.stream_word(streams.GAUSSIAN, 4) == 1 << 24 | 1 << 16 | 4


def test_golden(engine, dtype):
    ops = engine.module
    rows, columns = range(2**32 - 5, 2**32 + 27), range(3, 500)
    found = {
        "rademacher": digest(
            signs(engine, streams.RADEMACHER, SEED, rows, columns, dtype).astype(np.int8)
        ),
        "sparse_sign": digest(*ops.sparse_sign_columns(SEED, 1000, 8, range(2**32 - 50, 2**32))),
        "hadamard_signs": digest(
            signs(engine, streams.HADAMARD_SIGNS, SEED, range(1), range(1000), dtype).astype(
                np.int8
            )
        ),
        "row_permutation": digest(ops.row_permutation(SEED, 10_000, 999)),
    }
    assert found == GOLDEN


# Signs ------------------------------------------------------------------------------------------


def test_signs_are_the_bits_of_their_words(engine, dtype):
    rows, columns = range(2**32 - 2, 2**32 + 2), range(120, 300)
    block = signs(engine, streams.RADEMACHER, SEED, rows, columns, dtype)
    for i in rows:
        for j in columns:
            w = word(streams.RADEMACHER, SEED, j // 128, i % 2**32, i >> 32)[j % 128 // 32]
            assert block[i - rows.start, j - columns.start] == 1 - 2 * (w >> j % 32 & 1)
    diagonal = Hadamard(5, 200, seed=SEED, dtype=dtype).signs
    for j in range(200):
        w = word(streams.HADAMARD_SIGNS, SEED, j // 128, 0, 0)[j % 128 // 32]
        assert diagonal[j] == 1 - 2 * (w >> j % 32 & 1)


def test_sign_tiles_agree(engine, dtype):
    def fill(seed, rows, columns, dtype):
        return signs(engine, streams.RADEMACHER, seed, rows, columns, dtype)

    rows, columns = range(7, 60), range(5, 9000)
    whole = fill(9, rows, columns, dtype)
    for tile in (
        (range(7, 8), range(5, 6)),
        (range(20, 33), range(127, 129)),
        (range(59, 60), range(8990, 9000)),
        (range(8, 9), range(6, 8999)),
        (range(30, 30), range(6, 9)),
        (range(30, 31), range(9, 9)),
    ):
        wanted = whole[tile[0].start - 7 : tile[0].stop - 7, tile[1].start - 5 : tile[1].stop - 5]
        assert_same_bits(fill(9, *tile, dtype), np.ascontiguousarray(wanted), str(tile))


def test_signs_are_fair(engine):
    block = signs(engine, streams.RADEMACHER, 1, range(300), range(1000), np.float64)
    assert set(np.unique(block)) == {-1, 1}
    assert abs(block.mean()) < 4 / np.sqrt(block.size)
    for axis in (0, 1):
        assert np.abs(block.mean(axis)).max() < 5 / np.sqrt(block.shape[axis])
    products = block @ block.T / 1000 - np.eye(300)
    assert np.abs(products).max() < 6 / np.sqrt(1000)


# Sparse columns ---------------------------------------------------------------------------------


def sparse_column(seed, m, count, j):
    """One column by its definition, in Python integers."""
    words = (
        w for t in range(10**6) for w in word(streams.SPARSE_SIGN, seed, t, j % 2**32, j >> 32)
    )
    signs = [next(words) for _ in range(-(-count // 32))]
    rows = set()
    for bound in range(m - count + 1, m + 1):
        while True:
            product = next(words) * bound
            if product % 2**32 >= 2**32 % bound:
                break
        drawn = product >> 32
        rows.add(bound - 1 if drawn in rows else drawn)
    return sorted(rows), [1 - 2 * (signs[k // 32] >> k % 32 & 1) for k in range(count)]


@pytest.mark.parametrize(
    "m, count", [(1, 1), (5, 5), (9, 3), (100, 40), (2**31 + 2**30 + 1, 9), (2**32, 3)]
)
def test_sparse_columns_are_floyd_draws(engine, m, count):
    """With 2^31 + 2^30 rows, every fourth word is rejected."""
    for columns in (range(20), range(2**32 - 3, 2**32 + 3)):
        rows, signs = engine.module.sparse_sign_columns(SEED, m, count, columns)
        assert rows.dtype == np.int64 and signs.dtype == np.int8
        assert rows.shape == signs.shape == (len(columns), count)
        for k, j in enumerate(columns):
            assert (rows[k].tolist(), signs[k].tolist()) == sparse_column(SEED, m, count, j)


def test_sparse_tiles_agree(engine):
    draw = engine.module.sparse_sign_columns
    rows, signs = draw(3, 77, 8, range(20_000))
    for part in (range(0, 1), range(8190, 8200), range(19_999, 20_000), range(5, 5)):
        for whole, tile in zip((rows, signs), draw(3, 77, 8, part), strict=True):
            assert_same_bits(tile, whole[part.start : part.stop], str(part))


def test_sparse_columns_are_uniform(engine):
    """Pairs of rows too: each of the C(6, 2) subsets is as likely as another."""
    rows, signs = engine.module.sparse_sign_columns(11, 6, 2, range(60_000))
    counts = np.bincount(rows[:, 0] * 6 + rows[:, 1], minlength=36)
    counts = counts[counts > 0]
    assert counts.size == 15
    assert ((counts - 4000) ** 2 / 4000).sum() < 36.1  # chi-squared, 14 degrees, p = 0.001
    assert np.abs(signs.mean(axis=0)).max() < 4 / np.sqrt(60_000)
    assert abs((signs[:, 0] * signs[:, 1]).mean()) < 4 / np.sqrt(60_000)


# Permutations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 64, 1001])
def test_permutations_sort_by_their_keys(engine, count):
    draw = engine.module.row_permutation
    keys = []
    for i in range(count):
        w = word(streams.ROW_PERMUTATION, SEED, i // 2, 0, 0)[2 * (i % 2) :]
        keys.append(w[0] << 32 | w[1])
    wanted = sorted(range(count), key=lambda i: (keys[i], i))
    for m in {0, 1, count // 2, count - 1, count}:
        found = draw(SEED, count, m)
        assert found.dtype == np.int64 and found.tolist() == wanted[:m]


def test_permutations_break_ties_by_index(monkeypatch):
    from homfast._backends import permutation

    zeros = np.zeros(1, np.uint64)
    monkeypatch.setattr(
        permutation, "philox4x32", lambda c, *_: (c % np.uint64(3), zeros, c * zeros, zeros)
    )
    keys = [i // 2 % 3 if i % 2 == 0 else 0 for i in range(50)]
    wanted = sorted(range(50), key=lambda i: (keys[i], i))
    for m in (1, 10, 26, 40, 50):
        assert permutation.row_permutation(0, 50, m).tolist() == wanted[:m]


def test_permutations_are_uniform(engine):
    first = [engine.module.row_permutation(seed, 10, 2) for seed in range(3000)]
    counts = np.zeros((10, 10))
    np.add.at(counts, tuple(np.transpose(first)), 1)
    assert not counts.diagonal().any()
    off = counts[~np.eye(10, dtype=bool)]
    assert ((off - 3000 / 90) ** 2 / (3000 / 90)).sum() < 135.9  # 89 degrees, p = 0.001
