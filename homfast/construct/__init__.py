"""Networks that the theory builds, with certificates: nothing here is trained.

Bamberger, Heckel, Krahmer, arXiv 2308.02836, and constructions derived here, each marked so.
"""

from homfast.construct.approximators import (
    random_feature_approximator,
    spike_approximator,
    two_layer_interpolant,
)
from homfast.construct.certified import CertifiedNetwork
from homfast.construct.homogenization import change_activation, homogenize, random_gauge
from homfast.construct.impossibility import one_hidden_layer_bound, one_hidden_layer_witness
from homfast.construct.isometry import restricted_isometry, robust_constants
from homfast.construct.ista import homogeneous_ista
from homfast.construct.one_sparse import one_sparse_decoder
from homfast.construct.rank_one import low_rank_decoder, phase_retrieval_decoder
from homfast.construct.two_sparse import two_sparse_decoder

__all__ = [
    "CertifiedNetwork",
    "change_activation",
    "homogeneous_ista",
    "homogenize",
    "low_rank_decoder",
    "one_hidden_layer_bound",
    "one_hidden_layer_witness",
    "one_sparse_decoder",
    "phase_retrieval_decoder",
    "random_feature_approximator",
    "random_gauge",
    "restricted_isometry",
    "robust_constants",
    "spike_approximator",
    "two_layer_interpolant",
    "two_sparse_decoder",
]
