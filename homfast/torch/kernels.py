"""The four passes of a network on tensors, computed by a homfast backend where the tensors are.

Weights are read where they lie, in every call: nothing is kept from one call to the next, so that
nothing can be stale, whoever writes to a weight, and however. On the CPU fewer than 16 rows go a
layer at a time through `homfast.linear_relu`, which packs nothing; from 16 on, and on a device, the
network is packed in the call, and runs as one. What differs is in `homfast.torch.places`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch

from homfast import _arrays, _backends, layers
from homfast._backends.device_library import dtype_of
from homfast.torch import checks, short_way
from homfast.torch.places import place_of

Tensor: TypeAlias = torch.Tensor
PLAIN_DTYPES = (torch.float32, torch.float64)  # bfloat16 is widened first


def forward(
    x: Tensor, weights: list[Tensor], slope: float, last_relu: bool, precision: str
) -> Tensor:
    """The network at the rows of x."""
    short = short_way.forward(x, weights, slope, last_relu, precision)
    if short is not None:
        return short
    at = place_of(x)
    if x.dtype is torch.bfloat16:
        checks.check_network(x, weights)
        single = forward(x.float(), _wide(weights), slope, last_relu, precision)
        return single.to(torch.bfloat16)
    if at.is_short(x):
        try:
            return at.tensor(_forward_by_layer(at, x, weights, slope, last_relu, precision))
        except (BufferError, IndexError, RuntimeError, TypeError, ValueError):
            checks.check_network(x, weights)  # which names the weight
            raise
    checks.check_network(x, weights)
    _arrays.check_precision(precision)
    if last_relu:
        return at.tensor(_forward_by_layer(at, x, weights, slope, last_relu, precision))
    rows = at.rows(x)
    out = at.empty((rows.shape[0], weights[-1].shape[0]), dtype_of(rows), rows)
    _packed(at, rows, weights, slope, precision).forward(rows, [], [], out)
    return _tensor(at, out, x, weights[-1].shape[0])


def keep(
    x: Tensor, weights: list[Tensor], slope: float, last_relu: bool, precision: str
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The network at x, the outputs of its hidden layers, and the bits of its units."""
    short = short_way.keep(x, weights, slope, last_relu, precision)
    if short is not None:
        return short
    at = place_of(x)
    if x.dtype is torch.bfloat16:
        checks.check_network(x, weights)
        y, hidden, masks = keep(x.float(), _wide(weights), slope, last_relu, precision)
        return y.to(torch.bfloat16), hidden, masks
    if at.is_short(x) or last_relu:
        try:
            return _keep_by_layer(at, x, weights, slope, last_relu, precision)
        except (BufferError, IndexError, RuntimeError, TypeError, ValueError):
            checks.check_network(x, weights)
            raise
    checks.check_network(x, weights)
    _arrays.check_precision(precision)
    rows = at.rows(x)
    count, dtype, widths = rows.shape[0], dtype_of(rows), [w.shape[0] for w in weights]
    bits = at.empty_masks(count, widths[:-1], rows)
    kept = [at.empty((count, width), dtype, rows) for width in widths[:-1]]
    out = at.empty((count, widths[-1]), dtype, rows)
    _packed(at, rows, weights, slope, precision).forward(rows, bits, kept, out)
    return (
        _tensor(at, out, x, widths[-1]),
        [_tensor(at, h, x, width) for h, width in zip(kept, widths[:-1], strict=True)],
        [_tensor(at, m, x, m.shape[1]) for m in bits],
    )


def backward(
    grad_output: Tensor,
    x: Tensor,
    weights: list[Tensor],
    hidden: list[Tensor],
    masks: list[Tensor],
    slope: float,
    precision: str,
    input_needed: bool,
    weights_needed: bool,
) -> list[Tensor]:
    """Gradients of x, if needed, and then of all weights, if needed, from what `keep` returned."""
    short = short_way.backward(
        grad_output, x, weights, hidden, masks, slope, precision, input_needed, weights_needed
    )
    if short is not None:
        return short
    at = place_of(x)
    if x.dtype is torch.bfloat16:
        singles = backward(
            grad_output.float(), x.float(), _wide(weights), hidden, masks, slope, precision,
            input_needed, weights_needed,
        )  # fmt: skip
        return [g.to(torch.bfloat16) for g in singles]
    if grad_output.dtype is not x.dtype:
        raise TypeError(f"grad_output: got {grad_output.dtype}, wanted {x.dtype}, the dtype of x")
    last_relu = len(masks) == len(weights)
    if at.is_short(x) or last_relu:
        return _backward_by_layer(
            at, grad_output, x, weights, hidden, masks, slope, precision, input_needed,
            weights_needed,
        )  # fmt: skip
    rows, grads = at.rows(x), at.rows(grad_output)
    dtype, grad_input, grad_weights = dtype_of(rows), None, []
    if input_needed:
        grad_input = at.empty(tuple(rows.shape), dtype, rows)
    if weights_needed:
        grad_weights = [at.empty(tuple(w.shape), dtype, rows) for w in weights]
    _packed(at, rows, weights, slope, precision).backward(
        rows, [at.rows(m) for m in masks], [at.rows(h) for h in hidden], grads, grad_input,
        grad_weights,
    )  # fmt: skip
    results = [] if grad_input is None else [_tensor(at, grad_input, x, x.shape[-1])]
    return results + [at.tensor(g) for g in grad_weights]


