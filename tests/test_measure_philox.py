"""The random streams: known answers, addressing by coordinates, the normal distribution."""

import hashlib
import math

import numpy as np
import pytest
from oracles import assert_same_bits

from homfast._backends.normal import _pair_float32, _pairs_float64
from homfast._backends.philox import philox4x32
from homfast.measure import normal
from homfast.measure.normal import gaussian_block

# From the Random123 distribution, file kat_vectors: counter, key, words.
KNOWN_ANSWERS = [
    ("00000000 " * 4, "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 4, "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
# Frozen with version 1 of the stream. A change here is a new version, never a new golden value.
GOLDEN = {
    "float32": "fb76cd1d4f66cd48b74732ef9267daebca0c7f970e442746dd3af02c3366ebf2",
    "float64": "3595e29d521a025f0e7b8d9e159976acbabbc3f02b63bb2eab37c6ba566dc2ba",
}


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize("counter, key, wanted", KNOWN_ANSWERS, ids=["zeros", "ones", "pi"])
def test_philox_known_answers(counter, key, wanted):
    assert [int(w) for w in philox4x32(*words(counter), *words(key))] == words(wanted)


def test_philox_of_arrays_is_that_of_each_counter(rng):
    counters = rng.integers(0, 2**32, (4, 50), dtype=np.uint64)
    together = np.array(philox4x32(*counters, 12, 34))
    for i in range(50):
        alone = philox4x32(*(int(c) for c in counters[:, i]), 12, 34)
        assert [int(w) for w in alone] == together[:, i].tolist()


def test_golden_block(dtype):
    block = gaussian_block(0x0123456789ABCDEF, range(2**32 - 5, 2**32 + 59), range(3, 500), dtype)
    little = block.astype(dtype.newbyteorder("<"))
    assert hashlib.sha256(little.tobytes()).hexdigest() == GOLDEN[dtype.name]


def test_tiles_agree(dtype):
    """Any tile, whatever its edges, holds the same entries; also across chunks of the generator."""
    rows, columns = range(7, 60), range(5, 3000)
    whole = gaussian_block(9, rows, columns, dtype)
    for tile_rows, tile_columns in (
        (range(7, 8), range(5, 6)),
        (range(59, 60), range(2999, 3000)),
        (range(20, 33), range(1000, 1003)),
        (range(7, 60), range(2047, 2050)),
        (range(8, 9), range(6, 2999)),
        (range(30, 30), range(6, 9)),
        (range(30, 31), range(9, 9)),
    ):
        tile = gaussian_block(9, tile_rows, tile_columns, dtype)
        wanted = whole[
            tile_rows.start - 7 : tile_rows.stop - 7, tile_columns.start - 5 : tile_columns.stop - 5
        ]
        assert_same_bits(tile, np.ascontiguousarray(wanted), f"{tile_rows} {tile_columns}")


def test_coordinates_beyond_32_bits(dtype):
    """The words of a row and the seed both count; so does the last column there can be."""
    columns = range(2**33 - 3, 2**33)
    blocks = [
        gaussian_block(seed, range(row, row + 1), columns, dtype)
        for seed in (1, 1 + 2**32, 2**64 - 1)
        for row in (1, 1 + 2**32, 2**63 - 2)
    ]
    assert len({block.tobytes() for block in blocks}) == len(blocks)


def test_streams_and_dtypes_are_apart():
    same = range(64), range(64)
    gaussian = gaussian_block(5, *same, np.dtype(np.float32))
    double = gaussian_block(5, *same, np.dtype(np.float64))
    probe = normal.normal_block(normal.PROBE, 5, *same, np.dtype(np.float32))
    for other in (double, probe):
        correlation = np.corrcoef(gaussian.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 5 / 64


def exact_entry(seed, row, column, dtype):
    """The entry with libm in float64, from the words that the specification names."""
    width = 16 // dtype.itemsize
    stream = normal.GAUSSIAN << 24 | normal.VERSION << 16 | dtype.itemsize
    counter = (column // width, row % 2**32, row >> 32, stream)
    w = [int(v) for v in philox4x32(*counter, seed % 2**32, seed >> 32)]
    if dtype == np.float32:
        a, c = w[2 * (column % 4 // 2) :][:2]
        u = (a | 1) / 2**32
        angle = (c & ~3 | 2) / 2**32
        y = angle - 1 if angle >= 0.5 else angle
    else:
        a, c = w[0] << 32 | w[1], w[2] << 32 | w[3]
        u = ((a >> 12) + 0.5) / 2**52
        y = (c >> 12 | 1) / 2**52 - 0.5
    r = math.sqrt(-2 * math.log(u)) * (-1 if c & 2 else 1)
    first = column % 2 == 0
    return r * (math.cos if first != bool(c & 1) else math.sin)(math.pi / 2 * y)


def test_entries_are_box_muller_of_their_words(dtype):
    rows, columns = range(2**32 - 20, 2**32 + 20), range(1, 60)
    seed = 0xFEDCBA9876543210
    block = gaussian_block(seed, rows, columns, dtype)
    exact = np.array([[exact_entry(seed, i, j, dtype) for j in columns] for i in rows])
    tolerance = 6e-7 if dtype == np.float32 else 4e-15
    np.testing.assert_allclose(block, exact, rtol=tolerance)


def test_extreme_words():
    """Finite, never 0, and right where the logarithm vanishes or is largest."""
    edges = [0, 1, 2, 3, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1, 0xB504F333]
    near = np.array([(e + d) % 2**32 for e in edges for d in range(-40, 41)], np.uint32)
    a, c = (v.ravel() for v in np.meshgrid(near, near))
    z0, z1 = _pair_float32(a, c)
    radius = np.hypot(z0.astype(np.float64), z1.astype(np.float64))
    u1 = (a | np.uint32(1)).astype(np.float64) / 2**32
    exact = np.sqrt(-2 * np.where(u1 > 0.5, np.log1p(u1 - 1), np.log(u1)))
    np.testing.assert_allclose(radius, exact, rtol=6e-7)
    assert np.abs([z0, z1]).min() > 0
    assert radius.max() < 6.67
    most = np.array([0, 2**32 - 1], np.uint64)
    high, low = (v.ravel() for v in np.meshgrid(most, most))
    for first in range(4):
        entries = np.array(_pairs_float64(high, low, high[first], low[first]))
        assert np.isfinite(entries).all() and np.abs(entries).min() > 0
        assert np.abs(entries).max() < 8.58


@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_distribution_is_standard_normal(dtype, seed):
    """A million entries: Kolmogorov-Smirnov, four moments, tails; 5 standard deviations each."""
    stats = pytest.importorskip("scipy.stats")
    z = gaussian_block(seed, range(1000), range(1000), dtype).astype(np.float64)
    flat = z.ravel()
    assert stats.kstest(flat, "norm").pvalue > 1e-4
    assert stats.kstest(flat**2, "chi2", args=(1,)).pvalue > 1e-4
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((flat**power).mean() - moment) < 5 * math.sqrt(variance / flat.size), power
    for tail in (3.0, 4.0, 4.5):
        for side in (flat > tail, flat < -tail):
            expected = flat.size * stats.norm.sf(tail)
            assert abs(side.sum() - expected) < 5 * math.sqrt(expected) + 1, tail
    # Neighbours in a row, in a column, and the two that share a pair of words.
    for left, right in ((z[:, :-1], z[:, 1:]), (z[:-1], z[1:]), (z[:, 0::2], z[:, 1::2])):
        assert abs((left * right).mean()) < 5 / math.sqrt(left.size)
        assert abs((left**2 * right**2).mean() - 1) < 5 * math.sqrt(8 / left.size)
