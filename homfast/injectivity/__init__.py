"""Which ReLU layers are injective, how stably, and how to invert them.

Puthawala, Kothari, Lassas, Dokmanic, de Hoop, "Globally Injective ReLU Networks", JMLR 23(105),
2022 (arXiv 2006.08464), with one lemma corrected; what is derived here is marked so.
"""

from homfast.injectivity.convolution import injective_filters, is_injective_convolution
from homfast.injectivity.decision import Injectivity, is_injective
from homfast.injectivity.inversion import invert
from homfast.injectivity.stability import StabilityBounds, empirical_stability, stability_bounds
from homfast.injectivity.thresholds import (
    GaussianThresholds,
    gaussian_probability_bound,
    gaussian_thresholds,
)
from homfast.injectivity.weights import injective_network, make_injective, minimal_weight

__all__ = [
    "GaussianThresholds",
    "Injectivity",
    "StabilityBounds",
    "empirical_stability",
    "gaussian_probability_bound",
    "gaussian_thresholds",
    "injective_filters",
    "injective_network",
    "invert",
    "is_injective",
    "is_injective_convolution",
    "make_injective",
    "minimal_weight",
    "stability_bounds",
]
