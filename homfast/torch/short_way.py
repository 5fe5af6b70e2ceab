"""A network at few rows without a derivative, past PyTorch's dispatcher.

At one row an eager linear layer costs a few microseconds, and an op of a library as much as
several. Where nobody but us would look at a call, the kernels take the memory of the tensors from
PyTorch by DLPack's C exchange, and PyTorch's own memory for the result: one crossing, and nothing
is kept from call to call.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from torch.autograd import forward_ad

from homfast import _backends

Tensor: TypeAlias = torch.Tensor
# By which PyTorch hands over the memory of tensors, from 2.10 on; before, calls go through the op.
EXCHANGE = getattr(Tensor, "__dlpack_c_exchange_api__", None)
_CUSTOMARY = torch._C.DispatchKeySet(torch._C.DispatchKey.BackendSelect)
# What the dispatcher looks at beside a tensor's own keys where no mode and no transform is on; the
# second within inference mode.
_PLAIN = frozenset(
    keys.raw_repr() for keys in (_CUSTOMARY.add(torch._C.DispatchKey.ADInplaceOrView), _CUSTOMARY)
)
_traces = torch.compiler.is_dynamo_compiling
_included = torch._C._dispatch_tls_local_include_set
_autocasts = torch.is_autocast_enabled
_function_modes = torch._C._len_torch_function_stack
_profiles = torch._C._autograd._profiler_enabled
_KINDS = (Tensor, torch.nn.Parameter)


def network(
    x: Any, weights: list[Tensor], slope: Any, last_relu: bool, precision: str
) -> Tensor | None:
    """The network at x, with the bits of the op; None for what has to go through the op."""
    if precision == "highest" and not _traces() and _is_plain(x, weights):
        return _backends.short_network(EXCHANGE, x, weights, slope, last_relu)
    return None


def _is_plain(x: Any, weights: list[Tensor]) -> bool:
    """Whether a call is without a derivative, and nobody looks at it but us."""
    if EXCHANGE is None or type(x) is not Tensor or not x.is_cpu or x.is_neg():
        return False
    for weight in weights:
        if type(weight) not in _KINDS or weight.is_neg():
            return False
    if torch.is_grad_enabled() and (x.requires_grad or any(w.requires_grad for w in weights)):
        return False
    return (
        _included().raw_repr() in _PLAIN
        and not _autocasts("cpu")
        and forward_ad._current_level < 0
        and not _function_modes()
        and not _profiles()
    )
