"""The restricted isometry property, and the constants of stable recovery under it."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays
from homfast.construct.arguments import check_memory, finite_matrix, real, whole

_BLOCK = 1 << 14  # supports whose eigenvalues are computed at a time, at most
_ENTRIES = 1 << 22  # of their products, at a time
_OVERHEAD = 2000  # operations that each support costs beside s^3


class RobustConstants(NamedTuple):
    """Factors of the tail of the signal, C, and of the noise, D."""

    C: float
    D: float


class RestrictedIsometry(NamedTuple):
    """Bounds ``lower <= delta_s <= upper``, whether they are equal, and how they were found."""

    lower: float
    upper: float
    exact: bool
    method: str


def robust_constants(
    delta: float, *, relative_error: float = 0.0, norm: float | None = None
) -> RobustConstants:
    """Constants of ``|f(Ax + e) - x|_2 <= eta' |x|_2 + C sigma_s(x)_1 + D |e|_2``.

    Parameters
    ----------
    delta : float
        A has the (2s, delta) restricted isometry property, 0 <= delta < 1.
    relative_error : float
        eta' above: how far the network may be from the decoder that is exact on sparse signals.
    norm : float, optional
        ``|A|_2``, the largest singular value; required where `relative_error` is not 0.

    Returns
    -------
    RobustConstants
        ``C = 1 + sqrt(2 (1 + delta) / (1 - delta))``,
        ``D = sqrt(2 / (1 - delta)) + relative_error / norm``.

    Notes
    -----
    Bamberger, Heckel, Krahmer, arXiv 2308.02836, prove that a two-hidden-layer network with such
    constants exists. These values are derived here: the inverse of A on the sparse signals is
    extended by Kirszbraun's theorem on the sphere and homogeneously beyond, which multiplies its
    Lipschitz constant by sqrt(2). The same formula holds for matrices of rank r, with the property
    for rank 2r and the nuclear norm of the tail.
    """
    delta = real(delta, "delta", 0.0, 1.0)
    eta = real(relative_error, "relative_error", 0.0)
    extra = 0.0
    if eta > 0:
        if norm is None:
            raise ValueError("norm: got None, wanted |A|_2, as relative_error is not 0")
        extra = eta / real(norm, "norm", 0.0, strict=True)
    return RobustConstants(
        1.0 + math.sqrt(2.0 * (1.0 + delta) / (1.0 - delta)), math.sqrt(2.0 / (1.0 - delta)) + extra
    )


def restricted_isometry(
    A: Any,
    s: int,
    *,
    limit: int = 500_000,
    samples: int = 20_000,
    work: float = 2e9,
    seed: int = 0,
) -> RestrictedIsometry:
    """The constant delta_s of ``(1 - d)|x|^2 <= |Ax|^2 <= (1 + d)|x|^2`` for s-sparse x.

    Parameters
    ----------
    A : array or operator, shape (m, n)
    s : int
        Sparsity, 1 <= s <= n.
    limit : int
        Supports to enumerate at most; beyond it, bounds.
    samples : int
        Random supports for the bound from below, at most.
    work : float
        Operations to spend on supports, about ``s^3 + 2000`` each; the default is some seconds.
        Where enumeration would take more there are bounds; half of it goes to random supports,
        half to exchanges, at least one support to each.
    seed : int
        Of the random supports.

    Returns
    -------
    RestrictedIsometry
        ``(lower, upper, exact, method)``. Exact by column norms (s = 1), by the closed form of
        2 x 2 matrices (s = 2), by the spectrum (s = n), or by enumeration up to `limit` supports
        and within `work`; all but for rounding. Otherwise from above Gershgorin's discs (never
        worse than ``(s - 1) coherence`` for unit columns) or the whole spectrum, from below random
        supports, the best improved by exchanges; `method` says how many random ones there was time
        for.

    Raises
    ------
    MemoryError
        For s > 1, so many columns that their products would not fit 8 GiB.
    """
    matrix, _ = finite_matrix(A)
    n = matrix.shape[1]
    s = whole(s, "s", 1, n)
    limit, samples = whole(limit, "limit", 1), whole(samples, "samples", 1)
    affordable = real(work, "work", 0.0, strict=True) / (s**3 + _OVERHEAD)
    if s == 1:
        return _exact(np.abs((matrix**2).sum(axis=0) - 1.0).max(), "column norms")
    check_memory(4.0 * n * n, "A", f"the products of {n} columns", "wanted fewer columns, or s = 1")
    excess = matrix.T @ matrix - np.eye(n)
    if s == n:
        return _exact(_spectrum(matrix), "spectrum")
    if s == 2:
        return _exact(_largest_of_pairs(excess), "closed form of pairs")
    if math.comb(n, s) <= min(limit, affordable):
        supports = itertools.combinations(range(n), s)
        worst = 0.0
        while block := list(itertools.islice(supports, _at_a_time(s))):
            worst = max(worst, float(_deviations(excess, np.array(block)).max()))
        return _exact(worst, f"enumeration of {math.comb(n, s)} supports")
    sizes = np.abs(excess)
    diagonal = np.diagonal(sizes).copy()
    np.fill_diagonal(sizes, 0.0)
    discs = float((diagonal + np.sort(sizes, axis=1)[:, n - s + 1 :].sum(axis=1)).max())
    spectrum = _spectrum(matrix)
    generator = np.random.default_rng(_arrays.check_seed(seed))
    half = max(1, int(affordable / 2))
    drawn = min(samples, half)
    lower = max(_search(excess, s, drawn, half, generator), _largest_of_pairs(excess))
    above = "Gershgorin discs" if discs <= spectrum else "the whole spectrum"
    return RestrictedIsometry(
        lower, min(discs, spectrum), False, f"above {above}, below {drawn} random supports"
    )


def _exact(value: Any, method: str) -> RestrictedIsometry:
    return RestrictedIsometry(float(value), float(value), True, method)


def _spectrum(matrix: np.ndarray) -> float:
    """|A^T A - I|, from the smaller of A^T A and A A^T: a wide A vanishes on some x."""
    m, n = matrix.shape
    small = matrix @ matrix.T if m < n else matrix.T @ matrix
    deviation = float(np.abs(np.linalg.eigvalsh(small) - 1.0).max())
    return max(deviation, 1.0) if m < n else deviation


def _deviations(excess: np.ndarray, supports: np.ndarray) -> np.ndarray:
    """|A_S^T A_S - I| for each row S of `supports`."""
    blocks = excess[supports[:, :, None], supports[:, None, :]]
    return np.abs(np.linalg.eigvalsh(blocks)).max(axis=1)


def _largest_of_pairs(excess: np.ndarray) -> float:
    diagonal = np.diagonal(excess)
    middle = (diagonal[:, None] + diagonal) / 2
    radius = np.hypot((diagonal[:, None] - diagonal) / 2, excess)
    value = np.abs(middle) + radius
    np.fill_diagonal(value, 0.0)
    return float(value.max())


def _at_a_time(s: int) -> int:
    return max(1, min(_BLOCK, _ENTRIES // s**2))


def _search(
    excess: np.ndarray, s: int, samples: int, exchanges: int, generator: np.random.Generator
) -> float:
    """The largest deviation met: random supports, then one exchange at a time on the best."""
    n = len(excess)
    best, support = -1.0, np.arange(s)
    part = min(1024, _at_a_time(s))
    for start in range(0, samples, part):
        count = min(part, samples - start)
        drawn = np.argpartition(generator.random((count, n)), s - 1, axis=1)[:, :s]
        values = _deviations(excess, drawn)
        if values.max() > best:
            best, support = float(values.max()), drawn[int(values.argmax())]
    improved = True
    while improved:
        improved = False
        for place in range(s):
            others = np.setdiff1d(np.arange(n), support)[:exchanges]
            exchanges -= len(others)
            if len(others) == 0:
                return best
            for start in range(0, len(others), _at_a_time(s)):
                entering = others[start : start + _at_a_time(s)]
                tried = np.repeat(support[None], len(entering), axis=0)
                tried[:, place] = entering
                values = _deviations(excess, tried)
                if values.max() > best * (1 + 1e-12):
                    best, support = float(values.max()), tried[int(values.argmax())]
                    improved = True
    return best
