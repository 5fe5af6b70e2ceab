"""What stands between a PyTorch tensor and its memory: graphs, traces, memory that is not there.

A plain array has no graph; what PyTorch would have recorded of a tensor, or does not hold yet, is
refused, and the message names what keeps it. PyTorch itself is never imported: who has a tensor,
has imported it.
"""

from __future__ import annotations

import sys
from typing import Any

_INSTEAD = "call homfast.torch, or op.to_torch() for an operator, which PyTorch can see through"


def is_tensor(value: Any) -> bool:
    """Whether `value` is a PyTorch tensor, of whatever class."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def check_values(tensor: Any, name: str) -> None:
    """TypeError or ValueError unless a tensor is numbers in memory, and nothing more."""
    torch = sys.modules["torch"]
    if torch.compiler.is_dynamo_compiling():
        # Ends the graph here; without fullgraph the call then runs as it is, beside the graphs.
        raise TypeError(f"{name}: got a tensor in a call that is compiled; {_INSTEAD}")
    if _is_transformed(torch, tensor):
        raise TypeError(f"{name}: got a tensor that PyTorch traces or transforms; {_INSTEAD}")
    if type(tensor).__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise TypeError(
            f"{name}: got a {type(tensor).__name__}, which has no memory of its own, wanted a "
            f"plain tensor; {_INSTEAD}"
        )
    if tensor.layout is not torch.strided or tensor.is_nested:
        kind = "nested tensor" if tensor.is_nested else f"tensor of layout {tensor.layout}"
        raise TypeError(
            f"{name}: got a {kind}, wanted a strided one of float32 or float64; pass "
            f"{name}.{'to_padded_tensor(0.0)' if tensor.is_nested else 'to_dense()'}"
        )
    if torch._C._is_fwd_grad_enabled() and torch._VF._unpack_dual(tensor, level=0)[1] is not None:
        raise TypeError(f"{name}: got a dual tensor, whose tangent would be lost; {_INSTEAD}")
    check_memory(tensor, name)


def check_memory(tensor: Any, name: str) -> None:
    """TypeError or ValueError unless its memory holds its values, and no graph waits for them."""
    if tensor.requires_grad:
        raise TypeError(
            f"{name}: got a tensor that requires grad, whose graph would be lost; "
            f"pass {name}.detach()"
        )
    for lazily, resolve in (("negated", "neg"), ("conjugated", "conj")):
        if getattr(tensor, f"is_{resolve}")():
            raise TypeError(
                f"{name}: got a lazily {lazily} tensor, whose memory holds the other sign; "
                f"pass {name}.resolve_{resolve}()"
            )
    if tensor.layout is not sys.modules["torch"].strided:
        return  # what asks for its address says so
    held = 0 if tensor._is_zerotensor() else tensor.untyped_storage().nbytes()
    if _end(tensor) > held:
        raise ValueError(
            f"{name}: got a tensor of shape {tuple(tensor.shape)} whose memory was freed, wanted "
            "one with its values; resize its storage and fill it first"
        )


def _is_transformed(torch: Any, tensor: Any) -> bool:
    """Whether a call would be lost to ``torch.func``, ``make_fx`` or ``torch.jit.trace``."""
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor) or torch.jit.is_tracing():
        return True
    tracer = sys.modules.get("torch.fx.experimental.proxy_tensor")
    return tracer is not None and tracer.get_proxy_mode() is not None


def _end(tensor: Any) -> int:
    """Behind the last byte of a tensor's values, from the beginning of its storage."""
    if not tensor.numel():
        return 0
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    last = tensor.storage_offset() + sum((n - 1) * step for n, step in steps)
    return (last + 1) * tensor.element_size()
