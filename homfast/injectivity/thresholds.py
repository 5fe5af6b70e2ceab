"""At which expansion m / n Gaussian layers become injective."""

from __future__ import annotations

import math
from typing import NamedTuple

from homfast._scipy import scipy_module
from homfast.construct.arguments import whole

_EPS = 2.0**-52
_MOST = 2**50
_IN_INTEGERS = 2000


class GaussianThresholds(NamedTuple):
    """Ratios m / n as n grows.

    never : below it, not injective with probability tending to 1 (3.4028).
    always : above it, injective with probability tending to 1 (10.424, printed as 10.5).
    better : a smaller proved bound of that kind, 7.65.
    conjectured : where the transition is believed to be, 6.698.
    """

    never: float
    always: float
    better: float = 7.65
    conjectured: float = 6.698


def gaussian_thresholds() -> GaussianThresholds:
    """The asymptotic thresholds of injectivity of ``relu(W x)``, W Gaussian.

    Returns
    -------
    GaussianThresholds

    Notes
    -----
    Theorems 7 and 20 of Puthawala et al., arXiv 2006.08464: `never` is the root of
    ``erfc(1 / sqrt(2c)) / 2 = 1 / c``, `always` that of ``log2(c e) + (c - 1)(H(1/(c - 1)) - 1)``
    with the binary entropy H. The other two are from Maillard, Bandeira, Belius, Dokmanic,
    Nakajima, arXiv 2302.14112.
    """
    optimize = scipy_module("optimize", "gaussian_thresholds")

    def entropy(p: float) -> float:
        return -p * math.log2(p) - (1 - p) * math.log2(1 - p)

    never = optimize.brentq(lambda c: 0.5 * math.erfc(1 / math.sqrt(2 * c)) - 1 / c, 2.0, 6.0)
    always = optimize.brentq(
        lambda c: math.log2(c * math.e) + (c - 1) * (entropy(1 / (c - 1)) - 1), 5.0, 20.0
    )
    return GaussianThresholds(float(never), float(always))


def gaussian_probability_bound(m: int, n: int) -> float:
    """A lower bound of the probability that a Gaussian layer (m, n) is injective.

    Parameters
    ----------
    m, n : int

    Returns
    -------
    float
        ``max(0, 1 - C(m, n-1) 2^(1-k) sum_{i < n} C(k-1, i))`` with ``k = m - n + 1``; 0 for
        ``m < 2n``.

    Notes
    -----
    The union bound in the proof of Theorem 7 of Puthawala et al., arXiv 2006.08464, over the sets
    of n - 1 rows, of Wendel's probability that the others lie in a half-space. Up to m = 2000 in
    integers; beyond, in logarithms of factorials, and less by what their rounding may hide.
    """
    m, n = whole(m, "m", 1, _MOST), whole(n, "n", 1, _MOST)
    if m < 2 * n:
        return 0.0
    k = m - n + 1
    if n > 1 and 2 * (n - 1) >= k - 1:
        return 0.0  # the sum is at least half of 2^(k - 1), and C(m, n - 1) at least 2
    if m <= _IN_INTEGERS:
        fails = math.comb(m, n - 1) * sum(math.comb(k - 1, i) for i in range(n))
        return 1.0 - fails / 2 ** (k - 1) if fails < 2 ** (k - 1) else 0.0
    terms = [math.lgamma(m + 1), math.lgamma(k), -2 * math.lgamma(n)]
    terms += [-math.lgamma(m - n + 2), -math.lgamma(k - n + 1), (1 - k) * math.log(2)]
    rounding = 16 * _EPS * math.fsum(map(abs, terms))
    largest = math.fsum(terms) + rounding
    if largest >= 0:
        return 0.0
    term = total = 1.0  # C(k - 1, i) over that of i = n - 1, down from there
    for i in range(n - 1, 0, -1):
        term *= i / (k - i)
        total += term
        if term < _EPS * (1 - i / (k - i)):  # the rest, less than a geometric series
            break
    return math.nextafter(max(0.0, 1.0 - math.exp(largest) * total * (1 + 1e-9)), 0.0)
