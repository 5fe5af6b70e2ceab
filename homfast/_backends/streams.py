"""The table of random streams: which word of a counter tells one class of entries from another.

Counters of Philox4x32-10 are (block, low half, high half, stream) with the 64-bit seed as the key,
low word first. The halves are those of the row, or of the column where a draw belongs to a column;
the block numbers what one counter gives along the other axis. ``stream`` is ``class << 24 |
version << 16 | itemsize``; itemsize is that of a real entry where the entries differ by dtype, and
0 where they do not.
"""

from __future__ import annotations

PROBE = 0  # the random vectors of norm, dot_test and the solvers
GAUSSIAN = 1
COMPLEX_GAUSSIAN = 2  # columns 2j and 2j + 1 are the real and the imaginary part of column j
RADEMACHER = 3
SPARSE_SIGN = 4
HADAMARD_SIGNS = 5
ROW_PERMUTATION = 6  # of Hadamard, Cosine, Fourier and Circulant
CIRCULANT = 7
COMPLEX_CIRCULANT = 8
RANK_ONE_LEFT = 9  # and both factors where they are one
RANK_ONE_RIGHT = 10

VERSION = 1  # of every stream here; a change of one bit anywhere needs a new one


def stream_word(kind: int, itemsize: int = 0) -> int:
    """The last word of the counters of a class."""
    return kind << 24 | VERSION << 16 | itemsize
