"""The rank of the very numbers of a matrix, where a cut-off for rounding would be a guess."""

from __future__ import annotations

import numpy as np

# Below 2^31, so that a product of two residues fits an int64. No two matrices of practice have all
# their minors divisible by each of these; residues of too low a rank for one prime are put right by
# the others.
_PRIMES = (2147483629, 2147483587, 2147483563)
_MOST = 1 << 28  # operations; elimination takes about 10 s for them


def largest_rank(matrix: np.ndarray) -> int:
    """The exact rank of a float64 matrix, or its smaller side where that is too much work.

    Elimination modulo primes, which never finds more than the rank, and finds less only where all
    minors of its size are divisible by all three. Powers of two are units there, so that no size of
    entry is lost beside another.
    """
    m, n = matrix.shape
    full = min(m, n)
    if np.linalg.matrix_rank(matrix) == full or m * n * full > _MOST:
        return full
    mantissas, exponents = np.frexp(matrix if m <= n else matrix.T)
    integers = np.ldexp(mantissas, 53).astype(np.int64)
    powers, place = np.unique(exponents, return_inverse=True)
    found = 0
    for prime in _PRIMES:
        factors = np.array([pow(2, int(e), prime) for e in powers])[place].reshape(integers.shape)
        found = max(found, _rank_modulo(integers % prime * factors % prime, prime))
        if found == full:
            break
    return found


def _rank_modulo(rows: np.ndarray, prime: int) -> int:
    """The rank of residues, which it overwrites."""
    rank = 0
    for column in range(rows.shape[1]):
        below = np.flatnonzero(rows[rank:, column])
        if len(below) == 0:
            continue
        pivot = rank + int(below[0])
        rows[[rank, pivot]] = rows[[pivot, rank]]
        inverse = pow(int(rows[rank, column]), -1, prime)
        multiples = rows[rank + 1 :, column] * inverse % prime
        rows[rank + 1 :] = (rows[rank + 1 :] - multiples[:, None] * rows[rank] % prime) % prime
        rank += 1
        if rank == len(rows):
            break
    return rank
