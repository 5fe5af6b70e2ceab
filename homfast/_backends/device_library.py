"""The array libraries of a device, asked for what kernels need: memory, the current stream, copies.

Results and scratch come from the library of the inputs, so that its allocator, its streams and its
CUDA graphs see them; homfast allocates nothing on a device itself. Shapes are tuples, dtypes
NumPy's; bfloat16, which NumPy lacks, is a structured one of two bytes with that name.

`functions` are what `transforms` calls: NumPy's, and ``reverse``, which turns rows round. They are
for arrays with NumPy's arithmetic, assignment to index arrays, and views ``real`` and ``imag``:
None where the library has not all of that. `as_real` is a contiguous complex matrix as the real one
that it is in memory, (m, 2 n).
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
import types
from typing import Any

import numpy as np


def is_half(dtype: np.dtype) -> bool:
    """Whether `dtype` is the package's mark for bfloat16."""
    return dtype.names == ("bfloat16",)


def _allocating(method):
    """Give what the library lacks memory for its shape, its device and a fix, as a MemoryError."""

    @functools.wraps(method)
    def named(first, *rest):
        try:
            return method(first, *rest)
        except Exception as error:
            # torch's is a RuntimeError, CuPy's a MemoryError
            if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":
                raise
            shape, like = getattr(first, "shape", first), rest[-1] if rest else first
            dtype = np.dtype(rest[0]) if len(rest) > 1 else first.dtype
            itemsize = dtype.itemsize  # torch's dtypes have it too
            raise MemoryError(
                f"an array of shape {tuple(shape)} needs {math.prod(shape) * itemsize / 2**30:.4g} "
                f"GiB on GPU {library_of(like).device(like)}, which its library cannot give "
                f"({error}); call with fewer rows at a time, or free what is not needed"
            ) from error

    return named


class _Torch:
    """torch tensors."""

    name = "torch"

    @staticmethod
    def stream(array):
        torch = sys.modules["torch"]
        return torch.cuda.current_stream(array.device).cuda_stream

    @staticmethod
    @_allocating
    def empty(shape, dtype, like):
        torch, dtype = sys.modules["torch"], np.dtype(dtype)
        kind = torch.bfloat16 if is_half(dtype) else getattr(torch, dtype.name)
        return torch.empty(tuple(shape), dtype=kind, device=like.device)

    @staticmethod
    @_allocating
    def upload(host, like):
        torch = sys.modules["torch"]
        signed = host.view(f"i{host.itemsize}") if host.dtype.kind == "u" else host
        if is_half(host.dtype):
            signed = host.view(np.int16)
        moved = torch.from_numpy(np.require(signed, requirements="CW")).to(like.device)
        return moved.view(torch.bfloat16) if is_half(host.dtype) else moved

    @staticmethod
    def download(array):
        return _Torch.bits(array).cpu().numpy()

    @staticmethod
    def bits(array):
        torch = sys.modules["torch"]
        return array.view(torch.int16) if array.dtype == torch.bfloat16 else array

    @staticmethod
    def as_real(array):
        return sys.modules["torch"].view_as_real(array).flatten(1)

    @staticmethod
    @_allocating
    def contiguous(array):
        return array.contiguous()

    @staticmethod
    @_allocating
    def copy(array):
        return array.clone(memory_format=sys.modules["torch"].contiguous_format)

    @staticmethod
    def assign(array, values):
        array.copy_(values)

    @staticmethod
    def zero(array):
        array.zero_()

    @staticmethod
    def add(array, values):
        array.add_(values)

    @staticmethod
    def functions(like):
        torch = sys.modules["torch"]
        return types.SimpleNamespace(
            empty=lambda shape, dtype: _Torch.empty(shape, dtype, like),
            concatenate=torch.concatenate,
            reverse=lambda rows: rows.flip(1),
            fft=torch.fft,
        )

    @staticmethod
    def repeated(array, rows):
        return array.expand(rows, array.shape[1])

    @staticmethod
    def reshape(array, shape):
        return array.reshape(shape)

    @staticmethod
    @_allocating
    def swapped(array):
        return array.transpose(1, 2).contiguous()

    @staticmethod
    def device(array):
        return array.device.index or 0

    @staticmethod
    def current(array):
        return contextlib.nullcontext()  # allocations name their device


