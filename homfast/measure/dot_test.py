"""Whether a forward and an adjoint product belong together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from homfast import _arrays
from homfast.measure.normal import PROBE, normal_block


def check_adjoint(op: Any, rtol: float | None) -> bool:
    """True, or AssertionError; see ``Operator.dot_test``."""
    m, n = op.shape
    if rtol is None:
        rtol = 8 * float(np.finfo(op.dtype).eps) * float(np.sqrt(m + n))
    if not _arrays.check_real(rtol, "rtol") >= 0:
        raise ValueError(f"rtol: got {rtol}, wanted a number, at least 0")
    batch = op._batch_shape
    count = math.prod(batch)
    x = normal_block(PROBE, 0, range(count), range(n), op.input_dtype).reshape(*batch, n)
    y = normal_block(PROBE, 0, range(count, 2 * count), range(m), op.output_dtype)
    y = y.reshape(*batch, m)
    forward, adjoint = (_widen(z) for z in (op.forward(x), op.adjoint(y)))
    left, right = np.vdot(_widen(y), forward), np.vdot(adjoint, _widen(x))
    if op.input_dtype != op.output_dtype:  # linear over the reals only
        left, right = left.real, right.real
    allowed = rtol * float(np.linalg.norm(forward)) * float(np.linalg.norm(y))
    if not abs(left - right) <= allowed:  # NaN fails too
        raise AssertionError(
            f"dot_test: <Ax, y> = {left.item()!r} and <x, A^H y> = {right.item()!r} differ by "
            f"{abs(left - right):.3g}, wanted at most rtol |Ax| |y| = {allowed:.3g} in {op!r}"
        )
    return True


def _widen(values: np.ndarray) -> np.ndarray:
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)
