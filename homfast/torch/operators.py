"""Measurement operators as modules, what `homfast.measure.Operator.to_torch` gives.

A call of eager mode is an autograd Function of the operator itself. Compiled and exported graphs
hold no Python objects: there it is the op ``homfast::measure``, which names the operator by a
number.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Any, TypeAlias

import torch

from homfast.measure.operator import Operator

Tensor: TypeAlias = torch.Tensor


class OperatorModule(torch.nn.Module):
    """A homfast operator, ``operator``, for PyTorch: see `homfast.measure.Operator.to_torch`."""

    def __init__(self, op: Operator):
        super().__init__()
        self.operator = op
        self.key = next(_keys)
        _modules[self.key] = self

    def forward(self, x: Tensor) -> Tensor:
        """``A x`` for each row x of shape (..., n)."""
        if torch.compiler.is_compiling():
            return _measure(x, self.key, False)
        return _Product.apply(x, self.operator)

    def adjoint(self, y: Tensor) -> Tensor:
        """``A^H y`` for each row y of shape (..., m)."""
        if torch.compiler.is_compiling():
            return _measure(y, self.key, True)
        return _Product.apply(y, self.operator.H)

    def extra_repr(self) -> str:
        return repr(self.operator)

    def __reduce__(self) -> tuple[Any, ...]:
        return OperatorModule, (self.operator,)


class _Product(torch.autograd.Function):
    # forward apart from setup_context, and a vmap rule: what torch.func asks for.
    @staticmethod
    def forward(x: Tensor, op: Operator) -> Tensor:
        # Autograd passes conjugates as flags on memory that NumPy would read without them.
        return op.forward(x.detach().resolve_conj().resolve_neg())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.op = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        return _Product.apply(grad_output, ctx.op.H), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return _Product.apply(tangent, ctx.op)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], x: Tensor, op: Operator) -> tuple[Tensor, Any]:
        if in_dims[0] is None:
            return _Product.apply(x, op), None
        return _Product.apply(x.movedim(in_dims[0], 0), op), 0


# In graphs ----------------------------------------------------------------------------------------

# Graphs name an operator by a number: of modules that somebody else keeps.
_keys = itertools.count()
_modules: weakref.WeakValueDictionary[int, OperatorModule] = weakref.WeakValueDictionary()


def _of_graph(key: int, adjoint: bool) -> Operator:
    module = _modules.get(key)
    if module is None:
        raise RuntimeError(
            "a graph calls an operator that is no longer in this process; keep the module that "
            "op.to_torch() returned for as long as the graph, and trace anew in a new process"
        )
    return module.operator.H if adjoint else module.operator


def _product(x: Tensor, key: int, adjoint: bool) -> Tensor:
    op = _of_graph(key, adjoint)
    return op.forward(x.detach().resolve_conj().resolve_neg()).contiguous()


def _fake(x: Tensor, key: int, adjoint: bool) -> Tensor:
    op = _of_graph(key, adjoint)
    wanted, dtype = (getattr(torch, d.name) for d in (op.input_dtype, op.output_dtype))
    if x.dtype != wanted:
        raise TypeError(f"x: got {x.dtype}, wanted {wanted}, the dtype of the operator")
    m, n = op.shape
    if x.dim() == 0 or x.shape[-1] != n:
        raise ValueError(f"x: got shape {tuple(x.shape)}, wanted (..., {n})")
    return x.new_empty((*x.shape[:-1], m), dtype=dtype)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, ctx.key, ctx.adjoint = inputs


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
    return _measure(grad_output, ctx.key, not ctx.adjoint), None, None


def _batched(
    info: Any, in_dims: tuple[Any, ...], x: Tensor, key: int, adjoint: bool
) -> tuple[Tensor, int]:
    return _measure(x.movedim(in_dims[0], 0), key, adjoint), 0


_op = torch.library.custom_op(
    "homfast::measure",
    _product,
    mutates_args=(),
    schema="(Tensor x, int key, bool adjoint) -> Tensor",
)
_op.register_fake(_fake)
_op.register_autograd(_backward, setup_context=_setup_context)
_op.register_vmap(_batched)
_measure = torch.ops.homfast.measure.default
