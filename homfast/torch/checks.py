"""What users can get wrong about tensors, named: argument, what came, what was wanted, the fix."""

from __future__ import annotations

from collections.abc import Sequence

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
            raise TypeError(
                f"{name}: is on {weight.device} and x on {x.device}; move one of them, for "
                f"instance model.to({str(x.device)!r}), homfast never does"
            )
        if weight.dtype != x.dtype:
            raise TypeError(
                f"{name}: got {weight.dtype} beside x of {x.dtype}, wanted one dtype; cast one of "
                f"them, for instance x.to({weight.dtype})"
            )
    if x.dtype not in DTYPES:
        raise TypeError(
            f"x: got {x.dtype}, wanted torch.float32, torch.float64 or torch.bfloat16; "
            "pass x.float() if that loses nothing you need"
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
