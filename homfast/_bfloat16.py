"""bfloat16 arrays in and out of kernels that compute in float32.

The product of two bfloat16 numbers is exact in float32, so that a float32 kernel on widened
operands gives what a bfloat16 unit with float32 sums gives, up to the order of the sum; the result
is rounded once. Hidden activations stay float32 between the layers of a network.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from homfast import _arrays
from homfast._places import host


def check_precision(precision: str | None) -> None:
    """ValueError for a precision that bfloat16 arrays cannot have."""
    if precision not in (None, "medium"):
        raise ValueError(
            f"precision: got {precision!r} for bfloat16 arrays, whose products are 'medium'; "
            "pass None, or widen the arrays to float32"
        )


def widen(backend: Any, rows: Any, place: Any = host, out: Any = None) -> Any:
    """A matrix of BFLOAT16 in `out`, or a new one, of float32."""
    if out is None:
        out = place.empty(rows.shape, np.dtype(np.float32), rows)
    backend.widen_bfloat16(place.halves(rows), out)
    return out


def narrow(backend: Any, values: Any, out: Any = None, place: Any = host) -> Any:
    """A matrix of float32 rounded to one of BFLOAT16, in `out` or a new one."""
    if out is None:
        out = place.empty(values.shape, _arrays.BFLOAT16, values)
    backend.round_to_bfloat16(values, place.halves(out))
    return out


def public_dtype() -> np.dtype:
    """What users see: the dtype of ml_dtypes where that is installed, else our own."""
    try:
        import ml_dtypes
    except ImportError:
        return _arrays.BFLOAT16
    return np.dtype(ml_dtypes.bfloat16)
