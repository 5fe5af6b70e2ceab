"""Deep linear networks with weight decay for linear inverse problems.

After Laus, Parkinson, Charisopoulos, Krahmer, Willett, arXiv 2502.15522: gradient descent with
weight decay finds a map that solves the problem and ignores what is off the range of the data. The
identities here are derived, not quoted.
"""

from homfast.linear_nets.descent import Descent, descend, initialize
from homfast.linear_nets.theory import (
    NoiseSplit,
    balancedness,
    mode_gains,
    noise_split,
    off_range_decay,
    oracle_map,
    range_projection,
)

__all__ = [
    "Descent",
    "NoiseSplit",
    "balancedness",
    "descend",
    "initialize",
    "mode_gains",
    "noise_split",
    "off_range_decay",
    "oracle_map",
    "range_projection",
]
