"""The array libraries of a device, asked for what kernels need: memory, and the current stream.

Results and scratch come from the library of the inputs, so that its allocator, its streams and its
CUDA graphs see them; homfast allocates nothing on a device itself.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


class _Torch:
    """torch tensors."""

    @staticmethod
    def stream(array):
        torch = sys.modules["torch"]
        return torch.cuda.current_stream(array.device).cuda_stream

    @staticmethod
    def empty(shape, dtype, like):
        torch = sys.modules["torch"]
        return torch.empty(shape, dtype=getattr(torch, np.dtype(dtype).name), device=like.device)

    @staticmethod
    def upload(host, like):
        torch = sys.modules["torch"]
        signed = host.view(f"i{host.itemsize}") if host.dtype.kind == "u" else host
        return torch.from_numpy(np.ascontiguousarray(signed)).to(like.device)


class _CuPy:
    """CuPy arrays."""

    @staticmethod
    def stream(array):
        return sys.modules["cupy"].cuda.get_current_stream().ptr

    @staticmethod
    def empty(shape, dtype, like):
        with like.device:
            return sys.modules["cupy"].empty(shape, dtype)

    @staticmethod
    def upload(host, like):
        with like.device:
            return sys.modules["cupy"].asarray(host)


class _Standard:
    """Others: an array API namespace for memory, the stream that the interface names."""

    @staticmethod
    def stream(array):
        return array.__cuda_array_interface__.get("stream") or 1  # 1: the legacy default stream

    @staticmethod
    def empty(shape, dtype, like):
        namespace = like.__array_namespace__()
        return namespace.empty(shape, dtype=np.dtype(dtype), device=like.device)

    @staticmethod
    def upload(host, like):
        return like.__array_namespace__().asarray(host, device=like.device)


_KNOWN = {"torch": _Torch, "cupy": _CuPy}


def library_of(array: Any) -> Any:
    """The functions ``stream``, ``empty`` and ``upload`` for arrays of this kind."""
    return _KNOWN.get(type(array).__module__.partition(".")[0], _Standard)


def is_on_device(array: Any) -> bool:
    """Whether `array` is on a CUDA device, by what its library says."""
    if type(array).__module__.partition(".")[0] == "torch":
        return bool(getattr(array, "is_cuda", False))
    return hasattr(array, "__cuda_array_interface__")


def dtype_of(array: Any) -> np.dtype:
    """NumPy's name for the dtype of an array of any library."""
    dtype = array.dtype
    return dtype if isinstance(dtype, np.dtype) else np.dtype(str(dtype).rpartition(".")[2])
