"""Measurement operators as modules, what `homfast.measure.Operator.to_torch` gives.

All calls, eager, transformed or in a graph, are the op ``homfast::measure``. Graphs hold no Python
objects, so it names the operator by the number of its module.
"""

from __future__ import annotations

import itertools
import secrets
import weakref
from typing import Any, TypeAlias

import torch

from homfast.measure.operator import Operator
from homfast.torch import checks
from homfast.torch.dispatch import Entry, apply, below, dual, entry, opaque
from homfast.torch.places import place_of

Tensor: TypeAlias = torch.Tensor


class OperatorModule(torch.nn.Module):
    """A homfast operator, ``operator``, for PyTorch: see `homfast.measure.Operator.to_torch`."""

    def __init__(self, op: Operator):
        super().__init__()
        self.operator = op
        self._register()

    def forward(self, x: Tensor) -> Tensor:
        """``A x`` for each row x of shape (..., n)."""
        if not isinstance(x, Tensor) or x.is_nested:
            checks.check_tensor(x, "x")
        return _measure(x, self.key, False)

    def adjoint(self, y: Tensor) -> Tensor:
        """``A^H y`` for each row y of shape (..., m)."""
        if not isinstance(y, Tensor) or y.is_nested:
            checks.check_tensor(y, "y")
        return _measure(y, self.key, True)

    def extra_repr(self) -> str:
        return repr(self.operator)

    def _register(self) -> None:
        self.key = next(_keys)
        _modules[self.key] = self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._register()  # a number of its own


# Numbers begin anywhere, so that a graph of another process finds nothing rather than a wrong one.
_keys = itertools.count(secrets.randbits(62))
_modules: weakref.WeakValueDictionary[int, OperatorModule] = weakref.WeakValueDictionary()


def _module(key: int) -> OperatorModule:
    module = _modules.get(key)
    if module is None:
        raise RuntimeError(
            "a graph calls an operator that is no longer in this process; keep the module that "
            "op.to_torch() returned for as long as the graph, and trace anew in a new process"
        )
    return module


def _check(x: Tensor, op: Operator, adjoint: bool) -> tuple[int, torch.dtype]:
    """Features and dtype of the result; TypeError or ValueError for what `op` does not take."""
    name, source, (size, dtype) = "x", *op._spaces
    if adjoint:
        name, source, (size, dtype) = "y", (size, dtype), source
    wanted = getattr(torch, source[1].name)
    if x.dtype is not wanted and not (wanted.is_complex and x.dtype is wanted.to_real()):
        if x.is_complex() and not wanted.is_complex:
            raise TypeError(
                f"{name}: got {x.dtype} for a real operator of {wanted}; apply it to {name}.real "
                f"and {name}.imag"
            )
        raise TypeError(
            f"{name}: got {x.dtype}, wanted {wanted}, the dtype of the operator; pass "
            f"{name}.to({wanted}) if that loses nothing you need, or make the operator in another"
        )
    if x.dim() == 0 or x.shape[-1] != source[0]:
        raise ValueError(
            f"{name}: got shape {tuple(x.shape)}, wanted (..., {source[0]}) to match the operator "
            f"of shape {op.shape}"
        )
    op._check_batch(tuple(x.shape[:-1]), name)
    return size, getattr(torch, dtype.name)


# The op -------------------------------------------------------------------------------------------


def _compute(x: Tensor, key: int, adjoint: bool) -> Tensor:
    op = _module(key).operator
    at = place_of(x, "y" if adjoint else "x")
    try:
        array = at.array(x)
        return at.tensor(op.adjoint(array) if adjoint else op.forward(array))
    except (BufferError, RuntimeError, TypeError, ValueError):
        _check(x, op, adjoint)  # which says it in the words of tensors
        raise


def _fake(x: Tensor, key: int, adjoint: bool) -> Tensor:
    size, dtype = _check(x, _module(key).operator, adjoint)
    return x.new_empty((*x.shape[:-1], size), dtype=dtype)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, at: Entry, x: Tensor, key: int, adjoint: bool) -> Tensor:
        # The module itself, so that the way back does not need that somebody else keeps it.
        ctx.options = _module(key), adjoint, x.is_complex()
        return below(_measure, _compute, at, x, key, adjoint)

    @staticmethod
    @opaque
    def backward(ctx: Any, grad_output: Tensor) -> tuple[None, Tensor, None, None]:
        module, adjoint, is_complex = ctx.options
        grad = _measure(grad_output, module.key, not adjoint)
        return None, grad if is_complex or not grad.is_complex() else grad.real, None, None


def _autograd(keyset: Any, x: Tensor, key: int, adjoint: bool) -> Tensor:
    primal, tangent = dual(x)
    if tangent is not None:  # not by a jvp of the Function, which does not see outer levels
        y, dy = _measure(primal, key, adjoint), _measure(tangent, key, adjoint)
        return torch._VF._make_dual(y, dy, level=0)
    at = entry(keyset)
    if x.requires_grad and torch.is_grad_enabled():
        return apply(_Product, at, x, key, adjoint)
    return below(_measure, _compute, at, x, key, adjoint)


def _batched(
    info: Any, in_dims: tuple[Any, ...], x: Tensor, key: int, adjoint: bool
) -> tuple[Tensor, int]:
    axis = len(_module(key).operator._batch_shape)  # behind that of a batch of operators
    return _measure(x.movedim(in_dims[0], axis), key, adjoint), axis


_LIBRARY = torch.library.Library("homfast", "FRAGMENT")
_LIBRARY.define(
    "measure(Tensor x, int key, bool adjoint) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,)
)
_LIBRARY.impl("measure", opaque(_compute), "CompositeExplicitAutograd")
_LIBRARY.impl("measure", opaque(_autograd), "Autograd", with_keyset=True)
torch.library.register_fake("homfast::measure", opaque(_fake), lib=_LIBRARY)
torch.library.register_vmap("homfast::measure", opaque(_batched), lib=_LIBRARY)
_measure = torch.ops.homfast.measure.default
