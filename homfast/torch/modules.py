"""Modules to build with, whose parameters and state dicts are those of ``torch.nn``."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from homfast import _arrays
from homfast.torch import ops
from homfast.torch.plan import Part, Plan, parts
from homfast.weights import checked_widths


class LinearReLU(nn.Linear):
    """``relu(input @ weight.T)``, a linear layer without bias and its ReLU in one op.

    Parameters
    ----------
    in_features, out_features : int
    negative_slope : float
        Slope for pre-activations <= 0; 0 is ReLU.
    precision : {"highest", "high", "medium"}
        Accuracy of float32 products, as in `homfast.linear`.
    device, dtype
        As in ``torch.nn.Linear``, whose initialisation and state dict (``weight``) it has.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        negative_slope: float = 0.0,
        precision: str = "highest",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(in_features, out_features, bias=False, device=device, dtype=dtype)
        _arrays.check_precision(precision)
        self.negative_slope = _arrays.check_slope(negative_slope)
        self.precision = precision

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """``relu(input @ weight.T)`` for input (..., in_features)."""
        return ops.linear_relu(input, self.weight, self.negative_slope, precision=self.precision)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}{_slope_text(self.negative_slope)}"


class FusedSequential(nn.Sequential):
    """An ``nn.Sequential`` that runs layers without biases and their ReLUs as one op.

    What `homfast.torch.replace` makes of an ``nn.Sequential``, whose children, parameters and
    names it keeps. Each run ``Linear(bias=False), ReLU, Linear(bias=False), ...`` among its
    children is one op, of all its layers; other children run as they are. So do children with
    hooks, parametrizations, biases, a ``forward`` of their own or a dtype that homfast has no
    products in, whenever they get them.
    """

    precision = "highest"

    def forward(self, input: Any) -> Any:
        """The children, one after the other."""
        x = input  # as nn.Sequential calls its argument, which may be passed by name
        for part in self._parts():
            x = part(x, self.precision)
        return x

    def _parts(self) -> list[Part]:
        if torch.compiler.is_dynamo_compiling():
            return parts(self)
        plan = self.__dict__.get("_plan")
        if plan is None or not plan.holds(self._modules.values()):
            plan = self.__dict__["_plan"] = Plan(self._modules.values())
        return plan.parts

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_plan"}

    def __getitem__(self, index: Any) -> nn.Module:
        if isinstance(index, slice):
            part = FusedSequential(OrderedDict(list(self._modules.items())[index]))
            part.precision = self.precision
            return part
        return super().__getitem__(index)


class ReLUNetwork(FusedSequential):
    """A bias-free ReLU network as a module: ``Linear, ReLU, Linear, ..., Linear``, run as one op.

    Parameters
    ----------
    widths : sequence of int
        Input width, hidden widths, output width.
    negative_slope : float
        Slope of the hidden units for pre-activations <= 0; 0 is ReLU.
    precision : {"highest", "high", "medium"}
        Accuracy of float32 products, as in `homfast.linear`.
    device, dtype
        Of the parameters.

    Notes
    -----
    Its children are ``nn.Linear(bias=False)`` and ``nn.ReLU`` (or ``nn.LeakyReLU``), initialised as
    those are, so that its state dict is that of the ``nn.Sequential`` of them, both ways.

    Examples
    --------
    >>> import torch, homfast.torch
    >>> net = homfast.torch.ReLUNetwork([128, 512, 512, 256])
    >>> list(net.state_dict())
    ['0.weight', '2.weight', '4.weight']
    >>> net(torch.zeros(3, 128)).shape
    torch.Size([3, 256])
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        negative_slope: float = 0.0,
        precision: str = "highest",
        device: Any = None,
        dtype: Any = None,
    ):
        sizes = checked_widths(widths)
        _arrays.check_precision(precision)
        slope = _arrays.check_slope(negative_slope)
        children: list[nn.Module] = []
        for fan_in, fan_out in itertools.pairwise(sizes):
            children.append(nn.Linear(fan_in, fan_out, bias=False, device=device, dtype=dtype))
            children.append(nn.LeakyReLU(slope) if slope else nn.ReLU())
        super().__init__(*children[:-1])
        self.precision = precision

    @property
    def weights(self) -> tuple[torch.Tensor, ...]:
        """The parameters, first layer first."""
        return tuple(child.weight for child in self if isinstance(child, nn.Linear))

    @property
    def widths(self) -> tuple[int, ...]:
        """Input width, hidden widths, output width."""
        weights = self.weights
        return (weights[0].shape[1], *(w.shape[0] for w in weights))


def _slope_text(slope: float) -> str:
    return f", negative_slope={slope}" if slope else ""
