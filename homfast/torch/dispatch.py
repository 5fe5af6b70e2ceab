"""What kernels in Python for PyTorch's dispatcher share.

A kernel for the key Autograd gets the dispatch keys of its arguments. With those below autograd the
op goes on through whatever else looks at the call, modes, levels of ``torch.func`` and subclasses;
where nothing does, to what computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch
from torch._C._dynamo import eval_frame
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad

Tensor: TypeAlias = torch.Tensor
Function = TypeVar("Function", bound=Callable[..., Any])
_AFTER_AUTOGRAD = torch._C._after_autograd_keyset
_HOST = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
_PLACES = _HOST, torch._C.DispatchKeySet(torch._C.DispatchKey.CUDA)
# No mode, transform or subclass looks at the call: then the dispatcher is left out.
_PLAIN = frozenset(
    keys.raw_repr()
    for place in _PLACES
    for keys in (place, place.add(torch._C.DispatchKey.ADInplaceOrView))
)


class Entry(NamedTuple):
    """How an op was entered: the keys below autograd, and whether derivatives were on, each way."""

    keys: Any
    grad: bool
    forward_grad: bool


PLAIN_ENTRY = Entry(_HOST, True, True)  # of what never was at the dispatcher


def entry(keyset: Any) -> Entry:
    """How a kernel for the key Autograd was entered; asked before a Function switches modes off."""
    keys = keyset & _AFTER_AUTOGRAD
    return Entry(keys, torch.is_grad_enabled(), torch._C._is_fwd_grad_enabled())


def opaque(kernel: Function) -> Function:
    """`kernel`, at whose calls Dynamo does not look.

    It looks at each Python function that a compiled one calls eagerly, after a graph break or under
    a transform, and would trace what computes.
    """
    skip = eval_frame._FrameAction.SKIP
    strategy = eval_frame._FrameExecStrategy(skip, skip)  # it, and what it calls
    eval_frame.set_code_exec_strategy(kernel.__code__, strategy)
    return kernel


def below(op: Any, compute: Callable[..., Any], at: Entry, *arguments: Any) -> Any:
    """The op without autograd, as it was entered."""
    if at.keys.raw_repr() in _PLAIN:
        return compute(*arguments)
    with torch._C._AutoDispatchBelowAutograd():
        if not torch._C._are_functorch_transforms_active():
            return op.redispatch(at.keys, *arguments)
        # A Function switches derivatives off around its forward. The levels of torch.func that the
        # dispatcher goes on to switch them off themselves where they have none.
        with (
            torch.set_grad_enabled(at.grad),
            forward_ad._set_fwd_grad_enabled(at.forward_grad),
        ):
            return op.redispatch(at.keys, *arguments)


def apply(function: Any, *arguments: Any) -> Any:
    """``apply`` of a Function, at the level of ``torch.func`` that the op was dispatched to."""
    if not torch._C._are_functorch_transforms_active():
        return function.apply(*arguments)
    # A transform has dispatched the op to one of its levels already: the graph is of that level.
    with enable_single_level_autograd_function():
        return super(torch.autograd.Function, function).apply(*arguments)


def dual(x: Tensor) -> tuple[Tensor, Tensor | None]:
    """`x` and its tangent in forward mode, if it has one.

    Not by ``forward_ad.unpack_dual``, which asks for a level that it keeps in Python: compiled
    graphs enter levels without it. There is never more than one.
    """
    if x.layout is not torch.strided:  # which no kernel takes, nor always this
        return x, None
    primal, tangent = torch._VF._unpack_dual(x, level=0)
    return primal, tangent


def has_tangent(tensors: Iterable[Tensor]) -> bool:
    """Whether forward mode goes through one of them."""
    return torch._C._is_fwd_grad_enabled() and any(dual(t)[1] is not None for t in tensors)


def requires_grad(*tensors: Tensor) -> bool:
    """Whether a graph is recorded for one of them."""
    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


def differentiable(*tensors: Tensor) -> bool:
    """Whether somebody asks for a derivative with respect to one of them."""
    return requires_grad(*tensors) or has_tangent(tensors)
