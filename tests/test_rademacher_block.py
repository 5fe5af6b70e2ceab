"""Entries +1 and -1 and their words: the bits of the NumPy definition, on every target."""

from functools import cache

import numpy as np
import pytest
from oracles import assert_same_bits

import homfast
from homfast._backends import reference
from homfast._backends.philox import philox4x32

SEED, STREAM = 0x0123456789ABCDEF, 2 << 24 | 1 << 16
BEYOND = 2**32 - 3  # rows on both sides of a word's end
# (row, column, rows, columns): a counter has 128 entries, the kernel takes 64 counters at a time, a
# thread 2^14 entries.
BLOCKS = [(BEYOND, start, 7, width) for start in (0, 1, 31, 127) for width in (0, 1, 2, 31, 33)]
BLOCKS += [(2**40, 5, 3, width) for width in (127, 128, 129, 255, 257, 1031)]
BLOCKS += [(2**63 - 9, 2**33 - 61, 9, 61), (5, 7, 1, 1), (1, 3, 131, 1), (3, 0, 0, 5)]
LARGE = [(BEYOND, 5, 57, 10_003), (7, 3, 1, 50_001), (2**40 + 1, 2**31 - 7, 5003, 11)]


@cache
def wanted(op, block, dtype):
    out = np.empty(block[2:], dtype)
    getattr(reference, op)(SEED, STREAM, *block[:2], out)
    return out


def check(engine, op, block, dtype):
    """The block, in the middle of an array of which nothing else may change."""
    row, column, rows, columns = block
    around = np.full((rows + 2, columns + 3), 77, dtype)
    inside = around[1:-1, 1:-2]
    getattr(engine.module, op)(SEED, STREAM, row, column, inside)
    case = f"{engine} {op} {dtype} {block}"
    assert_same_bits(inside, wanted(op, block, dtype), case)
    inside[...] = 77
    assert (around == 77).all(), f"{case}: written outside"


def test_definition():
    """A word of each counter by hand, from Philox alone."""
    entries, words = np.empty((1, 256)), np.empty((1, 8), np.uint32)
    reference.rademacher_block(SEED, STREAM, 2**32 + 6, 128, entries)
    reference.rademacher_words(SEED, STREAM, 2**32 + 6, 4, words)
    for block in (1, 2):
        made = philox4x32(block, 6, 1, STREAM, SEED & 0xFFFFFFFF, SEED >> 32)
        for w, word in enumerate(map(int, made)):
            assert words[0, 4 * (block - 1) + w] == word
            for bit in range(32):
                entry = entries[0, 128 * (block - 1) + 32 * w + bit]
                assert entry == (-1 if word >> bit & 1 else 1)


def test_ragged_blocks(native_engine, dtype):
    for block in BLOCKS:
        check(native_engine, "rademacher_block", block, dtype)
        check(native_engine, "rademacher_words", block, np.dtype(np.uint32))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("block", LARGE, ids=str)
def test_threads_and_tiles(native_engine, dtype, block, threads):
    homfast.set_num_threads(threads)
    check(native_engine, "rademacher_block", block, dtype)
    check(native_engine, "rademacher_words", block, np.dtype(np.uint32))


def test_what_would_write_elsewhere_is_refused(native_engine):
    module = native_engine.module
    read_only = np.zeros((3, 4))
    read_only.flags.writeable = False
    for out in (np.zeros((3, 8))[:, ::2], np.zeros(4), read_only):
        with pytest.raises(ValueError, match="out"):
            module.rademacher_block(0, 0, 0, 0, out)
    for out in (np.zeros((3, 4), np.int32), [[0.0]]):
        with pytest.raises(TypeError):
            module.rademacher_block(0, 0, 0, 0, out)
    with pytest.raises(TypeError):
        module.rademacher_words(0, 0, 0, 0, np.zeros((3, 4), np.int32))
