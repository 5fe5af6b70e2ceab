"""Orthogonal reduction of rows of many sizes to a triangle."""

from __future__ import annotations

import numpy as np


def triangular(rows: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R, an order of the columns and Q^T targets, with ``rows[:, order] = Q R``.

    By reflections, largest rows first, largest columns first: each row then counts to its own
    rounding, whatever the size of the others (Cox and Higham, Stability of Householder QR
    factorization for weighted least squares problems, 1998).
    """
    first = np.argsort(-np.abs(rows).max(axis=1), kind="stable")
    rows, targets = rows[first], targets[first]
    n = rows.shape[1]
    order = np.arange(n)
    for j in range(n):
        largest = j + int(np.argmax(np.linalg.norm(rows[j:, j:], axis=0)))
        rows[:, [j, largest]] = rows[:, [largest, j]]
        order[[j, largest]] = order[[largest, j]]
        mirror = rows[j:, j] / np.abs(rows[j:, j]).max()
        mirror[0] += np.copysign(np.linalg.norm(mirror), mirror[0])
        mirror /= np.linalg.norm(mirror)
        rows[j:] -= 2 * np.outer(mirror, mirror @ rows[j:])
        targets[j:] -= 2 * np.outer(mirror, mirror @ targets[j:])
    return np.triu(rows[:n]), order, targets[:n]
