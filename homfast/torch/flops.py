"""How many operations a pass has, for ``torch.utils.flop_counter``: two for each weight and row.

As PyTorch counts its own layers: products alone, not activations.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from homfast.torch import ops  # noqa: F401 (which registers them)

_ops = torch.ops.homfast


@register_flop_formula([_ops.relu_network, _ops.relu_network_keep, _ops.relu_network_tangent])
def _forward(x: Any, weights: Any, *_: Any, **_out: Any) -> int:
    return sum(_layer(x, weight) for weight in weights)


@register_flop_formula(_ops.relu_network_backward)
def _backward(
    grad_output: Any,
    x: Any,
    weights: Any,
    hidden: Any,
    masks: Any,
    negative_slope: float,
    precision: str,
    input_needed: bool,
    weights_needed: bool,
    **_out: Any,
) -> int:
    counts = [_layer(x, weight) for weight in weights]
    through = sum(counts if input_needed else counts[1:])
    return through + (sum(counts) if weights_needed else 0)


def _layer(x: Any, weight: Any) -> int:
    return 2 * math.prod(x[:-1]) * math.prod(weight)
