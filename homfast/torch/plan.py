"""Which children of an ``nn.Sequential`` run as one op.

At one row an eager linear layer costs a few microseconds, so that what a call looks up decides. A
plan keeps what was looked up, with what it was looked up from, and each call checks that this still
stands: children, their kinds, hooks and forwards, parameters and slopes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import torch
from torch import nn

from homfast.torch import ops
from homfast.torch.checks import DTYPES

Tensor: TypeAlias = torch.Tensor
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_LARGEST = torch.finfo(torch.float32).max


class Part:
    """Consecutive children: a run of linear layers and activations of one slope, or others.

    Without a slope there is no activation among them, and they run as they are: to a linear layer
    alone an op of ours would bring nothing.
    """

    def __init__(self, children: list[nn.Module], slope: float | None):
        self.children = children
        self.slope = slope
        fused = children if slope is not None else []
        layers = [c for c in fused if type(c) is nn.Linear]
        self.parameters = [c._parameters for c in layers]
        self.last_relu = len(fused) == 2 * len(layers)
        self.hooks = [getattr(c, name) for c in fused for name in _HOOKS]
        self.attributes = [c.__dict__ for c in fused]
        self.leaky = [c for c in fused if type(c) is nn.LeakyReLU]

    def weights(self) -> list[Tensor] | None:
        """The weights as they are now; None if we do not run the children, or no longer."""
        if self.slope is None or any(self.hooks):
            return None
        for attributes in self.attributes:
            if "forward" in attributes:
                return None
        found: list[Tensor] = []
        for parameters in self.parameters:
            weight = parameters.get("weight")
            if weight is None or parameters.get("bias", self) is not None:
                return None
            if weight.dtype not in DTYPES:
                return None
            found.append(weight)
        for child in self.leaky:
            if child.negative_slope != self.slope:
                return None
        return found

    def __call__(self, x: Any, precision: str) -> Any:
        """The children at x: as one op, or as they are."""
        weights = self.weights()
        if weights is not None:
            return ops.network(x, weights, self.slope, self.last_relu, precision)
        for child in self.children:
            x = child(x)
        return x


class Plan:
    """The parts of the children of a module."""

    def __init__(self, children: Iterable[nn.Module]):
        self.children = tuple(children)
        self.kinds = tuple(map(type, self.children))
        self.parts = parts(self.children)

    def holds(self, children: Iterable[nn.Module]) -> bool:
        """Whether these are still the children, and of the same kinds."""
        return tuple(children) == self.children and tuple(map(type, self.children)) == self.kinds


def parts(children: Iterable[nn.Module]) -> list[Part]:
    """`children` in consecutive parts."""
    found: list[Part] = []
    run: list[nn.Module] = []
    layers = 0
    slope: float | None = None
    for child in children:
        kind = type(child)
        plain = kind is nn.Linear and is_plain_linear(child)
        open_layer = len(run) < 2 * layers
        if plain and not open_layer:
            run.append(child)
            layers += 1
            continue
        if open_layer and is_plain_activation(child):
            own = slope_of(child)
            if slope is None or own == slope:
                run.append(child)
                slope = own
                continue
        if run:
            found.append(Part(run, slope))
        run, layers, slope = [child], int(plain), None
        if not plain:
            found.append(Part(run, None))
            run = []
    if run:
        found.append(Part(run, slope))
    return found


def is_plain_linear(child: nn.Module) -> bool:
    """Whether a linear layer is nothing but a weight."""
    parameters = child._parameters
    has_weight = parameters.get("weight") is not None
    return has_weight and parameters.get("bias", child) is None and is_as_built(child)


def is_plain_activation(child: nn.Module) -> bool:
    """Whether an activation is nothing but a slope that kernels take."""
    return type(child) in ACTIVATIONS and is_as_built(child) and abs(slope_of(child)) <= _LARGEST


def is_as_built(child: nn.Module) -> bool:
    """Whether nobody looks at what goes in or out of `child`, or set a forward on it."""
    names = list(child.__dict__)  # a list: torch.compile guards what is iterated, not what is asked
    return "forward" not in names and not any(getattr(child, name) for name in _HOOKS)


def slope_of(child: nn.Module) -> float:
    """The slope of an activation for pre-activations <= 0."""
    return float(getattr(child, "negative_slope", 0.0))
