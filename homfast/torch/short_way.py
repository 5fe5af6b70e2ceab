"""A network at few rows, past PyTorch's dispatcher.

At one row an eager linear layer costs a few microseconds, and an op of a library as much as
several. Where nobody but us would look at a call, the kernels take the memory of the tensors from
PyTorch by DLPack's C exchange, and PyTorch's own memory for the results: one crossing a pass, and
nothing is kept from call to call.
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
_is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor  # even after its transform
_KINDS = (Tensor, torch.nn.Parameter)


def forward(
    x: Tensor, weights: list[Tensor], slope: Any, last_relu: bool, precision: str
) -> Tensor | None:
    """As `homfast.torch.kernels.forward`, for few rows; None for what goes another way.

    Tensors are such as kernels get: values, that nobody negates or differentiates on the way.
    """
    if precision == "highest":
        compute = getattr(_backends.automatic(), "exchanged_forward", None)
        if compute is not None and EXCHANGE is not None:
            return compute(EXCHANGE, x, weights, slope, last_relu)
    return None


def keep(
    x: Tensor, weights: list[Tensor], slope: Any, last_relu: bool, precision: str
) -> tuple[Tensor, list[Tensor], list[Tensor]] | None:
    """As `homfast.torch.kernels.keep`, for few rows."""
    if precision == "highest":
        kept = getattr(_backends.automatic(), "exchanged_keep", None)
        if kept is not None and EXCHANGE is not None:
            return kept(EXCHANGE, x, weights, slope, last_relu)
    return None


def backward(
    grad_output: Tensor,
    x: Tensor,
    weights: list[Tensor],
    hidden: list[Tensor],
    masks: list[Tensor],
    slope: Any,
    precision: str,
    input_needed: bool,
    weights_needed: bool,
) -> list[Tensor] | None:
    """As `homfast.torch.kernels.backward`, for few rows."""
    if precision == "highest":
        gradients = getattr(_backends.automatic(), "exchanged_backward", None)
        if gradients is not None and EXCHANGE is not None:
            return gradients(
                EXCHANGE, grad_output, x, weights, hidden, masks, slope, input_needed,
                weights_needed,
            )  # fmt: skip
    return None


def nobody_looks(x: Any, weights: list[Tensor]) -> bool:
    """Whether a call is of plain tensors, and no mode, transform or observer sees it but us."""
    if _traces():
        return False
    for tensor in (x, *weights):
        if (
            type(tensor) not in _KINDS
            or not tensor.is_cpu
            or tensor.is_neg()
            or tensor._is_zerotensor()
            or _is_wrapped(tensor)
        ):
            return False
    return (
        _included().raw_repr() in _PLAIN
        and not _autocasts("cpu")
        and forward_ad._current_level < 0
        and not _function_modes()
        and not _profiles()
    )
