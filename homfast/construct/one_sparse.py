"""Exact recovery of one-sparse signals by two hidden layers, in closed form."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from homfast.construct.arguments import check_memory, finite_matrix, nonzero_columns
from homfast.construct.certified import CertifiedNetwork, differences, pairs

_PARALLEL = 1e-8  # sine of an angle below which rounding cannot tell two lines apart
_DOUBTFUL = 64  # margins below so many units of rounding may decode nothing
_BLOCK = 1024
_ROUNDS = 40


class OneSparseCertificate(NamedTuple):
    """What makes the decoder exact, and how far noise can move it.

    Attributes
    ----------
    margin : float
        Smallest ``1 - tau_j``; positive, so that ``F(t a_j) = t e_j``. Rounding errors are divided
        by it: entry j of ``F(t a_k)`` is wrong by up to about ``8 u |t| d_k / (d_j margin)``
        (measured), d the norms of the columns, u = 2^-24 in float32 and 2^-53 in float64.
    probes : int
        Rows of V, half the first hidden width.
    lipschitz : float
        ``|F(y) - F(z)|_inf <= lipschitz |y - z|_2`` for all y, z.
    """

    margin: float
    probes: int
    lipschitz: float


def one_sparse_decoder(A: Any) -> CertifiedNetwork:
    """The network of two hidden layers with ``F(t a_j) = t e_j`` for every column and real t.

    Parameters
    ----------
    A : array or operator, shape (m, n)
        No two columns parallel.

    Returns
    -------
    CertifiedNetwork
        Widths m, 2K, 2n, n, dtype of A; K = m where the signs of the columns tell them well apart,
        otherwise one probe more for each pair of columns of small angle. The certificate is an
        `OneSparseCertificate`.

    Raises
    ------
    ValueError
        A zero column, or two parallel ones, named: no decoder can tell them apart. In float32, two
        so near each other that the network, measured on the columns, errs by half of t.
    MemoryError
        n so large that the weights would not fit 8 GiB.

    Notes
    -----
    ``x_j = soft(<S_j, V y>, tau_j |V y|_1) / ((1 - tau_j) |V a_j|_1)``, with ``S = sign(V A)`` and
    ``tau_j = max_{k != j} |<S_j, V a_k>| / |V a_k|_1 < 1``. Derived here; one hidden layer errs by
    ``sqrt(1 - m/n)`` on the same signals (Corollary 2.1 of Bamberger, Heckel, Krahmer, arXiv
    2308.02836). A pair of columns at angle theta gets the probe perpendicular to their bisector:
    its margin is of order theta, where random probes give theta^2.

    Examples
    --------
    >>> import numpy as np
    >>> from homfast.construct import one_sparse_decoder
    >>> A = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    >>> net = one_sparse_decoder(A)
    >>> np.round(net(-3.0 * A.T), 12) + 0.0
    array([[-3.,  0.,  0.],
           [ 0., -3.,  0.],
           [ 0.,  0., -3.]])
    """
    matrix, dtype = finite_matrix(A)
    m, n = matrix.shape
    check_memory(2 * n * (2 * m + n), "A", f"the weights for {n} columns")
    units = matrix / nonzero_columns(matrix)
    _refuse_parallel(units)
    probes = np.eye(m)
    signs, tau, nearest = _separation(probes @ units)
    for _ in range(_ROUNDS):
        cosine = np.abs(np.einsum("ij,ij->j", units, units[:, nearest]))
        angle = np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0))
        # One probe that tells a pair apart adds about angle sqrt(m) / K to its margin.
        wanted = np.minimum(0.02, 0.25 * angle * np.sqrt(m) / len(probes))
        poor = np.flatnonzero(1.0 - tau < wanted)
        if n == 1 or len(poor) == 0:
            break
        probes = np.vstack([probes, _bisecting(units, poor, nearest[poor])])
        signs, tau, nearest = _separation(probes @ units)
    if tau.max() >= 1.0:
        j = int(tau.argmax())
        raise ValueError(_parallel(j, int(nearest[j])))

    images = probes @ matrix
    sizes = np.abs(images).sum(axis=0)
    with np.errstate(over="ignore", divide="ignore"):  # `build` says what is not finite
        gain = 1.0 / ((1.0 - tau) * sizes)
    ones = np.ones((1, 2 * len(probes)))
    inner = differences(signs.T)
    hidden = np.vstack([inner - tau[:, None] * ones, -inner - tau[:, None] * ones])
    # |V y|_1 has Lipschitz constant max over signs of |V^T s|, at most sqrt(K) |V|_2.
    slope = np.linalg.norm(probes.T @ signs, axis=0)
    slope += tau * np.sqrt(len(probes)) * np.linalg.norm(probes, 2)
    certificate = OneSparseCertificate(
        float(1.0 - tau.max()), len(probes), float((gain * slope).max())
    )
    weights = [pairs(probes), hidden, differences(np.diag(gain))]
    net = CertifiedNetwork.build(weights, dtype, certificate)
    unit = float(np.finfo(dtype).eps) / 2
    if certificate.margin < _DOUBTFUL * unit:
        error = _measured(net, matrix)
        if not error < 0.5:
            j, k = sorted((int(tau.argmax()), int(nearest[tau.argmax()])))
            raise ValueError(
                f"A: columns {j} and {k} are so near each other that rounding in {dtype} makes the "
                f"decoder err by {error:.2g} of the signal; pass float64, or drop or merge one"
            )
    return net


def _measured(net: CertifiedNetwork, matrix: np.ndarray) -> float:
    """The largest error at multiples of the columns, of which the first are exact."""
    worst = 0.0
    for t in (1.0, 1.0 / 3.0, -0.7):
        found = net((t * matrix.T).astype(net.dtype)).astype(np.float64) / t
        worst = max(worst, float(np.abs(found - np.eye(matrix.shape[1])).max()))
    return worst


def _separation(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signs S of V A, tau_j, and the column k at which tau_j is attained."""
    signs = np.sign(images)
    n = images.shape[1]
    tau, nearest = np.zeros(n), np.zeros(n, np.intp)
    sizes = np.abs(images).sum(axis=0)
    for start in range(0, n, _BLOCK):
        block = slice(start, min(start + _BLOCK, n))
        ratio = np.abs(signs[:, block].T @ images) / sizes
        ratio[np.arange(ratio.shape[0]), np.arange(block.start, block.stop)] = 0.0
        tau[block], nearest[block] = ratio.max(axis=1), ratio.argmax(axis=1)
    return signs, tau, nearest


