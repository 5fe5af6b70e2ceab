"""Which children of an ``nn.Sequential`` run as one op, and the short way of a call of few rows.

At one row an eager linear layer costs a few microseconds, so that what a call looks up and how
often it crosses into PyTorch decides. A plan keeps what was looked up, with what it was looked up
from, and each call checks that this still stands: children, their kinds, hooks and forwards,
parameters and slopes. Of a weight it keeps a view of its memory, never the values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.autograd import forward_ad

from homfast import _backends
from homfast.torch import kernels, ops
from homfast.torch.checks import DTYPES
from homfast.torch.places import numpy_of

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
        self.views: list[Any] = [None] * len(layers)

    def weights(self) -> list[Tensor] | None:
        """The weights as they are now; None if the children are no run, or no longer one."""
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

    def __call__(self, x: Any, weights: list[Tensor], precision: str) -> Any:
        """The op at x."""
        if not _traces() and precision == "highest" and _is_plain(x, weights):
            y = self._short_way(x, weights)
            if y is not None:
                return y
        return ops.network(x, weights, self.slope, self.last_relu, precision)

    def _short_way(self, x: Tensor, weights: list[Tensor]) -> Tensor | None:
        """As `kernels.forward`, a layer at a time; None for what has to be looked at."""
        if x.layout is not torch.strided or not x.data_ptr():
            return None
        values = numpy_of(x)
        short_way, slope, views = _backends.short_way, self.slope, self.views
        last = len(weights) - 1
        for index, weight in enumerate(weights):
            view = views[index]
            if (
                view is None
                or view[1] != weight.data_ptr()
                or view[2] != weight.shape
                or view[3] != weight.stride()
                or view[4] is not weight.dtype
                or weight.is_neg()
            ):
                if not weight.is_cpu or not weight.data_ptr() or weight.is_neg():
                    return None
                view = views[index] = _view(weight)
            relu = index < last or self.last_relu
            values = short_way(values, view[0], relu, slope if relu else 0.0, False, None)
            if values is None:
                return None
        return torch.from_numpy(values)


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


def _view(weight: Tensor) -> tuple[Any, ...]:
    """An array on the memory of a weight, which it keeps, and what it was made from."""
    return (
        numpy_of(weight), weight.data_ptr(), weight.shape, weight.stride(), weight.dtype,
    )  # fmt: skip


# Up to so many rows what the dispatcher costs is more than a pass through all layers at once saves.
_FEW_ROWS = 64
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
_Parameter = nn.Parameter


def _is_plain(x: Any, weights: list[Tensor]) -> bool:
    """Whether a call is of few rows, without a derivative, and nobody looks at it but us."""
    if type(x) is not Tensor or x.dtype not in kernels.PLAIN_DTYPES or not x.is_cpu or x.is_nested:
        return False
    shape = x.shape
    if not shape or x.numel() > _FEW_ROWS * shape[-1]:
        return False
    for weight in weights:
        if type(weight) is not _Parameter:
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
