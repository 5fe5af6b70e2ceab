"""The kernel of Gaussian entries: the bits of the NumPy definition, on every target.

That the definition is Philox and Box-Muller is test_measure_philox.py's.
"""

from functools import cache

import numpy as np
import pytest
from oracles import assert_same_bits
from processes import output

import homfast
from homfast import _backends
from homfast._backends import reference
from homfast.measure import normal

SEED = 0x0123456789ABCDEF
BEYOND = 2**32 - 3  # rows on both sides of a word's end
# (row, column, rows, columns): the kernel takes 64 counters, 256 or 128 entries, at a time; a
# thread takes 2^14 entries, of one row if that is as long.
RAGGED = [(BEYOND, start, 7, width) for start in range(5) for width in range(12)]
RAGGED += [(2**40, 1, 3, width) for width in (63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 517)]
RAGGED += [(2**63 - 9, 2**33 - 61, 9, 61), (0, 0, 0, 5), (5, 7, 1, 1), (1, 3, 131, 1)]
LARGE = [
    (BEYOND, 5, 57, 1003),
    (7, 3, 1, 50_001),
    (2**40 + 1, 2**31 - 7, 5003, 11),
    (0, 0, 1000, 1000),
]


def stream(dtype):
    return normal.GAUSSIAN << 24 | normal.VERSION << 16 | dtype.itemsize


@cache
def wanted(seed, stream, row, column, shape, dtype):
    out = np.empty(shape, dtype)
    reference.gaussian_block(seed, stream, row, column, out)
    return out


def check(engine, seed, stream, block, dtype):
    """The block, in the middle of an array of which nothing else may change."""
    row, column, rows, columns = block
    around = np.full((rows + 2, columns + 3), 77, dtype)
    inside = around[1:-1, 1:-2]
    engine.module.gaussian_block(seed, stream, row, column, inside)
    case = f"{engine} {dtype} seed={seed:#x} {block} threads={homfast.get_num_threads()}"
    assert_same_bits(inside, wanted(seed, stream, row, column, (rows, columns), dtype), case)
    inside[...] = 77
    assert (around == 77).all(), f"{case}: written outside"


@pytest.mark.parametrize("seed", [0, SEED, 2**64 - 1])
def test_ragged_blocks(bit_engine, dtype, seed):
    for block in RAGGED:
        check(bit_engine, seed, stream(dtype), block, dtype)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("block", LARGE, ids=str)
def test_threads_and_tiles(bit_engine, dtype, block, threads):
    homfast.set_num_threads(threads)
    check(bit_engine, SEED, stream(dtype), block, dtype)


def test_streams(bit_engine, dtype):
    """The last word of the counter counts with all its bits."""
    for word in (0, 1, 2**31, 2**32 - 1):
        check(bit_engine, SEED, word, (3, 1, 5, 70), dtype)


def test_operators_ask_the_backend_in_use(engine, dtype, monkeypatch):
    calls = []

    def spy(*arguments):
        calls.append(arguments[:4])
        compute(*arguments)

    compute = engine.module.gaussian_block
    monkeypatch.setattr(_backends, "_automatic", engine.module)
    monkeypatch.setattr(engine.module, "gaussian_block", spy)
    entries = homfast.measure.Gaussian(70, 90, seed=SEED, dtype=dtype, normalize=False).to_dense()
    assert calls == [(SEED, stream(dtype), 0, 0)]
    assert_same_bits(entries, wanted(SEED, stream(dtype), 0, 0, (70, 90), dtype), str(engine))


def test_what_would_write_elsewhere_is_refused(native_engine):
    fill = native_engine.module.gaussian_block
    read_only = np.zeros((3, 4))
    read_only.flags.writeable = False
    misaligned = np.zeros(25, np.uint8)[1:].view(np.float64).reshape(1, 3)
    for out in (np.zeros((3, 8))[:, ::2], np.zeros(4), read_only, misaligned):
        before = out.copy()
        with pytest.raises(ValueError, match="out"):
            fill(0, 0, 0, 0, out)
        assert_same_bits(out, before, "written to")
    for arguments in (
        (0, 0, 0, 0, np.zeros((3, 4), np.int32)),
        (0, 0, 0, 0, [[0.0]]),
        (2**64, 0, 0, 0, np.zeros((3, 4))),
        (0, 2**32, 0, 0, np.zeros((3, 4))),
        (0, 0, -1, 0, np.zeros((3, 4))),
    ):
        with pytest.raises(TypeError):
            fill(*arguments)


LONG = """
import os, signal, threading, time
import numpy as np
import homfast
from homfast._backends import native
homfast.set_target({target!r})
homfast.set_num_threads({threads})
row = np.zeros(10_000)
out = np.lib.stride_tricks.as_strided(row, (1_000_000, row.size), (0, row.itemsize))
sent = []
def send():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
try:
    threading.Timer(0.2, send).start()
    native.gaussian_block(0, 0, 0, 0, out)
except KeyboardInterrupt:
    print("done" if time.monotonic() - sent[0] < 1 else "late")
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c(native_engine, threads):
    assert output(LONG.format(target=native_engine.target, threads=threads)) == "done"
