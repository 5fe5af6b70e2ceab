"""The columns of random sparse sign matrices: the specification of the stream.

Column j has `nonzeros_per_column` entries +1 or -1 in distinct rows, a uniformly random subset of
range(m). Its words are w(0), w(1), ...: word ``t mod 4`` of ``philox4x32(counter=(t div 4, j mod
2^32, j div 2^32, stream), key=seed)`` is w(t). With s nonzeros a column:

Signs. The entry in the k-th smallest row has bit ``k mod 32``, least significant first, of
w(k div 32); a bit that is set means -1. That takes w(0) ... w(ceil(s / 32) - 1).

Rows. Floyd's algorithm (Bentley and Floyd, Comm. ACM 30, 1987) on the words that follow, in order:
for b = m - s + 1, ..., m draw r uniform on [0, b); take r, or b - 1 if r is taken already.
A draw is Lemire's (ACM Trans. Model. Comput. Simul. 29, 2019): of the next word w, p = w b; if
p mod 2^32 < 2^32 mod b, the word is rejected and the next one tried; else r = p div 2^32.
"""

from __future__ import annotations

import numpy as np

from homfast._backends.philox import philox4x32
from homfast._backends.streams import SPARSE_SIGN, stream_word

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_CHUNK = 1 << 13  # columns made at a time


def sparse_sign_columns(
    seed: int, m: int, nonzeros_per_column: int, columns: range
) -> tuple[np.ndarray, np.ndarray]:
    """Columns of the sparse sign operators of `seed` with `m` rows, before any scaling.

    Parameters
    ----------
    seed : int in [0, 2^64)
    m : int in [1, 2^32]
    nonzeros_per_column : int in [1, m]
    columns : range, of step 1, within [0, 2^63)

    Returns
    -------
    rows : int64 array, shape (len(columns), nonzeros_per_column)
        Distinct, ascending within a column.
    signs : int8 array of the same shape
        +1 and -1.
    """
    shape = len(columns), nonzeros_per_column
    rows, signs = np.empty(shape, np.int64), np.empty(shape, np.int8)
    for start in range(0, shape[0], _CHUNK):
        part = columns[start : start + _CHUNK]
        stop = start + len(part)
        words = _Words(seed, part, -(-nonzeros_per_column // 32) + nonzeros_per_column)
        signs[start:stop] = words.signs(nonzeros_per_column)
        rows[start:stop] = _floyd(words, m, nonzeros_per_column)
    return rows, signs


class _Words:
    """The words of some columns, and how many of them each column has used."""

    def __init__(self, seed: int, columns: range, expected: int):
        self._seed = seed
        self._column = np.arange(columns.start, columns.stop, dtype=np.uint64)[:, None]
        self._words = np.empty((len(columns), 0), np.uint64)
        self._extend(-(-expected // 4))
        self._next = np.zeros(len(columns), np.intp)

    def _extend(self, blocks: int) -> None:
        block = np.arange(blocks, dtype=np.uint64) + np.uint64(self._words.shape[1] // 4)
        low, high = self._column & _LOW, self._column >> _HALF
        key = self._seed & 0xFFFFFFFF, self._seed >> 32
        more = philox4x32(block, low, high, stream_word(SPARSE_SIGN), *key)
        flat = np.stack(more, axis=-1).reshape(len(self._column), -1)
        self._words = np.concatenate([self._words, flat], axis=1)

    def signs(self, count: int) -> np.ndarray:
        """The signs, which use up the first words."""
        used = -(-count // 32)
        octets = self._words[:, :used].astype("<u4").view(np.uint8)
        self._next += used
        bits = np.unpackbits(octets, axis=-1, count=count, bitorder="little")
        return 1 - 2 * bits.astype(np.int8)

    def below(self, bound: int) -> np.ndarray:
        """A uniform integer of [0, bound) for each column."""
        result = np.empty(len(self._column), np.int64)
        waiting = np.arange(len(self._column))
        least = np.uint64((1 << 32) % bound)
        while waiting.size:
            if self._next.max() >= self._words.shape[1]:
                self._extend(1)
            product = self._words[waiting, self._next[waiting]] * np.uint64(bound)
            self._next[waiting] += 1
            result[waiting] = product >> _HALF
            waiting = waiting[(product & _LOW) < least]
        return result


def _floyd(words: _Words, m: int, count: int) -> np.ndarray:
    rows = np.empty((len(words._column), count), np.int64)
    for k, bound in enumerate(range(m - count + 1, m + 1)):
        drawn = words.below(bound)
        taken = (rows[:, :k] == drawn[:, None]).any(axis=1)
        rows[:, k] = np.where(taken, bound - 1, drawn)
    return np.sort(rows, axis=1)
