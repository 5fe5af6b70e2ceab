"""The passes of `kernels` in JAX's own operations, for derivatives of derivatives.

JAX differentiates these to any order. The units' bits are data: almost everywhere a small change of
x or of a weight changes none of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

Array = jax.Array
_product = functools.partial(jnp.matmul, precision="highest")


def unpack(mask: Array, features: int) -> Array:
    """Bits (..., ceil(features / 8)) as booleans (..., features)."""
    if not mask.size:  # of which jnp.unpackbits divides by 0
        return jnp.zeros((*mask.shape[:-1], features), bool)
    return jnp.unpackbits(mask, axis=-1, count=features, bitorder="little").astype(bool)


def select(values: Array, active: Array, slope: float) -> Array:
    """Values where `active`; +0.0, or slope times the value, elsewhere."""
    return jnp.where(active, values, slope * values if slope else jnp.zeros_like(values))


def _masked(values: Array, masks: Sequence[Array], index: int, slope: float) -> Array:
    if index >= len(masks):
        return values
    return select(values, unpack(masks[index], values.shape[-1]), slope)


def frozen(x: Array, weights: Sequence[Array], masks: Sequence[Array], slope: float) -> list[Array]:
    """The outputs of all layers at x, the units' bits given."""
    outputs: list[Array] = []
    for index, weight in enumerate(weights):
        x = _masked(_product(x, weight.T), masks, index, slope)
        outputs.append(x)
    return outputs


def push(
    v: Array | None,
    changes: Sequence[Array | None],
    weights: Sequence[Array],
    masks: Sequence[Array],
    inputs: Sequence[Array],
    slope: float,
) -> Array:
    """The change of the network along `v` in x and `changes` in the weights, None for no change.

    `inputs` are those of the layers; they are read where a weight changes.
    """
    for index, (weight, change) in enumerate(zip(weights, changes, strict=True)):
        parts = [] if v is None else [_product(v, weight.T)]
        if change is not None:
            parts.append(_product(inputs[index], change.T))
        v = _masked(functools.reduce(jnp.add, parts), masks, index, slope) if parts else None
    assert v is not None, "a push along nothing"
    return v


def pull(
    grad_output: Array,
    weights: Sequence[Array],
    masks: Sequence[Array],
    inputs: Sequence[Array],
    slope: float,
    input_needed: bool,
    weights_needed: bool,
    apart: bool,
) -> list[Array]:
    """Gradients of x, if needed, and of all weights, if needed.

    Those of weights are summed over all rows, or `apart` for each entry of the first axis.
    """
    grad, grad_weights = grad_output, []
    for index in reversed(range(len(weights))):
        grad = _masked(grad, masks, index, slope)
        if weights_needed:
            grad_weights.append(_outer(grad, inputs[index], apart))
        if index or input_needed:
            grad = _product(grad, weights[index])
    return ([grad] if input_needed else []) + grad_weights[::-1]


def _outer(grad: Array, x: Array, apart: bool) -> Array:
    if apart:
        return jax.vmap(lambda g, v: _outer(g, v, False))(grad, x)
    rows = math.prod(grad.shape[:-1])
    return _product(grad.reshape(rows, grad.shape[-1]).T, x.reshape(rows, x.shape[-1]))
