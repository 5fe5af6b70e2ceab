"""The ops in PyTorch's registry, and what they are to autograd, compilers, vmap and autocast.

``homfast::relu_network`` is the op that users' graphs show; a layer is a network of one weight. The
three others are passes of it: with what a backward pass needs kept, backward, and along a tangent.
They are registered with ``torch.library.Library`` rather than ``custom_op``, at a third of the
overhead a call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from homfast import _arrays
from homfast.torch import batching, checks, composed, kernels, short_way
from homfast.torch.dispatch import (
    PLAIN_ENTRY,
    apply,
    below,
    differentiable,
    entry,
    has_tangent,
    opaque,
    requires_grad,
)

Tensor: TypeAlias = torch.Tensor

_LIBRARY = torch.library.Library("homfast", "DEF")
_OPTIONS = "float negative_slope, bool last_relu, str precision"
_SCHEMAS = {
    "relu_network": f"(Tensor x, Tensor[] weights, {_OPTIONS}) -> Tensor",
    "relu_network_keep": f"(Tensor x, Tensor[] weights, {_OPTIONS})"
    " -> (Tensor, Tensor[], Tensor[])",
    "relu_network_backward": "(Tensor grad_output, Tensor x, Tensor[] weights, Tensor[] hidden,"
    " Tensor[] masks, float negative_slope, str precision, bool input_needed, bool weights_needed)"
    " -> Tensor[]",
    "relu_network_tangent": "(Tensor v, Tensor[] weights, Tensor[] masks, float negative_slope,"
    " str precision) -> Tensor",
}
for _name, _schema in _SCHEMAS.items():
    _LIBRARY.define(_name + _schema, tags=(torch.Tag.pt2_compliant_tag,))

_network = torch.ops.homfast.relu_network.default
_keep = torch.ops.homfast.relu_network_keep.default
_backward = torch.ops.homfast.relu_network_backward.default
_tangent = torch.ops.homfast.relu_network_tangent.default


def linear_relu(
    x: Tensor, weight: Tensor, negative_slope: float = 0.0, *, precision: str = "highest"
) -> Tensor:
    """``relu(x @ weight.T)``, differentiable.

    Parameters
    ----------
    x : Tensor, shape (..., in_features), float32, float64 or bfloat16
    weight : Tensor, shape (out_features, in_features), dtype and device of `x`
    negative_slope : float
        Slope for pre-activations <= 0; 0 is ReLU, others are leaky ReLU.
    precision : {"highest", "high", "medium"}
        Accuracy of float32 products, as in `homfast.linear`.

    Returns
    -------
    Tensor, shape (..., out_features)

    Raises
    ------
    TypeError
        Mixed or unsupported dtypes or devices.
    ValueError
        Shapes that do not match.
    """
    checks.check_tensor(weight, "weight")
    return network(x, [weight], negative_slope, True, precision)


def relu_network(
    x: Tensor,
    weights: Sequence[Tensor],
    negative_slope: float = 0.0,
    *,
    precision: str = "highest",
) -> Tensor:
    """A bias-free ReLU network ``W_L relu(... relu(W_1 x))`` at the rows of `x`, differentiable.

    Parameters
    ----------
    x : Tensor, shape (..., in_features), float32, float64 or bfloat16
    weights : sequence of Tensor, each (out_features, in_features), dtype and device of `x`
        They are read anew in every call.
    negative_slope, precision
        As in `linear_relu`.

    Returns
    -------
    Tensor, shape (..., out_features)

    Raises
    ------
    TypeError, ValueError
        As in `linear_relu`; the message names the weight.
    """
    return network(x, checks.check_weights(weights), negative_slope, False, precision)


def network(
    x: Tensor, weights: list[Tensor], negative_slope: Any, last_relu: bool, precision: str
) -> Tensor:
    """The op, which would say of what is no tensor only that its schema has one there."""
    if not isinstance(x, Tensor) or x.is_nested:
        checks.check_tensor(x, "x")
    plain = type(negative_slope) is float and type(precision) is str
    if plain and short_way.nobody_looks(x, weights):
        options = negative_slope, last_relu, precision
        if requires_grad(x, *weights):
            return _Network.apply(PLAIN_ENTRY, False, *options, x, *weights)
        return kernels.forward(x, weights, *options)
    checks.check_options(negative_slope, precision)
    return _network(x, weights, negative_slope, last_relu, precision)


# What computes ------------------------------------------------------------------------------------


_COMPUTE: dict[str, Callable[..., Any]] = {
    "relu_network": kernels.forward,
    "relu_network_keep": kernels.keep,
    "relu_network_backward": kernels.backward,
    "relu_network_tangent": kernels.tangent,
}
for _name, _kernel in _COMPUTE.items():
    _LIBRARY.impl(_name, opaque(_kernel), "CompositeExplicitAutograd")


# What compilers see -------------------------------------------------------------------------------


def _fake_network(x, weights, slope, last_relu, precision):
    checks.check_network(x, weights)
    _arrays.check_precision(precision)
    return x.new_empty((*x.shape[:-1], weights[-1].shape[0]))


def _fake_keep(x, weights, slope, last_relu, precision):
    y = _fake_network(x, weights, slope, last_relu, precision)
    dtype = torch.float32 if x.dtype is torch.bfloat16 else x.dtype
    hidden = [x.new_empty((*x.shape[:-1], w.shape[0]), dtype=dtype) for w in weights[:-1]]
    units = weights if last_relu else weights[:-1]
    masks = [x.new_empty((*x.shape[:-1], (w.shape[0] + 7) // 8), dtype=torch.uint8) for w in units]
    return y, hidden, masks


def _fake_backward(
    grad_output, x, weights, hidden, masks, slope, precision, input_needed, weights_needed
):
    results = [x.new_empty(x.shape)] if input_needed else []
    return results + ([w.new_empty(w.shape) for w in weights] if weights_needed else [])


def _fake_tangent(v, weights, masks, slope, precision):
    return v.new_empty((*v.shape[:-1], weights[-1].shape[0]))


_FAKES: dict[str, Callable[..., Any]] = {
    "relu_network": _fake_network,
    "relu_network_keep": _fake_keep,
    "relu_network_backward": _fake_backward,
    "relu_network_tangent": _fake_tangent,
}
for _name, _fake in _FAKES.items():
    torch.library.register_fake(f"homfast::{_name}", opaque(_fake), lib=_LIBRARY)


# Derivatives --------------------------------------------------------------------------------------


class _Network(torch.autograd.Function):
    """``relu_network``: gradients and tangents are one native call each."""

    @staticmethod
    def forward(ctx, at, tangent, slope, last_relu, precision, x, *weights):
        y, hidden, masks = below(
            _keep, kernels.keep, at, x, list(weights), slope, last_relu, precision
        )
        ctx.options = (len(weights), slope, precision)
        ctx.save_for_backward(x, *weights, *hidden, *masks)
        if tangent:
            ctx.save_for_forward(x, *weights, *hidden, *masks)
        return y

    @staticmethod
    def _saved(ctx):
        count, slope, precision = ctx.options
        x, *saved = ctx.saved_tensors
        weights, kept = saved[:count], saved[count:]
        return x, weights, kept[: count - 1], kept[count - 1 :], slope, precision

    @staticmethod
    @opaque
    def backward(ctx, grad_output):
        x, weights, hidden, masks, slope, precision = _Network._saved(ctx)
        _, _, _, _, _, input_needed, *weight_needed = ctx.needs_input_grad
        plain = not torch.is_grad_enabled() and short_way.nobody_looks(
            grad_output, [x, *weights, *hidden, *masks]
        )
        compute = kernels.backward if plain else _backward
        grads = compute(
            grad_output, x, weights, hidden, masks, slope, precision, input_needed,
            any(weight_needed),
        )  # fmt: skip
        grad_input = grads[0] if input_needed else None
        grad_weights = grads[1 if input_needed else 0 :] or [None] * len(weights)
        wanted = (g if n else None for g, n in zip(grad_weights, weight_needed, strict=True))
        return None, None, None, None, None, grad_input, *wanted

    @staticmethod
    @opaque
    def jvp(ctx, _at, _kept, _slope, _last_relu, _precision, v, *_no_changes):
        _, weights, _, masks, slope, precision = _Network._saved(ctx)
        return _tangent(v, weights, masks, slope, precision)


def _autograd_network(keyset, x, weights, slope, last_relu, precision):
    if has_tangent(weights):
        return composed.keep(x, weights, slope, last_relu)[0]
    at, tangent = entry(keyset), has_tangent([x])
    if tangent or requires_grad(x, *weights):
        return apply(_Network, at, tangent, slope, last_relu, precision, x, *weights)
    return below(_network, kernels.forward, at, x, weights, slope, last_relu, precision)


def _autograd_keep(keyset, x, weights, slope, last_relu, precision):
    if differentiable(x, *weights):
        return composed.keep(x, weights, slope, last_relu)
    return below(_keep, kernels.keep, entry(keyset), x, weights, slope, last_relu, precision)


def _autograd_backward(
    keyset, grad_output, x, weights, hidden, masks, slope, precision, input_needed, weights_needed
):
    if differentiable(grad_output, x, *weights):
        inputs = composed.inputs(x, weights, hidden, masks, slope) if weights_needed else []
        return composed.backward(
            grad_output, weights, inputs, masks, slope, input_needed, weights_needed
        )
    return below(
        _backward, kernels.backward, entry(keyset), grad_output, x, weights, hidden,
        masks, slope, precision, input_needed, weights_needed,
    )  # fmt: skip


def _autograd_tangent(keyset, v, weights, masks, slope, precision):
    if differentiable(v, *weights):
        return composed.tangent(v, weights, masks, slope)
    return below(_tangent, kernels.tangent, entry(keyset), v, weights, masks, slope, precision)


_AUTOGRAD: dict[str, Callable[..., Any]] = {
    "relu_network": _autograd_network,
    "relu_network_keep": _autograd_keep,
    "relu_network_backward": _autograd_backward,
    "relu_network_tangent": _autograd_tangent,
}
for _name, _rule in _AUTOGRAD.items():
    _LIBRARY.impl(_name, opaque(_rule), "Autograd", with_keyset=True)


# Batches of calls, and autocast -------------------------------------------------------------------

_BATCHING: dict[str, Callable[..., Any]] = {
    "relu_network": batching.network,
    "relu_network_keep": batching.keep,
    "relu_network_backward": batching.backward,
    "relu_network_tangent": batching.tangent,
}
for _name, _rule in _BATCHING.items():
    torch.library.register_vmap(f"homfast::{_name}", opaque(_rule), lib=_LIBRARY)


def _batched_backward(
    grad_output, x, weights, hidden, masks, slope, _precision, input_needed, weights_needed
):
    inputs = composed.inputs(x, weights, hidden, masks, slope) if weights_needed else []
    return composed.backward(
        grad_output, weights, inputs, masks, slope, input_needed, weights_needed
    )


def _batched_tangent(v, weights, masks, slope, _precision):
    return composed.tangent(v, weights, masks, slope)


# The vmap of autograd.grad(is_grads_batched=True), which knows no rules of ours.
_LIBRARY.impl("relu_network_backward", opaque(_batched_backward), "Batched")
_LIBRARY.impl("relu_network_tangent", opaque(_batched_tangent), "Batched")


def _autocast(device: str, key: Any) -> Callable[..., Tensor]:
    excluded = torch._C.DispatchKeySet(key)

    def network(x, weights, slope, last_relu, precision):
        dtype = torch.get_autocast_dtype(device)
        if dtype not in (torch.bfloat16, torch.float32):
            raise TypeError(
                f"autocast: got {dtype}, in which homfast has no products; use "
                f"torch.autocast({device!r}, dtype=torch.bfloat16)"
            )

        def cast(t: Tensor) -> Tensor:  # what torch casts: floating point, but not double
            return t.to(dtype) if t.is_floating_point() and t.dtype is not torch.float64 else t

        with torch._C._ExcludeDispatchKeyGuard(excluded):
            return _network(cast(x), [cast(w) for w in weights], slope, last_relu, precision)

    return network


for _device, _key in (
    ("cpu", torch._C.DispatchKey.AutocastCPU),
    ("cuda", torch._C.DispatchKey.AutocastCUDA),
):
    _LIBRARY.impl("relu_network", opaque(_autocast(_device, _key)), _key.name)
