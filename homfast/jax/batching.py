"""The primitives under ``vmap``: more rows where weights are shared, else a call each.

Either way each call computes what it would alone, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive


def batch_rows(primitive: Primitive, operands: Any, dims: Any, **params: Any) -> Any:
    """x, *weights: the batch is a leading axis of x."""
    if any(d is not None for d in dims[1:]):
        return _each(primitive, operands, dims, params)
    x = jnp.moveaxis(operands[0], dims[0], 0)
    return _in_front(primitive, primitive.bind(x, *operands[1:], **params))


def batch_tangent(
    primitive: Primitive, compose: Callable[..., Any], operands: Any, dims: Any, **params: Any
) -> Any:
    """v, *weights, *masks, or with changes of weights."""
    layers = len(params["active"]) - 1
    if any(params["active"][1:]):
        return jax.vmap(lambda *o: compose(*o, **params), in_axes=tuple(dims))(*operands), 0
    if any(d is not None for d in dims[1 : 1 + layers]):
        return _each(primitive, operands, dims, params)
    size = _size(operands, dims)
    first, weights, masks = 0, slice(1, 1 + layers), range(1 + layers, len(operands))
    v = _to_front(operands[first], dims[first], size)
    bits = [_to_front(operands[i], dims[i], size) for i in masks]
    return primitive.bind(v, *operands[weights], *bits, **params), 0


def batch_backward(primitive: Primitive, operands: Any, dims: Any, **params: Any) -> Any:
    """grad_output, *weights, *masks, *inputs: gradients of weights are apart for the batch."""
    layers = params["layers"]
    if params["apart"] or any(d is not None for d in dims[1 : 1 + layers]):
        return _each(primitive, operands, dims, params)
    size = _size(operands, dims)
    rest = range(1 + layers, len(operands))
    grad_output = _to_front(operands[0], dims[0], size)
    kept = [_to_front(operands[i], dims[i], size) for i in rest]
    params = {**params, "apart": params["weights_needed"]}
    weights = operands[1 : 1 + layers]
    return _in_front(primitive, primitive.bind(grad_output, *weights, *kept, **params))


def _size(operands: Sequence[Any], dims: Sequence[Any]) -> int:
    return next(o.shape[d] for o, d in zip(operands, dims, strict=True) if d is not None)


def _to_front(operand: Any, dim: int | None, size: int) -> Any:
    if dim is None:
        return jnp.broadcast_to(operand, (size, *operand.shape))
    return jnp.moveaxis(operand, dim, 0)


def _in_front(primitive: Primitive, results: Any) -> tuple[Any, Any]:
    """Results, and that their batch comes first."""
    return results, [0] * len(results) if primitive.multiple_results else 0


def _each(primitive: Primitive, operands: Any, dims: Any, params: Any) -> tuple[Any, Any]:
    """One call for each of the batch, one after the other."""
    batched = [index for index, d in enumerate(dims) if d is not None]

    def one(entries: list[Any]) -> Any:
        merged = list(operands)
        for index, entry in zip(batched, entries, strict=True):
            merged[index] = entry
        return primitive.bind(*merged, **params)

    fronts = [jnp.moveaxis(operands[i], dims[i], 0) for i in batched]
    return _in_front(primitive, jax.lax.map(one, fronts))
