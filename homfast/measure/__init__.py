"""Measurement operators: seeded random matrices and given ones, with forward and adjoint on rows.

`Operator` says what each of them answers.
"""

from homfast.measure import solvers
from homfast.measure.algebra import VStack
from homfast.measure.circulant import Circulant
from homfast.measure.dense import Dense
from homfast.measure.entries import Entries
from homfast.measure.fourier import Cosine, Fourier
from homfast.measure.gaussian import Gaussian
from homfast.measure.hadamard import Hadamard, walsh_hadamard
from homfast.measure.kronecker import Kronecker
from homfast.measure.modulus import Intensity, Magnitude
from homfast.measure.operator import Operator
from homfast.measure.rademacher import Rademacher
from homfast.measure.rank_one import RankOne
from homfast.measure.seed_batch import SeedBatch
from homfast.measure.sparse_sign import SparseSign
from homfast.measure.views import RealInput

__all__ = [
    "Circulant",
    "Cosine",
    "Dense",
    "Entries",
    "Fourier",
    "Gaussian",
    "Hadamard",
    "Intensity",
    "Kronecker",
    "Magnitude",
    "Operator",
    "Rademacher",
    "RankOne",
    "RealInput",
    "SeedBatch",
    "SparseSign",
    "VStack",
    "solvers",
    "walsh_hadamard",
]
