"""Recovery of two-sparse signals to any precision by two hidden layers, with a certificate."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from homfast import _arrays
from homfast.construct.arguments import check_memory, finite_matrix, nonzero_columns, real
from homfast.construct.certified import CertifiedNetwork, differences, pairs
from homfast.construct.support_gauge import Gauge, fit_gauge

_DEPENDENT = 1e-9  # smallest singular value of four unit columns that counts as independent
_ROUNDING = 30.0  # see `TwoSparseCertificate.error_bound`
_TESTED = 512  # signals on which rounding that may be fatal is measured
_BLOCK = 1 << 14


class TwoSparseCertificate(NamedTuple):
    """What was checked at all kink rays of all support functions q_T.

    Attributes
    ----------
    kappa : float
        ``q_T(A x) >= kappa |x|_1`` for two-sparse x off T, for every T, with columns scaled to
        norm one; positive.
    sharpness_needed : float
        From this sharpness on ``F(A x)`` vanishes off the support of every two-sparse x.
    error_bound : float
        ``|F_i(A x) - x_i| <= error_bound |x_i|`` for every two-sparse x, but for rounding, which
        adds to ``d_i |F_i - x_i|`` up to about ``30 u M sharpness_needed`` of the largest
        ``d_j |x_j|`` (measured), d the norms of the columns, u = 2^-24 in float32 and 2^-53 in
        float64; infinite where the sharpness is below `sharpness_needed`. Where A has full column
        rank all of it is rounding: ``|F_i(A x) - x_i| <= error_bound max_j |x_j|``, proved, for
        ``A x`` computed in the dtype of A; about the condition number of A times u.
    rays : int
        Kink rays checked.
    """

    kappa: float
    sharpness_needed: float
    error_bound: float
    rays: int

    @property
    def holds(self) -> bool:
        """Whether every q_T is positive at every kink ray."""
        return self.kappa > 0


def two_sparse_decoder(A: Any, sharpness: float, *, seed: int = 0) -> CertifiedNetwork:
    """A network of two hidden layers with ``F(A x)`` near x for every two-sparse x.

    Parameters
    ----------
    A : array or operator, shape (m, n), m >= 4
        Any four columns independent.
    sharpness : float
        M >= 1: the error is of order n / M, and so is the inverse of what noise it bears. float32
        rounds at M 1e-6 to M 1e-4 of the largest entry, float64 at M 1e-15 to M 1e-13, the more
        the worse A is: see `TwoSparseCertificate.error_bound`. In float32 M beyond 1e3 is rarely of
        use.
    seed : int
        Of the directions tried.

    Returns
    -------
    CertifiedNetwork
        dtype of A; hidden widths of order n^3 and 2 n^2. The certificate is a
        `TwoSparseCertificate`: positive at all kink rays, which is exact, not sampled.

    Raises
    ------
    ValueError
        Dependent columns, named; m < 4 (unless A has full column rank); full column rank, but so
        near dependent columns that rounding in the dtype of A may err by as much as x; no positive
        support function within the budget of directions, naming the support; or a sharpness at
        which rounding, measured, errs by half of x.
    MemoryError
        n so large that the hidden layers would not fit 8 GiB.

    Notes
    -----
    ``F_i = sum_{T contains i} c_|T| soft((A_T^+ y)_i, M q_T(y))`` over ``|T| <= 2``, c_2 = 1 and
    c_1 = 2 - n: inclusion and exclusion leave the right support. q_T vanishes on the span of A_T
    and is 1 at the other columns. Derived here; that such networks exist, stable ones, is the
    two-layer theorem of Bamberger, Heckel, Krahmer, arXiv 2308.02836.
    """
    matrix, dtype = finite_matrix(A)
    sharpness = real(sharpness, "sharpness", 1.0)
    m, n = matrix.shape
    norms = nonzero_columns(matrix)
    if np.linalg.matrix_rank(matrix / norms) == n:
        return _linear(matrix, norms, dtype)
    if m < 4:
        raise ValueError(
            f"A: got shape {matrix.shape}, wanted m >= 4 rows, or full column rank: two two-sparse "
            "signals differ by a four-sparse one, which fewer rows do not see"
        )
    units = matrix / norms
    _refuse_dependent(units)
    generator = np.random.default_rng(_arrays.check_seed(seed))
    supports: list[tuple[int, ...]] = [(i,) for i in range(n)]
    supports += itertools.combinations(range(n), 2)
    parts = [_support_part(units, support, generator) for support in supports]
    weights = _assemble(units, norms, sharpness, supports, parts)
    gauges = [gauge for _, gauge, _ in parts]
    largest = max(float(np.abs(forms).max(initial=0.0)) for _, _, forms in parts)
    needed = max(max(g.sharpness_needed for g in gauges), largest)
    bound = math.inf
    if sharpness > needed:
        bound = 2 * (n - 2) * largest / (sharpness - largest)
    certificate = TwoSparseCertificate(
        min(g.kappa for g in gauges), needed, bound, sum(g.rays for g in gauges)
    )
    net = CertifiedNetwork.build(weights, dtype, certificate, "A, sharpness")
    rounding = _ROUNDING * float(np.finfo(dtype).eps) / 2 * sharpness * needed
    if bound < math.inf and rounding > 0.5:
        error = _measured(net, matrix, norms, generator) - bound
        if not error < 0.5:
            wider = "" if dtype == np.float64 else ", or float64"
            raise ValueError(
                f"sharpness: got {sharpness:g}, at which rounding in {dtype} makes the network err "
                f"by {error:.2g} times the signal; wanted {0.5 * sharpness / rounding:.2g} or less"
                f"{wider}"
            )
    return net


def _linear(matrix: np.ndarray, norms: np.ndarray, dtype: np.dtype) -> CertifiedNetwork:
    """With full column rank the pseudo-inverse recovers every signal, but for rounding."""
    m, n = matrix.shape
    inverse = np.linalg.pinv(matrix / norms, rcond=0.0) / norms[:, None]
    carry = pairs(differences(np.eye(m)))
    net = CertifiedNetwork.build([pairs(np.eye(m)), carry, differences(inverse)], dtype, None)
    # P as the network has it: |P A - 1| |x|, with what float64 loses in saying so, and the rounding
    # of A x and of P (A x), of two and of m terms.
    kept = net.weights[-1][:, :m].astype(np.float64)
    unit, double = (float(np.finfo(t).eps) / 2 for t in (dtype, np.float64))
    load = np.abs(kept) @ np.abs(matrix)
    errors = np.abs(kept @ matrix - np.eye(n)) + ((m + 4) * unit + (m + 4) * double) * load
    bound = float(np.sort(errors, axis=1)[:, -2:].sum(axis=1).max())
    if not bound < 1.0:
        wider = "" if dtype == np.float64 else "pass float64, "
        raise ValueError(
            f"A: columns are so near dependent (condition number "
            f"{np.linalg.cond(matrix / norms):.2g} of the unit columns) that rounding in {dtype} "
            f"may err by {bound:.2g} of the signal; {wider}drop a column, or measure more"
        )
    net.certificate = TwoSparseCertificate(math.inf, 0.0, bound, 0)
    return net


def _measured(
    net: CertifiedNetwork, matrix: np.ndarray, norms: np.ndarray, generator: np.random.Generator
) -> float:
    """The largest error at some two-sparse signals, for columns of norm one."""
    n = len(norms)
    order = generator.random((_TESTED, n)).argsort(axis=1)
    x, every = np.zeros((_TESTED, n)), np.arange(_TESTED)
    x[every, order[:, 0]] = 1.0
    x[every, order[:, 1]] = generator.uniform(-1.0, 1.0, _TESTED)
    found = net((x / norms @ matrix.T).astype(net.dtype)) * norms
    return float(np.abs(found - x).max())


def _support_part(
    units: np.ndarray, support: tuple[int, ...], generator: np.random.Generator
) -> tuple[np.ndarray, Gauge, np.ndarray]:
    """A_T^+, q_T in coordinates of R^m, and A_T^+ of the other columns."""
    columns = units[:, list(support)]
    inverse = np.linalg.pinv(columns)
    complement = np.linalg.qr(columns, mode="complete")[0][:, len(support) :]
    others = np.delete(units, list(support), axis=1)
    forms = (inverse @ others).T
    gauge = fit_gauge(others.T @ complement, forms, generator)
    if gauge is None:
        raise ValueError(
            f"A: found no positive support function for columns {support} within the budget of "
            "directions; columns are nearly dependent there: try another seed, or drop one"
        )
    return inverse, gauge._replace(directions=gauge.directions @ complement.T), forms


def _assemble(
    units: np.ndarray,
    norms: np.ndarray,
    sharpness: float,
    supports: list[tuple[int, ...]],
    parts: list[tuple[np.ndarray, Gauge, np.ndarray]],
) -> list[np.ndarray]:
    """For unit columns; y comes first in the first layer, then each q_T's directions."""
    m, n = units.shape
    first = np.vstack([np.eye(m)] + [gauge.directions for _, gauge, _ in parts])
    inner = np.zeros((n + n * (n - 1), len(first)))
    gate = np.zeros_like(inner)
    last = np.zeros((n, len(inner)))
    row, column = 0, m
    for support, (inverse, gauge, _) in zip(supports, parts, strict=True):
        block = slice(column, column + len(gauge.coefficients))
        for i, entry in enumerate(support):
            inner[row, :m] = inverse[i]
            with np.errstate(over="ignore"):  # `build` says what is not finite
                gate[row, block] = sharpness * gauge.coefficients
            last[entry, row] = (1.0 if len(support) == 2 else 2.0 - n) / norms[entry]
            row += 1
        column = block.stop
    # Units relu(t - M q) and relu(-t - M q); |v| = relu(v) + relu(-v).
    second = np.vstack(
        [np.hstack([inner - gate, -inner - gate]), np.hstack([-inner - gate, inner - gate])]
    )
    return [pairs(first), second, differences(last)]


def _refuse_dependent(units: np.ndarray) -> None:
    """ValueError that names four dependent columns, or fewer; MemoryError for too many."""
    n = units.shape[1]
    width = 3 * n * (n * (n + 1) // 2)
    check_memory(
        2 * width * 2 * n * n,
        "A",
        f"hidden layers of about {2 * width} and {2 * n * n} units for {n} columns",
        "see homogeneous_ista for networks of polynomial width",
    )
    taken = min(4, n)
    subsets = itertools.combinations(range(n), taken)
    while rows := list(itertools.islice(subsets, _BLOCK)):
        block = np.array(rows)
        smallest = np.linalg.svd(units.T[block], compute_uv=False)[:, -1]
        worst = int(smallest.argmin())
        if smallest[worst] < _DEPENDENT:
            relation = np.linalg.svd(units[:, block[worst]])[2][-1]
            names = ", ".join(str(i) for i in block[worst][np.abs(relation) > 1e-6])
            raise ValueError(
                f"A: columns {names} are dependent (smallest singular value "
                f"{smallest[worst]:.2g} of the unit columns), so that two two-sparse signals on "
                "them have the same measurements"
            )
