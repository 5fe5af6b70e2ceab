"""Homogeneous iterative soft thresholding: sparse recovery by networks of polynomial width."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays
from homfast.construct.arguments import (
    check_memory,
    finite,
    finite_matrix,
    nonzero_columns,
    real,
    whole,
)
from homfast.construct.certified import CertifiedNetwork, differences, pairs


class IstaCertificate(NamedTuple):
    """Constants of the error bound.

    Attributes
    ----------
    coherence : float
        mu, the largest ``|<a_i, a_j>|`` of two unit columns.
    rate : float
        ``mu (2s - 1) < 1``.
    factors : array of float64, shape (iterations + 1,)
        ``|D (x^k - x)|_1 <= factors[k] |y|_1`` for s-sparse x, D the norms of the columns, but for
        rounding: `factors` fall to 0, errors to up to ``8 n u |y|_1 / (1 - rate)`` (measured),
        u = 2^-24 in float32 and 2^-53 in float64, most of it off the support.
    column_norms : array of float64, shape (n,)
    """

    coherence: float
    rate: float
    factors: np.ndarray
    column_norms: np.ndarray

    def bound(self, y: Any) -> Any:
        """Bound of the last layer's error ``|D (F(y) - x)|_1`` for each row of `y`.

        But for rounding, as `factors`.
        """
        rows = _arrays.host_array(y, "y")
        return self.factors[-1] * np.abs(rows).sum(axis=-1, dtype=np.float64)


def homogeneous_ista(
    A: Any, sparsity: int, iterations: int, *, noise: float = 0.0
) -> CertifiedNetwork:
    """Sparse recovery by a bias-free network whose error falls geometrically with its depth.

    Parameters
    ----------
    A : array or operator, shape (m, n)
        Columns are scaled to norm one, and the result back.
    sparsity : int
        s, with ``mu (2s - 1) < 1`` for the coherence mu of the columns.
    iterations : int
        K >= 1; the network has K + 1 hidden layers, of widths 2m and then 2n + 2m (2n the last).
    noise : float
        nu with ``|A^T e|_inf <= nu |y|_1`` for unit columns and ``y = A x + e``.

    Returns
    -------
    CertifiedNetwork
        From y to x^K, dtype of A; the certificate is an `IstaCertificate`. Without noise the
        support of every iterate is within that of x, but for entries of the size of rounding.

    Raises
    ------
    ValueError
        Sparsity too large for the coherence; columns parallel to rounding in the dtype of A,
        named. The coherence counts with ``(2m + 8) u`` for its own rounding.
    MemoryError
        Weights that would not fit 8 GiB.

    Notes
    -----
    ``x^(k+1) = soft(x^k + A^T (y - A x^k), theta_k)`` with ``theta_k = mu b_k + nu |y|_1``,
    ``b_0 = s (1 + nu) |y|_1 / (1 - mu (s - 1))``,
    ``b_(k+1) = mu (2s - 1) b_k + 2 s nu |y|_1``: thresholds are multiples of ``|y|_1``, so the
    network is positively homogeneous. Derived here.
    """
    matrix, dtype = finite_matrix(A)
    m, n = matrix.shape
    norms = nonzero_columns(matrix)
    units = matrix / norms
    s = whole(sparsity, "sparsity", 1, n)
    steps = whole(iterations, "iterations", 1)
    check_memory(steps * 4 * (n + m) ** 2, "iterations", f"the weights of {steps} for {n} columns")
    nu = real(noise, "noise", 0.0)
    coherence, j, k = _coherence(units)
    rate = coherence * (2 * s - 1)
    # Computed from unit columns the cosine of parallel ones may fall short of 1.
    margin = (2 * m + 8) * float(np.finfo(dtype).eps) / 2
    largest = coherence + margin
    if largest * (2 * s - 1) >= 1.0:
        hint = "; they are parallel" if largest >= 1.0 else ""
        most = int(np.ceil((1.0 / largest + 1.0) / 2.0)) - 1
        raise ValueError(
            f"sparsity: got {s}, wanted mu (2s - 1) < 1, here s <= {most}, as the coherence mu is "
            f"{coherence:.4g}, that of columns {j} and {k}{hint}"
        )
    factors = [s * (1.0 + nu) / (1.0 - coherence * (s - 1))]
    for _ in range(steps):
        factors.append(rate * factors[-1] + 2 * s * nu)

    correct = np.eye(n) - units.T @ units
    np.fill_diagonal(correct, 0.0)
    weights = [pairs(np.eye(m))]
    for step in range(steps):
        theta = coherence * factors[step] + nu
        from_y = differences(units.T)
        blocks = [from_y] if step == 0 else [differences(correct), from_y]
        inner = np.hstack(blocks)
        threshold = np.zeros((n, inner.shape[1]))
        threshold[:, -2 * m :] = theta  # times y+ + y-, which is |y|_1
        rows = [inner - threshold, -inner - threshold]
        if step < steps - 1:
            carry = np.zeros((2 * m, inner.shape[1]))
            carry[:, -2 * m :] = np.eye(2 * m)
            rows.append(carry)
        weights.append(np.vstack(rows))
    weights.append(differences(np.diag(1.0 / norms)))
    certificate = IstaCertificate(coherence, rate, finite(np.array(factors), "factors"), norms)
    return CertifiedNetwork.build(weights, dtype, certificate)


def _coherence(units: np.ndarray) -> tuple[float, int, int]:
    """The largest absolute cosine of two columns, and which they are."""
    n = units.shape[1]
    if n == 1:
        return 0.0, 0, 0
    gram = np.abs(units.T @ units)
    np.fill_diagonal(gram, 0.0)
    j, k = divmod(int(gram.argmax()), n)
    return float(gram[j, k]), j, k