class _CuPy:
    """CuPy arrays."""

    name = "cupy"

    @staticmethod
    def stream(array):
        with array.device:
            return sys.modules["cupy"].cuda.get_current_stream().ptr

    @staticmethod
    @_allocating
    def empty(shape, dtype, like):
        cupy, dtype = sys.modules["cupy"], np.dtype(dtype)
        with like.device:
            return cupy.empty(shape, _half() if is_half(dtype) else dtype)

    @staticmethod
    @_allocating
    def upload(host, like):
        cupy = sys.modules["cupy"]
        with like.device:
            moved = cupy.asarray(host.view(np.uint16) if is_half(host.dtype) else host)
            cupy.cuda.get_current_stream().synchronize()  # other streams may read it, too
        return moved.view(_half()) if is_half(host.dtype) else moved

    @staticmethod
    def download(array):
        return _CuPy.bits(array).get()

    @staticmethod
    def bits(array):
        return array.view(np.uint16) if array.dtype.name == "bfloat16" else array

    @staticmethod
    def as_real(array):
        return array.view(array.real.dtype)

    @staticmethod
    @_allocating
    def contiguous(array):
        with array.device:
            return sys.modules["cupy"].ascontiguousarray(array)

    @staticmethod
    @_allocating
    def copy(array):
        with array.device:
            return array.copy(order="C")

    @staticmethod
    def assign(array, values):
        with array.device:
            array[...] = values

    @staticmethod
    def zero(array):
        with array.device:
            array.fill(0)

    @staticmethod
    def add(array, values):
        with array.device:
            array += values

    @staticmethod
    def functions(like):
        cupy = sys.modules["cupy"]
        return types.SimpleNamespace(
            empty=cupy.empty,
            concatenate=cupy.concatenate,
            reverse=lambda rows: rows[:, ::-1],
            fft=cupy.fft,
        )

    @staticmethod
    def repeated(array, rows):
        return sys.modules["cupy"].broadcast_to(array, (rows, array.shape[1]))

    @staticmethod
    def reshape(array, shape):
        return array.reshape(shape)

    @staticmethod
    @_allocating
    def swapped(array):
        with array.device:
            return sys.modules["cupy"].ascontiguousarray(array.swapaxes(1, 2))

    @staticmethod
    def device(array):
        return int(array.device.id)

    @staticmethod
    def current(array):
        return array.device


class _Standard:
    """Others: an array API namespace for memory, the stream that the interface names."""

    name = "array API"

    @staticmethod
    def stream(array):
        return array.__cuda_array_interface__.get("stream") or 1  # 1: the legacy default stream

    @staticmethod
    def _namespace(like):
        if not hasattr(like, "__array_namespace__"):
            raise TypeError(
                f"got a {type(like).__module__}.{type(like).__qualname__} on a GPU, whose library "
                "has no array namespace to make results in; pass CuPy arrays or torch tensors, for "
                "instance cupy.asarray(x), which copies nothing"
            )
        return like.__array_namespace__()

    @staticmethod
    @_allocating
    def empty(shape, dtype, like):
        namespace, dtype = _Standard._namespace(like), np.dtype(dtype)
        return namespace.empty(tuple(shape), dtype=dtype, device=like.device)

    @staticmethod
    @_allocating
    def upload(host, like):
        return _Standard._namespace(like).asarray(host, device=like.device)

    @staticmethod
    def download(array):
        return np.array(np.from_dlpack(array, device="cpu"))

    @staticmethod
    def bits(array):
        return array

    @staticmethod
    @_allocating
    def contiguous(array):
        return _Standard.copy(array)

    @staticmethod
    @_allocating
    def copy(array):
        return _Standard._namespace(array).asarray(array, device=array.device, copy=True)

    @staticmethod
    def assign(array, values):
        array[...] = values

    @staticmethod
    def zero(array):
        namespace = _Standard._namespace(array)
        array[...] = namespace.zeros(array.shape, dtype=array.dtype, device=array.device)

    @staticmethod
    def add(array, values):
        array[...] = _Standard._namespace(array).add(array, values)

    @staticmethod
    def functions(like):
        return None  # the standard has no views of parts, and assigns to no index arrays

    @staticmethod
    def repeated(array, rows):
        return _Standard._namespace(array).broadcast_to(array, (rows, array.shape[1]))

    @staticmethod
    def reshape(array, shape):
        return _Standard._namespace(array).reshape(array, tuple(shape))

    @staticmethod
    @_allocating
    def swapped(array):
        return _Standard.copy(_Standard._namespace(array).permute_dims(array, (0, 2, 1)))

    @staticmethod
    def device(array):
        kind = getattr(array, "__dlpack_device__", None)
        return int(kind()[1]) if kind is not None else str(array.device)

    @staticmethod
    def current(array):
        return contextlib.nullcontext()


def _half():
    """bfloat16 for CuPy, which has it from ml_dtypes too."""
    from ml_dtypes import bfloat16

    return np.dtype(bfloat16)


_KNOWN = {"torch": _Torch, "cupy": _CuPy}


def _root(array: Any) -> str:
    return type(array).__module__.partition(".")[0]


def library_of(array: Any) -> Any:
    """What is known of the library of such arrays, or of the array API standard."""
    return _KNOWN.get(_root(array), _Standard)


def is_on_device(array: Any) -> bool:
    """Whether `array` is on a CUDA device, by what its library says."""
    if _root(array) == "torch":
        return bool(getattr(array, "is_cuda", False))
    return hasattr(array, "__cuda_array_interface__")


def dtype_of(array: Any) -> np.dtype:
    """NumPy's name for the dtype of an array of any library."""
    dtype = array.dtype
    return dtype if isinstance(dtype, np.dtype) else np.dtype(str(dtype).rpartition(".")[2])
