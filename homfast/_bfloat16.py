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

_SINGLE = np.dtype(np.float32)


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
        out = place.empty(rows.shape, _SINGLE, rows)
    backend.widen_bfloat16(place.halves(rows), out)
    return out


def narrow(backend: Any, values: Any, out: Any = None, place: Any = host) -> Any:
    """A matrix of float32 rounded to one of BFLOAT16, in `out` or a new one."""
    if out is None:
        out = place.empty(values.shape, _arrays.BFLOAT16, values)
    backend.round_to_bfloat16(values, place.halves(out))
    return out


def linear(
    backend: Any, place: Any, x: Any, weight: Any, relu: bool, slope: float, out: Any, mask: Any
) -> None:
    """`linear`, or `linear_relu` with `mask` or None, of matrices of BFLOAT16, into `out`."""
    x_bits, weight_bits, out_bits = map(place.halves, (x, weight, out))
    if backend.linear_bfloat16(x_bits, weight_bits, relu, slope, out_bits, mask):
        return
    x, weight = (widen(backend, array, place) for array in (x, weight))
    sums = place.empty(out.shape, _SINGLE, x)
    if relu:
        backend.linear_relu(x, weight, slope, sums, mask, "medium")
    else:
        backend.linear(x, weight, sums, "medium")
    narrow(backend, sums, out, place)


def backward(
    backend: Any,
    place: Any,
    grad: Any,
    x: Any,
    weight: Any,
    mask: Any,
    slope: float,
    grad_input: Any,
    grad_weight: Any,
) -> None:
    """`grad_input` of `weight` and `grad_weight` of `x`, each unless it is None."""
    grad_bits = place.halves(grad)
    bits = [a if a is None else place.halves(a) for a in (x, weight, grad_input, grad_weight)]
    if backend.linear_backward_bfloat16(grad_bits, *bits[:2], mask, slope, *bits[2:]):
        return
    grad = widen(backend, grad, place)
    if grad_input is not None:
        wide = widen(backend, weight, place)
        sums = place.empty(grad_input.shape, _SINGLE, grad)
        backend.grad_input(grad, wide, mask, slope, sums, "medium")
        narrow(backend, sums, grad_input, place)
    if grad_weight is not None:
        wide = widen(backend, x, place)
        sums = place.empty(grad_weight.shape, _SINGLE, grad)
        backend.grad_weight(grad, wide, mask, slope, sums, "medium")
        narrow(backend, sums, grad_weight, place)


def public_dtype() -> np.dtype:
    """What users see: the dtype of ml_dtypes where that is installed, else our own."""
    try:
        import ml_dtypes
    except ImportError:
        return _arrays.BFLOAT16
    return np.dtype(ml_dtypes.bfloat16)
