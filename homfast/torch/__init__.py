"""Bias-free ReLU layers and networks for PyTorch: modules to swap in, ops beneath them.

``homfast.torch.replace(model)`` swaps what it can in place; `LinearReLU` and `ReLUNetwork` are
modules to build with; `linear_relu` and `relu_network` the functions that they call. All take part
in autograd to any order, forward mode, ``torch.func``, ``torch.compile`` and ``torch.export``, on
the CPU and, where homfast was built with CUDA, on its devices.

Needs PyTorch 2.8 or newer, which is in the extra ``torch``; ``import homfast`` does not import it.
"""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"homfast.torch needs the package torch ({error}); pip install 'homfast[torch]'"
    ) from error

from homfast.torch import flops as _flops  # noqa: F401
from homfast.torch.conversion import Replacement, from_sequential, replace
from homfast.torch.modules import FusedSequential, LinearReLU, ReLUNetwork
from homfast.torch.ops import linear_relu, relu_network

__all__ = [
    "FusedSequential",
    "LinearReLU",
    "ReLUNetwork",
    "Replacement",
    "from_sequential",
    "linear_relu",
    "relu_network",
    "replace",
]
