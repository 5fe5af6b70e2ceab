"""Decoders of rank-one matrices, given and phase retrieval lifted to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays
from homfast.construct.approximators import random_feature_approximator
from homfast.construct.arguments import (
    check_memory,
    finite_matrix,
    nonzero_columns,
    real,
    whole,
)
from homfast.construct.certified import CertifiedNetwork, differences, pairs, rounded
from homfast.network import ReLUNetwork

_TESTED = 20_000  # rank-one matrices on which an error is measured
_ENOUGH = 512  # features from which on an error that did not fall will not
_ZERO = 1e-9  # singular values and eigenvalues, of the largest, that count as zero


class RankOneCertificate(NamedTuple):
    """What was measured.

    Attributes
    ----------
    relative_error : float
        Largest ``|F(A X) - X|_F / |X|_F`` over `points` rank-one matrices that were not fitted, F
        in its own dtype and ``A X`` rounded to it: rounding is counted. Measured, not proved.
    points : int
    features : int
        Random features; 0 for the linear method.
    method : str
        "linear": A determines all of the span of the matrices; exact but for rounding. "random
        features".
    """

    relative_error: float
    points: int
    features: int
    method: str


def low_rank_decoder(
    A: Any,
    shape: tuple[int, int],
    *,
    relative_error: float = 0.1,
    max_features: int = 2048,
    seed: int = 0,
) -> CertifiedNetwork:
    """A network of two hidden layers with ``F(A vec X)`` near vec X for X of rank one.

    Parameters
    ----------
    A : array or operator, shape (m, d1 d2)
        Acts on the rows of X, one after another.
    shape : (d1, d2)
    relative_error : float
        What is to be met, in the Frobenius norm, by the network as returned, rounding included.
    max_features : int
        Where the search gives up.
    seed : int

    Returns
    -------
    CertifiedNetwork
        From R^m to R^(d1 d2), dtype of A; the certificate is a `RankOneCertificate`.

    Raises
    ------
    ValueError
        A that maps two matrices of rank one to one, to rounding, where that is decided: a zero
        column, d1 or d2 at most 2, or all but one dimension seen. The error is not met: with
        `max_features`, or without falling up to 512 of them, or by rounding in the dtype of A; the
        message says which was, and the error reached.
    MemoryError
        Sizes at which the matrices that it is measured on would not fit 8 GiB.

    Notes
    -----
    Such networks exist by the general recovery theorem of Bamberger, Heckel, Krahmer, arXiv
    2308.02836; this fit is derived here. Below d1 d2 measurements no finite ReLU network is exact
    on all matrices of rank one. The width grows as a power of the dimension of the set: small sizes
    only.
    """
    matrix, dtype = finite_matrix(A)
    if not isinstance(shape, (tuple, list)) or len(shape) != 2:
        raise TypeError(f"shape: got {shape!r}, wanted two integers (d1, d2)")
    d1, d2 = (whole(d, f"shape[{i}]", 1) for i, d in enumerate(shape))
    if matrix.shape[1] != d1 * d2:
        raise ValueError(f"A: got shape {matrix.shape}, wanted (m, {d1 * d2}) to match {d1} x {d2}")

    nonzero_columns(matrix)

    def merges(unseen: int) -> bool:
        """Whether what A does not see has a matrix of rank two, a difference of two of rank one."""
        if min(d1, d2) <= 2:
            return True
        if unseen > 1:
            return False
        sizes = np.linalg.svd(np.linalg.svd(matrix)[2][-1].reshape(d1, d2), compute_uv=False)
        return bool(sizes[2] <= _ZERO * sizes[0])

    def draw(count: int, generator: np.random.Generator) -> np.ndarray:
        left, right = generator.standard_normal((count, d1)), generator.standard_normal((count, d2))
        return _unit(np.einsum("bi,bj->bij", left, right).reshape(count, d1 * d2))

    return _fit(matrix, dtype, draw, merges, d1 * d2, relative_error, max_features, seed)


def phase_retrieval_decoder(
    A: Any, *, relative_error: float = 0.1, max_features: int = 2048, seed: int = 0
) -> CertifiedNetwork:
    """A network of two hidden layers with ``F(|A x|^2)`` near ``x x^T`` for every real x.

    Parameters
    ----------
    A : array or operator, shape (m, d)
    relative_error, max_features, seed
        As in `low_rank_decoder`.

    Returns
    -------
    CertifiedNetwork
        From the squares ``<a_i, x>^2`` to the rows of ``x x^T``, shape (d^2,), dtype of A; the
        certificate is a `RankOneCertificate`. x up to its sign is ``sqrt(v)`` times the top
        eigenvector, of eigenvalue v.

    Raises
    ------
    ValueError
        A that maps x and y other than +-x to the same squares, where that is decided; and as
        `low_rank_decoder`.
    MemoryError
        Sizes at which the matrices that it is measured on would not fit 8 GiB.

    Notes
    -----
    As `low_rank_decoder`, for symmetric matrices: linear from ``d (d + 1) / 2`` generic
    measurements on; 2d - 1 determine x up to its sign.
    """
    matrix, dtype = finite_matrix(A)
    m, d = matrix.shape
    norms = nonzero_columns(matrix)
    rank = np.linalg.matrix_rank(matrix / norms)
    if rank < d:
        raise ValueError(
            f"A: got rank {rank} for {d} columns, wanted {d}: A vanishes on some x, which then "
            "leaves no trace"
        )
    lifted = np.einsum("mi,mj->mij", matrix, matrix).reshape(m, d * d)

    def merges(unseen: int) -> bool:
        """Whether what is not seen has x x^T - y y^T: one eigenvalue of each sign at most."""
        if d <= 2:
            return True
        if unseen > 1:
            return False
        i, j = np.triu_indices(d)
        columns = lifted[:, i * d + j] * np.where(i == j, 1.0, 2.0)
        kernel = np.zeros((d, d))
        kernel[i, j] = kernel[j, i] = np.linalg.svd(columns)[2][-1]
        values = np.linalg.eigvalsh(kernel)
        least = _ZERO * np.abs(values).max()
        return bool(values[-2] <= least and values[1] >= -least)

    def draw(count: int, generator: np.random.Generator) -> np.ndarray:
        x = generator.standard_normal((count, d))
        return _unit(np.einsum("bi,bj->bij", x, x).reshape(count, d * d))

    return _fit(lifted, dtype, draw, merges, d * (d + 1) // 2, relative_error, max_features, seed)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _fit(
    matrix: np.ndarray,
    dtype: np.dtype,
    draw: Callable[[int, np.random.Generator], np.ndarray],
    merges: Callable[[int], bool],
    span: int,
    relative_error: float,
    max_features: int,
    seed: int,
) -> CertifiedNetwork:
    wanted = real(relative_error, "relative_error", 0.0, strict=True)
    most = whole(max_features, "max_features", 1)
    generator = np.random.default_rng(_arrays.check_seed(seed))
    tests = f"{_TESTED} test matrices of {matrix.shape[1]} entries, and those to fit,"
    check_memory((_TESTED + 4 * span + 100) * sum(matrix.shape), "A", tests)
    tested = draw(_TESTED, generator)
    seen = tested @ matrix.T
    rank = int(np.linalg.matrix_rank(seen[: 4 * span + 100]))
    if rank == span:
        some = draw(4 * span + 100, generator)
        inverse = np.linalg.lstsq(some @ matrix.T, some, rcond=None)[0].T
        carry = pairs(differences(np.eye(len(matrix))))
        weights = [pairs(np.eye(len(matrix))), carry, differences(inverse)]
        net = CertifiedNetwork.build(weights, dtype, None)
        error = _measured(net, seen, tested)
        if not error <= wanted:
            raise ValueError(_rounding(wanted, "the linear decoder", error, dtype))
        net.certificate = RankOneCertificate(error, _TESTED, 0, "linear")
        return net
    if merges(span - rank):
        raise ValueError(
            f"A: sees {rank} of the {span} dimensions of these matrices to rounding, and the rest "
            "holds the difference of two of rank one, which no decoder tells apart; measure "
            f"{span} times, or otherwise"
        )
    features, first = min(64, most), 0.0
    while True:
        fitted = draw(6 * features + 1000, generator)
        found = random_feature_approximator(
            fitted @ matrix.T, fitted, features, ridge=1e-10, seed=int(generator.integers(1 << 32))
        )
        error = _measured(found, seen, tested)
        if error <= wanted:
            net = CertifiedNetwork.build(list(found.weights), dtype, None)
            error = _measured(net, seen, tested)
            if not error <= wanted:
                raise ValueError(_rounding(wanted, f"a fit of {features} features", error, dtype))
            net.certificate = RankOneCertificate(error, _TESTED, features, "random features")
            return net
        first = first or error
        still = features >= _ENOUGH and error > 0.9 * first
        if still or features == most:
            why = (
                f"which is not below the {first:.3g} of 64: A may take two to one"
                if still
                else ("raise max_features")
            )
            raise ValueError(
                f"relative_error: got {wanted}, but {features} features leave {error:.3g}, {why}; "
                f"or measure {span} times, where the decoder is linear"
            )
        features = min(2 * features, most)


def _measured(net: ReLUNetwork, seen: np.ndarray, tested: np.ndarray) -> float:
    """The largest error of the network itself, in its dtype, on measurements rounded to it."""
    (measurements,) = rounded([seen], net.dtype, "A", "measurement")
    return float(np.linalg.norm(net(measurements) - tested, axis=1).max())


def _rounding(wanted: float, decoder: str, error: float, dtype: np.dtype) -> str:
    wider = "" if dtype == np.float64 else "A of dtype float64, "
    return (
        f"relative_error: got {wanted}, but rounding in {dtype} makes {decoder} err by "
        f"{error:.3g}; wanted {wider}a larger relative_error, or a better conditioned A"
    )
