"""Measurement operators: seeded random matrices and given ones, with forward and adjoint on rows.

`homfast.measure.operator.Operator` says what each of them answers.
"""

from homfast.measure.dense import Dense
from homfast.measure.gaussian import Gaussian
from homfast.measure.operator import Operator

__all__ = ["Dense", "Gaussian", "Operator"]
