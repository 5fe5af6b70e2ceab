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
_to_dlpack = torch.utils.dlpack.to_dlpack
_own_memory = Tensor.__torch_dispatch__


class _Exported:
    """A capsule in the words that NumPy asks for."""

    __slots__ = ("capsule",)

    def __init__(self, capsule: Any):
        self.capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0  # the CPU


def numpy_of(tensor: Tensor) -> np.ndarray:
    """The memory of a tensor on the CPU, whatever its strides, to read.

    Not by ``tensor.numpy()``, after which the storage cannot be resized: FSDP frees weights so.
    """
    if type(tensor).__torch_dispatch__ is not _own_memory:
        raise TypeError(
            f"x or a weight: got a {type(tensor).__name__}, which has no memory of its own; "
            "call the op, which asks its __torch_dispatch__"
        )
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    if not tensor.data_ptr() and tensor.numel():
        raise ValueError(
            f"x or a weight: got a tensor of shape {tuple(tensor.shape)} whose memory was freed, "
            "wanted one with its values; resize its storage and fill it first"
        )
    # Of an alias: a signal handler within a call may give the tensor itself other memory.
    return np.from_dlpack(_Exported(_to_dlpack(tensor.detach())))


class Host:
    """The CPU's memory."""

    array = staticmethod(numpy_of)
    empty = staticmethod(_host_arrays.empty)
    empty_masks = staticmethod(_host_arrays.empty_masks)

    @staticmethod
    def tensor(array: np.ndarray) -> Tensor:
        """A tensor of that memory; of none, with the strides that PyTorch gives one."""
        tensor = torch.from_numpy(array)
        return tensor if array.size else tensor.new_empty(array.shape)

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
        if plain.is_neg():
            plain = plain.resolve_neg()
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


def place_of(x: Tensor, name: str = "x") -> Any:
    """`Host` or `Device`, where x is computed; TypeError for what no backend here takes."""
    if x.is_cpu and x.layout is torch.strided:
        return Host
    checks.check_device(Device.array(x), name)
    return Device
