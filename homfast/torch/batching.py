"""The ops under ``torch.vmap``: more rows where weights are shared, else a call each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from homfast.torch import composed

Tensor: TypeAlias = torch.Tensor
ops = torch.ops.homfast


def network(info, in_dims, x, weights, slope, last_relu, precision):
    if _shared(in_dims[1]):
        x = _to_front(x, in_dims[0], info.batch_size)
        return ops.relu_network(x, weights, slope, last_relu, precision), 0
    return _each(ops.relu_network, info, in_dims, (x, weights, slope, last_relu, precision))


def keep(info, in_dims, x, weights, slope, last_relu, precision):
    if _shared(in_dims[1]):
        x = _to_front(x, in_dims[0], info.batch_size)
        return _in_front(ops.relu_network_keep(x, weights, slope, last_relu, precision))
    return _each(ops.relu_network_keep, info, in_dims, (x, weights, slope, last_relu, precision))


def backward(
    info, in_dims, grad_output, x, weights, hidden, masks, slope, precision, input_needed,
    weights_needed,
):  # fmt: skip
    arguments = (
        grad_output, x, weights, hidden, masks, slope, precision, input_needed, weights_needed,
    )  # fmt: skip
    if not _shared(in_dims[2]):
        return _each(ops.relu_network_backward, info, in_dims, arguments)
    size = info.batch_size
    grad_output, x = _to_front(grad_output, in_dims[0], size), _to_front(x, in_dims[1], size)
    hidden, masks = _all_to_front(hidden, in_dims[3], size), _all_to_front(masks, in_dims[4], size)
    if weights_needed:  # one gradient for each of the batch: the op would sum over them
        inputs = composed.inputs(x, weights, hidden, masks, slope)
        return _in_front(
            composed.backward(
                grad_output, weights, inputs, masks, slope, input_needed, True, batch_axes=1
            )
        )
    return _in_front(
        ops.relu_network_backward(
            grad_output, x, weights, hidden, masks, slope, precision, input_needed, False
        )
    )


def tangent(info, in_dims, v, weights, masks, slope, precision):
    if _shared(in_dims[1]):
        size = info.batch_size
        bits = _all_to_front(masks, in_dims[2], size)
        v = _to_front(v, in_dims[0], size)
        return ops.relu_network_tangent(v, weights, bits, slope, precision), 0
    return _each(ops.relu_network_tangent, info, in_dims, (v, weights, masks, slope, precision))


def _shared(dims: Any) -> bool:
    return dims is None or all(d is None for d in dims)


def _to_front(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """The batch first; a tensor that all share, once for each without a copy."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _all_to_front(tensors: list[Tensor], dims: Any, size: int) -> list[Tensor]:
    dims = [None] * len(tensors) if dims is None else dims
    return [_to_front(t, d, size) for t, d in zip(tensors, dims, strict=True)]


def _in_front(results: Any) -> tuple[Any, Any]:
    """Results, and that their batch comes first."""
    if isinstance(results, (tuple, list)):
        parts = [_in_front(r) for r in results]
        kind = type(results)
        return kind(r for r, _ in parts), kind(d for _, d in parts)
    return results, 0


def _each(op: Callable[..., Any], info: Any, in_dims: Any, arguments: tuple[Any, ...]) -> Any:
    """One call for each of the batch, the results stacked; one for the shapes if there is none."""
    size = info.batch_size

    def part(value: Any, dim: Any, index: int) -> Any:
        if isinstance(value, (list, tuple)):
            dims = [None] * len(value) if dim is None else dim
            return [part(v, d, index) for v, d in zip(value, dims, strict=True)]
        if dim is None:
            return value
        return value.select(dim, index) if size else value.sum(dim, dtype=value.dtype)

    def stacked(results: list[Any]) -> Any:
        if isinstance(results[0], (tuple, list)):
            return type(results[0])(stacked(list(r)) for r in zip(*results, strict=True))
        return torch.stack(results)[:size]

    calls = [
        op(*(part(v, d, index) for v, d in zip(arguments, in_dims, strict=True)))
        for index in range(size or 1)
    ]
    return _in_front(stacked(calls))
