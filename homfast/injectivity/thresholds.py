"""At which expansion m / n Gaussian layers become injective."""

from __future__ import annotations

import math
from typing import NamedTuple

from homfast._scipy import scipy_module
from homfast.construct.arguments import whole


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
    of n - 1 rows, of Wendel's probability that the others lie in a half-space.
    """
    m, n = whole(m, "m", 1), whole(n, "n", 1)
    if m < 2 * n:
        return 0.0
    k = m - n + 1
    fails = math.comb(m, n - 1) * sum(math.comb(k - 1, i) for i in range(n))
    return max(0.0, 1.0 - fails / 2 ** (k - 1))
