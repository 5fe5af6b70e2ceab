"""What users can get wrong about tensors, named: argument, what came, what was wanted, the fix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from homfast import _arrays, _backends

DTYPES = (torch.float32, torch.float64, torch.bfloat16)


def check_tensor(value: object, name: str) -> None:
    """TypeError unless `value` is a tensor, and not a nested one, or stands for one in a trace."""
    if not isinstance(value, torch.Tensor):
        if hasattr(type(value), "__torch_function__"):  # as that of torch.fx, which the op asks
            return
        raise TypeError(
            f"{name}: got {_arrays._type_name(value)}, wanted a torch.Tensor; convert arrays with "
            f"torch.from_numpy({name}), lists with torch.tensor({name})"
        )
    if value.is_nested:
        raise TypeError(
            f"{name}: got a nested tensor, wanted a plain one; pad it, or call with each of "
            f"{name}.unbind()"
        )


def check_weights(weights: object) -> list[torch.Tensor]:
    """The weights of a network as a list of tensors; TypeError for what is none."""
    if isinstance(weights, torch.Tensor):
        raise TypeError(
            f"weights: got one tensor of shape {tuple(weights.shape)}, wanted a list of matrices; "
            "pass [weights]"
        )
    try:
        found = list(weights)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(
            f"weights: got {_arrays._type_name(weights)}, wanted a list of torch.Tensor"
        ) from None
    for index, weight in enumerate(found):
        if not isinstance(weight, torch.Tensor) or weight.is_nested:
            check_tensor(weight, f"weights[{index}]")
    return found


def check_options(negative_slope: Any, precision: Any) -> None:
    """TypeError or ValueError for what the op's schema would only say that it is of another type.

    A tensor would be a number to it, and its gradient lost. What stands for a number in a trace
    passes.
    """
    symbols = torch.SymFloat, torch.SymInt
    stands_for_one = isinstance(negative_slope, symbols) or (
        hasattr(type(negative_slope), "__torch_function__")
        and not isinstance(negative_slope, torch.Tensor)
    )
    if not stands_for_one:
        _arrays.check_slope(negative_slope)
    if not isinstance(precision, str):
        raise ValueError(f"precision: got {precision!r}, wanted 'highest', 'high' or 'medium'")


def check_network(x: torch.Tensor, weights: Sequence[torch.Tensor]) -> None:
    """ValueError or TypeError unless `weights` chain and `x` can enter them."""
    check_layout(x, "x")
    if not weights:
        raise ValueError("weights: got an empty list, wanted at least one matrix")
    names = [f"weights[{index}]" for index in range(len(weights))]
    for name, weight in zip(names, weights, strict=True):
        check_layout(weight, name)
        if weight.dim() != 2:
            raise ValueError(
                f"{name}: got shape {tuple(weight.shape)}, wanted (out_features, in_features)"
            )
        if weight.device != x.device:
            move = f"to({str(x.device)!r})"
            if weight.is_meta:  # without numbers to move
                move = f"to_empty(device={str(x.device)!r}), and load its state_dict"
            raise TypeError(
                f"{name}: is on {weight.device} and x on {x.device}; move one of them, for "
                f"instance model.{move}; homfast never does"
            )
        if weight.dtype != x.dtype:
            raise TypeError(
                f"{name}: got {weight.dtype} beside x of {x.dtype}, wanted one dtype; cast one of "
                f"them, for instance x.to({weight.dtype})"
            )
    if x.dtype not in DTYPES:
        raise TypeError(
            f"x: got {x.dtype}, wanted torch.float32, torch.float64 or torch.bfloat16; "
            "convert x and the weights, x.float() and model.float(), if that loses nothing you need"
        )
    if x.dim() == 0 or x.shape[-1] != weights[0].shape[1]:
        raise ValueError(
            f"x: got shape {tuple(x.shape)}, wanted (..., {weights[0].shape[1]}) to match "
            f"weights[0] of shape {tuple(weights[0].shape)}"
        )
    _arrays.check_chain(weights, names)


def check_layout(tensor: torch.Tensor, name: str) -> None:
    """TypeError unless `tensor` has memory with strides: sparse ones have none."""
    if tensor.layout is not torch.strided:
        raise TypeError(
            f"{name}: got a tensor of layout {tensor.layout}, wanted strided; pass "
            f"{name}.to_dense()"
        )


def check_device(x: torch.Tensor, name: str = "x") -> None:
    """TypeError for a tensor that no backend here takes."""
    check_layout(x, name)
    try:
        _backends.resolve(None, x)
    except TypeError:
        why = "homfast.torch has backends for the CPU and for CUDA devices"
        if x.is_cuda and "cuda" in _backends.NAMES:  # alone takes tensors; cupy does not
            why = f"cuda: {_backends.load('cuda').why_unavailable()}"
        raise TypeError(
            f"{name}: got a tensor on {x.device}, for which no backend is here ({why}); or pass "
            f"{name}.cpu(), homfast never moves it"
        ) from None
