"""Tensors as the arrays that backends take, and back, on the CPU and on a CUDA device.

On the CPU an array is NumPy's, on the memory of the tensor. On a device it is the tensor itself,
which the backend reads where it is, on torch's current stream, with memory from its allocator.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch

from homfast import _arrays, _device_arrays, _host_arrays
from homfast._described import Described
from homfast.torch import checks

Tensor: TypeAlias = torch.Tensor
# From so many rows on a layer's products read packed weights, whoever calls: see homfast.linear.
_PACKED_ROWS = 16


def numpy_of(tensor: Tensor) -> np.ndarray:
    """The memory of a tensor on the CPU, whatever its strides."""
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()


class Host:
    """The CPU's memory."""

    array = staticmethod(numpy_of)
    tensor = staticmethod(torch.from_numpy)
    empty = staticmethod(_host_arrays.empty)
    empty_masks = staticmethod(_host_arrays.empty_masks)

    @staticmethod
    def rows(tensor: Tensor) -> np.ndarray:
        """(..., features) as two axes that kernels take."""
        return _arrays.as_rows(numpy_of(tensor))

    @staticmethod
    def matrix(weight: Tensor) -> np.ndarray:
        """A weight as kernels take it."""
        return _arrays.as_kernel_matrix(numpy_of(weight))

    @staticmethod
    def is_short(x: Tensor) -> bool:
        """Whether `x` has so few rows that packing weights for them does not pay."""
        shape = x.shape
        return len(shape) < 2 or x.numel() < _PACKED_ROWS * shape[-1]


class Device:
    """The memory of CUDA devices; by the same names what `Host` has."""

    empty = staticmethod(_device_arrays.empty)
    empty_masks = staticmethod(_device_arrays.empty_masks)

    @staticmethod
    def array(tensor: Tensor) -> Tensor:
        """Nothing but the memory: no graph, no class of somebody's own."""
        plain = tensor.detach() if tensor.requires_grad else tensor
        return plain if type(plain) is Tensor else plain.as_subclass(Tensor)

    @staticmethod
    def tensor(array: Tensor) -> Tensor:
        """It is one."""
        return array

    @staticmethod
    def rows(tensor: Tensor) -> Any:
        """(..., features) as two axes that kernels take."""
        return _device_arrays.as_rows(Described(Device.array(tensor), "x"))

    @staticmethod
    def matrix(weight: Tensor) -> Any:
        """A weight as kernels take it."""
        return _device_arrays.as_kernel_matrix(Described(Device.array(weight), "weight"))

    @staticmethod
    def is_short(x: Tensor) -> bool:
        """No: nothing is packed there, and a narrow network is one kernel for any rows."""
        return False


def place_of(x: Tensor) -> Any:
    """`Host` or `Device`, where x is computed; TypeError for what no backend here takes."""
    if x.is_cpu and x.layout is torch.strided:
        return Host
    checks.check_device(Device.array(x))
    return Device