def tangent(
    v: Tensor, weights: list[Tensor], masks: list[Tensor], slope: float, precision: str
) -> Tensor:
    """J v, the units' bits those of `keep`."""
    at = place_of(v)
    if v.dtype is torch.bfloat16:
        return tangent(v.float(), _wide(weights), masks, slope, precision).to(torch.bfloat16)
    rows, bits = at.rows(v), [at.rows(m) for m in masks]
    dtype = dtype_of(rows)
    out = at.empty((rows.shape[0], weights[-1].shape[0]), dtype, rows)
    if len(masks) < len(weights):
        _packed(at, rows, weights, slope, precision).forward_masked(rows, bits, out)
    else:
        ops = _backends.resolve(None, rows)
        for weight, mask in zip(weights, bits, strict=True):
            out = at.empty((rows.shape[0], weight.shape[0]), dtype, rows)
            ops.linear_masked(rows, at.matrix(weight), mask, slope, out, precision)
            rows = out
    return _tensor(at, out, v, weights[-1].shape[0])


# A layer at a time -------------------------------------------------------------------------------


def _forward_by_layer(
    at: Any, x: Tensor, weights: list[Tensor], slope: float, last_relu: bool, precision: str
) -> Any:
    array = at.array
    values = array(x)
    level = None if precision == "highest" else precision
    for weight in weights if last_relu else weights[:-1]:
        values = layers.linear_relu(values, array(weight), negative_slope=slope, precision=level)
    return values if last_relu else layers.linear(values, array(weights[-1]), precision=level)


def _keep_by_layer(
    at: Any, x: Tensor, weights: list[Tensor], slope: float, last_relu: bool, precision: str
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    array, tensor = at.array, at.tensor
    values, outputs, masks = array(x), [], []
    level = None if precision == "highest" else precision
    for weight in weights if last_relu else weights[:-1]:
        values, mask = layers.linear_relu(
            values, array(weight), negative_slope=slope, return_mask=True, precision=level
        )
        outputs.append(tensor(values))
        masks.append(tensor(mask))
    if last_relu:
        return outputs[-1], outputs[:-1], masks
    y = layers.linear(values, array(weights[-1]), precision=level)
    return tensor(y), outputs, masks


def _backward_by_layer(
    at: Any,
    grad_output: Tensor,
    x: Tensor,
    weights: list[Tensor],
    hidden: list[Tensor],
    masks: list[Tensor],
    slope: float,
    precision: str,
    input_needed: bool,
    weights_needed: bool,
) -> list[Tensor]:
    array, inputs = at.array, [x, *hidden]
    bits = [*(array(m) for m in masks), *[None] * (len(weights) - len(masks))]
    grad = array(grad_output)
    level = None if precision == "highest" else precision
    grad_weights = []
    for index in reversed(range(len(weights))):
        below, grad_weight = layers.linear_relu_backward(
            grad,
            array(inputs[index]) if weights_needed else None,
            array(weights[index]) if index or input_needed else None,
            bits[index],
            negative_slope=slope,
            precision=level,
        )
        grad = below
        if weights_needed:
            grad_weights.append(at.tensor(grad_weight))
    results = [at.tensor(grad)] if input_needed else []
    return results + grad_weights[::-1]


# Tensors as arrays -------------------------------------------------------------------------------


def _tensor(at: Any, rows: Any, like: Tensor, features: int) -> Tensor:
    """Rows as a tensor with the leading axes of `like`."""
    tensor = at.tensor(rows)
    return tensor if like.dim() == 2 else tensor.reshape(*like.shape[:-1], features)


def _wide(tensors: list[Tensor]) -> list[Tensor]:
    return [t.float() for t in tensors]


def _packed(at: Any, rows: Any, weights: list[Tensor], slope: float, precision: str) -> Any:
    """The network of these weights, packed for this call alone."""
    ops = _backends.resolve(None, rows)
    return ops.pack_network([ops.pack_weight(at.matrix(w), precision) for w in weights], slope)