def _bisecting(units: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Unit rows whose sign on columns `first` differs from that on +-columns `second`."""
    ordered = np.unique(np.sort(np.stack([first, second], axis=1), axis=1), axis=0)
    a, b = units[:, ordered[:, 0]], units[:, ordered[:, 1]]
    apart = a - np.sign(np.einsum("ij,ij->j", a, b)) * b
    return (apart / np.linalg.norm(apart, axis=0)).T


def _refuse_parallel(units: np.ndarray) -> None:
    n = units.shape[1]
    for start in range(0, n, _BLOCK):
        block = units[:, start : start + _BLOCK]
        cosine = block.T @ units
        cosine[np.arange(block.shape[1]), start + np.arange(block.shape[1])] = 0.0
        suspects = np.argwhere(np.abs(cosine) > 1.0 - 1e-12)
        for j, k in suspects:
            apart = block[:, j] - np.sign(cosine[j, k]) * units[:, k]
            if np.linalg.norm(apart) < _PARALLEL:
                raise ValueError(_parallel(start + int(j), int(k)))


def _parallel(j: int, k: int) -> str:
    j, k = min(j, k), max(j, k)
    return (
        f"A: columns {j} and {k} are parallel, so that one-sparse signals on them have the same "
        "measurements and no decoder tells them apart; drop or merge one"
    )
