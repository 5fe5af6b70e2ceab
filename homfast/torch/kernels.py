"""The four passes of a network on tensors, computed by a homfast backend.

Weights are read where they lie, in every call: nothing is kept from one call to the next, so that
nothing can be stale, whoever writes to a weight, and however. Fewer than 16 rows go a layer at a
time through `homfast.linear_relu`, which packs nothing; from 16 on the network is packed in the
call, and runs as one. Arguments have been checked (`homfast.torch.checks`).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch

from homfast import _arrays, _backends, layers
from homfast.torch import checks

Tensor: TypeAlias = torch.Tensor
PLAIN_DTYPES = (torch.float32, torch.float64)  # bfloat16 is widened first
# From so many rows on a layer's products read packed weights, whoever calls: see homfast.linear.
_PACKED_ROWS = 16


def forward(
    x: Tensor, weights: list[Tensor], slope: float, last_relu: bool, precision: str
) -> Tensor:
    """The network at the rows of x."""
    checks.check_device(x)
    if x.dtype is torch.bfloat16:
        checks.check_network(x, weights)
        single = forward(x.float(), _wide(weights), slope, last_relu, precision)
        return single.to(torch.bfloat16)
    if _is_short(x):
        try:
            return torch.from_numpy(_forward_by_layer(x, weights, slope, last_relu, precision))
        except (IndexError, RuntimeError, TypeError, ValueError):
            checks.check_network(x, weights)  # which names the weight
            raise
    checks.check_network(x, weights)
    _arrays.check_precision(precision)
    if last_relu:
        return torch.from_numpy(_forward_by_layer(x, weights, slope, last_relu, precision))
    rows = _rows(x)
    out = np.empty((rows.shape[0], weights[-1].shape[0]), rows.dtype)
    _packed(rows, weights, slope, precision).forward(rows, [], [], out)
    return _tensor(out, x, weights[-1].shape[0])


def keep(
    x: Tensor, weights: list[Tensor], slope: float, last_relu: bool, precision: str
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The network at x, the outputs of its hidden layers, and the bits of its units."""
    checks.check_device(x)
    if x.dtype is torch.bfloat16:
        checks.check_network(x, weights)
        y, hidden, masks = keep(x.float(), _wide(weights), slope, last_relu, precision)
        return y.to(torch.bfloat16), hidden, masks
    if _is_short(x) or last_relu:
        try:
            return _keep_by_layer(x, weights, slope, last_relu, precision)
        except (IndexError, RuntimeError, TypeError, ValueError):
            checks.check_network(x, weights)
            raise
    checks.check_network(x, weights)
    _arrays.check_precision(precision)
    rows = _rows(x)
    count, widths = rows.shape[0], [w.shape[0] for w in weights]
    bits = [np.empty((count, (width + 7) // 8), np.uint8) for width in widths[:-1]]
    kept = [np.empty((count, width), rows.dtype) for width in widths[:-1]]
    out = np.empty((count, widths[-1]), rows.dtype)
    _packed(rows, weights, slope, precision).forward(rows, bits, kept, out)
    return (
        _tensor(out, x, widths[-1]),
        [_tensor(h, x, width) for h, width in zip(kept, widths[:-1], strict=True)],
        [_tensor(m, x, m.shape[1]) for m in bits],
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
    checks.check_device(x)
    if x.dtype is torch.bfloat16:
        singles = backward(
            grad_output.float(), x.float(), _wide(weights), hidden, masks, slope, precision,
            input_needed, weights_needed,
        )  # fmt: skip
        return [g.to(torch.bfloat16) for g in singles]
    if grad_output.dtype is not x.dtype:
        raise TypeError(f"grad_output: got {grad_output.dtype}, wanted {x.dtype}, the dtype of x")
    last_relu = len(masks) == len(weights)
    if _is_short(x) or last_relu:
        return _backward_by_layer(
            grad_output, x, weights, hidden, masks, slope, precision, input_needed, weights_needed
        )
    rows, grads = _rows(x), _rows(grad_output)
    grad_input = np.empty(rows.shape, rows.dtype) if input_needed else None
    grad_weights = [np.empty(tuple(w.shape), rows.dtype) for w in weights] if weights_needed else []
    _packed(rows, weights, slope, precision).backward(
        rows, [_rows(m) for m in masks], [_rows(h) for h in hidden], grads, grad_input, grad_weights
    )
    results = [] if grad_input is None else [_tensor(grad_input, x, x.shape[-1])]
    return results + [torch.from_numpy(g) for g in grad_weights]


def tangent(
    v: Tensor, weights: list[Tensor], masks: list[Tensor], slope: float, precision: str
) -> Tensor:
    """J v, the units' bits those of `keep`."""
    checks.check_device(v)
    if v.dtype is torch.bfloat16:
        return tangent(v.float(), _wide(weights), masks, slope, precision).to(torch.bfloat16)
    rows, bits = _rows(v), [_rows(m) for m in masks]
    out = np.empty((rows.shape[0], weights[-1].shape[0]), rows.dtype)
    if len(masks) < len(weights):
        _packed(rows, weights, slope, precision).forward_masked(rows, bits, out)
    else:
        ops = _backends.resolve(None, rows)
        for weight, mask in zip(weights, bits, strict=True):
            out = np.empty((rows.shape[0], weight.shape[0]), rows.dtype)
            ops.linear_masked(rows, _matrix(weight), mask, slope, out, precision)
            rows = out
    return _tensor(out, v, weights[-1].shape[0])


# A layer at a time -------------------------------------------------------------------------------


def _forward_by_layer(
    x: Tensor, weights: list[Tensor], slope: float, last_relu: bool, precision: str
) -> np.ndarray:
    values = _numpy(x)
    level = None if precision == "highest" else precision
    for weight in weights if last_relu else weights[:-1]:
        values = layers.linear_relu(values, _numpy(weight), negative_slope=slope, precision=level)
    return values if last_relu else layers.linear(values, _numpy(weights[-1]), precision=level)


def _keep_by_layer(
    x: Tensor, weights: list[Tensor], slope: float, last_relu: bool, precision: str
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    values, outputs, masks = _numpy(x), [], []
    level = None if precision == "highest" else precision
    for weight in weights if last_relu else weights[:-1]:
        values, mask = layers.linear_relu(
            values, _numpy(weight), negative_slope=slope, return_mask=True, precision=level
        )
        outputs.append(torch.from_numpy(values))
        masks.append(torch.from_numpy(mask))
    if last_relu:
        return outputs[-1], outputs[:-1], masks
    y = layers.linear(values, _numpy(weights[-1]), precision=level)
    return torch.from_numpy(y), outputs, masks


def _backward_by_layer(
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
    inputs = [x, *hidden]
    bits = [*(_numpy(m) for m in masks), *[None] * (len(weights) - len(masks))]
    grad = _numpy(grad_output)
    level = None if precision == "highest" else precision
    grad_weights = []
    for index in reversed(range(len(weights))):
        below, grad_weight = layers.linear_relu_backward(
            grad,
            _numpy(inputs[index]) if weights_needed else None,
            _numpy(weights[index]) if index or input_needed else None,
            bits[index],
            negative_slope=slope,
            precision=level,
        )
        grad = below
        if weights_needed:
            grad_weights.append(torch.from_numpy(grad_weight))
    results = [torch.from_numpy(grad)] if input_needed else []
    return results + grad_weights[::-1]


# Tensors as arrays -------------------------------------------------------------------------------


def _is_short(x: Tensor) -> bool:
    shape = x.shape
    return len(shape) < 2 or x.numel() < _PACKED_ROWS * shape[-1]


def _numpy(tensor: Tensor) -> np.ndarray:
    """The tensor's memory, whatever its strides."""
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()


def _rows(tensor: Tensor) -> np.ndarray:
    return _arrays.as_rows(_numpy(tensor))


def _matrix(weight: Tensor) -> np.ndarray:
    return _arrays.as_kernel_matrix(_numpy(weight))


def _tensor(rows: np.ndarray, like: Tensor, features: int) -> Tensor:
    """Rows as a tensor with the leading axes of `like`."""
    tensor = torch.from_numpy(rows)
    return tensor if like.dim() == 2 else tensor.reshape(*like.shape[:-1], features)


def _wide(tensors: list[Tensor]) -> list[Tensor]:
    return [t.float() for t in tensors]


def _packed(rows: np.ndarray, weights: list[Tensor], slope: float, precision: str) -> Any:
    """The network of these weights, packed for this call alone."""
    ops = _backends.resolve(None, rows)
    return ops.pack_network([ops.pack_weight(_matrix(w), precision) for w in weights], slope)
