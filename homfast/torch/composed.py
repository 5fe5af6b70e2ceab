"""The passes of `kernels` in PyTorch's own operations, for derivatives of derivatives.

Autograd, forward mode and ``torch.func`` differentiate these to any order. The units' bits are
data: almost everywhere a small change of x or of a weight changes none of them.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch.nn.functional import linear, pad

from homfast.torch.dispatch import differentiable

Tensor: TypeAlias = torch.Tensor


def pack(active: Tensor) -> Tensor:
    """Booleans (..., features) as bits, the first in the lowest."""
    features = active.shape[-1]
    whole = pad(active.to(torch.uint8), (0, -features % 8)).unflatten(-1, (-1, 8))
    return (whole << _places(active)).sum(-1, dtype=torch.uint8)


def unpack(mask: Tensor, features: int) -> Tensor:
    """Bits (..., ceil(features / 8)) as booleans (..., features)."""
    bits = (mask.unsqueeze(-1) >> _places(mask)) & 1
    return bits.flatten(-2)[..., :features].bool()


def select(values: Tensor, active: Tensor, slope: float) -> Tensor:
    """Values where `active`; +0.0, or slope times the value, elsewhere."""
    return torch.where(active, values, slope * values if slope else torch.zeros_like(values))


def keep(
    x: Tensor, weights: list[Tensor], slope: float, last_relu: bool
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """As `kernels.keep`."""
    outputs, masks = [], []
    for index, weight in enumerate(weights):
        x = linear(x, weight)
        if index + 1 < len(weights) or last_relu:
            active = ~(x <= 0)
            x = select(x, active, slope)
            masks.append(pack(active))
        outputs.append(x)
    return outputs[-1], outputs[:-1], masks


def tangent(v: Tensor, weights: list[Tensor], masks: list[Tensor], slope: float) -> Tensor:
    """As `kernels.tangent`."""
    return frozen(v, weights, masks, slope)[-1]


def frozen(x: Tensor, weights: list[Tensor], masks: list[Tensor], slope: float) -> list[Tensor]:
    """The outputs of all layers at x, the units' bits given."""
    outputs = []
    for index, weight in enumerate(weights):
        x = linear(x, weight)
        if index < len(masks):
            x = select(x, unpack(masks[index], weight.shape[0]), slope)
        outputs.append(x)
    return outputs


def inputs(
    x: Tensor, weights: list[Tensor], hidden: list[Tensor], masks: list[Tensor], slope: float
) -> list[Tensor]:
    """What each layer took, to be differentiated where somebody asks.

    Of the hidden outputs autograd keeps only values: then they are made again from x and weights.
    """
    if differentiable(x, *weights):
        return [x, *frozen(x, weights[:-1], masks, slope)]
    return [x, *(h.to(x.dtype) for h in hidden)]  # kept in float32 for bfloat16


def backward(
    grad_output: Tensor,
    weights: list[Tensor],
    inputs: list[Tensor],
    masks: list[Tensor],
    slope: float,
    input_needed: bool,
    weights_needed: bool,
    batch_axes: int = 0,
) -> list[Tensor]:
    """As `kernels.backward`; sums for weights leave the first `batch_axes` axes as they are."""
    grad, grad_weights = grad_output, []
    for index in reversed(range(len(weights))):
        if index < len(masks):
            grad = select(grad, unpack(masks[index], weights[index].shape[0]), slope)
        if weights_needed:
            grad_weights.append(_outer(grad, inputs[index], batch_axes))
        if index or input_needed:
            grad = grad @ weights[index]
    return ([grad] if input_needed else []) + grad_weights[::-1]


def _outer(grad: Tensor, x: Tensor, batch_axes: int) -> Tensor:
    rows = *grad.shape[:batch_axes], math.prod(grad.shape[batch_axes:-1])
    return grad.reshape(*rows, grad.shape[-1]).mT @ x.reshape(*rows, x.shape[-1])


def _places(like: Tensor) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=like.device)
