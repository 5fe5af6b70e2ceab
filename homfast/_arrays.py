"""The questions asked of arrays at the door: library, device, dtype, shape, layout, overlap.

Every public function passes its arguments through here, so that each complaint names the argument,
what came, what was wanted and what to do, and so that backends see plain 2-D NumPy arrays only.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from homfast import _tensors
from homfast._backends.device_library import is_on_device

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# bfloat16 within the package, whoever the array is from: NumPy has no such number of its own.
BFLOAT16 = np.dtype([("bfloat16", "=u2")])
LAYER_DTYPES = (*FLOATS, BFLOAT16)
COMPLEX = (np.dtype(np.complex64), np.dtype(np.complex128))
PRECISIONS = (None, "highest", "high", "medium")
# Of arrays on a GPU that only DLPack can tell about.
_OTHERS = ", or pass torch.from_dlpack or cupy.from_dlpack of it, which copy nothing"
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def host_array(value: Any, name: str, dtypes: tuple[np.dtype, ...] = FLOATS) -> np.ndarray:
    """``value`` as a NumPy array that shares its memory, of one of `dtypes`.

    Raises TypeError for what is not an array of a supported kind on the CPU.
    """
    array = value if type(value) is np.ndarray else _as_numpy(value, name, dtypes)
    dtype = array.dtype
    if dtype.itemsize == 2 and dtypes[-1] is BFLOAT16 and is_bfloat16(dtype):
        return array if dtype is BFLOAT16 else array.view(BFLOAT16)
    if dtype in dtypes:
        return array
    raise TypeError(_dtype_complaint(array.dtype, name, dtypes, _tensors.is_tensor(value)))


@functools.cache  # the name of a dtype takes NumPy microseconds
def is_bfloat16(dtype: np.dtype) -> bool:
    """Whether `dtype` is ours, or the one that ml_dtypes registers, which need not be imported."""
    return dtype == BFLOAT16 or (dtype.name == "bfloat16" and dtype.itemsize == 2)


def dtype_name(dtype: np.dtype) -> str:
    """What to call `dtype` in a message."""
    return "bfloat16" if is_bfloat16(dtype) else str(dtype)


def _as_numpy(value: Any, name: str, dtypes: tuple[np.dtype, ...]) -> np.ndarray:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: got a masked array, whose mask would be lost; pass a plain array, "
            f"for instance {name}.filled(0)"
        )
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    library = type(value).__module__.partition(".")[0]
    if library == "jax" and type(value).__name__.endswith("Tracer"):
        raise TypeError(
            f"{name}: got a value that is being traced by JAX, which has no memory yet; call "
            "homfast.jax, or op.to_jax() for an operator, within functions that JAX transforms"
        )
    if library == "jaxlib" and value.is_deleted():
        raise TypeError(f"{name}: got a JAX array whose memory was deleted or donated; make a copy")
    if _tensors.is_tensor(value):
        _tensors.check_values(value, name)
        value = value.detach()  # an alias: a signal handler may give the tensor itself other memory
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        try:
            kind = int(value.__dlpack_device__()[0])
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise TypeError(
                f"{name}: got a {_type_name(value)} on no device with memory ({error}), "
                f"wanted an array of {_alternatives(dtypes)} in CPU memory"
            ) from error
        if kind != 1:
            raise TypeError(
                f"{name}: got a {_type_name(value)} on a device (DLPack device type {kind}), "
                "wanted an array in CPU memory; move it there yourself, homfast never does"
                f"{_OTHERS if kind in (2, 13) and not is_on_device(value) else ''}"
            )
        if str(getattr(value, "dtype", "")) == "torch.bfloat16":
            import torch

            return np.from_dlpack(value.view(torch.int16)).view(BFLOAT16)
        if library == "jaxlib" and str(value.dtype) == "bfloat16":
            return np.asarray(value)  # of ml_dtypes, which JAX brings; no copy on the CPU
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise TypeError(
                f"{name}: got a {_type_name(value)} of dtype {getattr(value, 'dtype', '?')} that "
                f"NumPy cannot view ({error}); wanted {_alternatives(dtypes)}"
            ) from error
    if hasattr(value, "__array_interface__"):
        return np.asarray(value)
    if is_on_device(value):
        raise TypeError(
            f"{name}: got a {_type_name(value)} on a GPU, wanted an array in CPU memory; move it "
            "there yourself, homfast never does"
        )
    raise TypeError(
        f"{name}: got {_type_name(value)}, wanted an array of {_alternatives(dtypes)}; "
        f"convert with np.asarray({name}, dtype=np.{dtypes[0].name})"
    )


def _alternatives(dtypes: tuple[np.dtype, ...]) -> str:
    names = [dtype_name(d) for d in dtypes]
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _dtype_complaint(
    dtype: np.dtype, name: str, dtypes: tuple[np.dtype, ...], tensor: bool = False
) -> str:
    wanted = _alternatives(dtypes)
    if not dtype.isnative and dtype.newbyteorder("=") in dtypes:
        native = dtype.newbyteorder("=")
        return (
            f"{name}: got byte-swapped {dtype.str}, wanted native byte order; "
            f"pass {name}.astype(np.{native.name})"
        )
    if dtype.kind == "c" and not set(dtypes) & set(COMPLEX):
        return f"{name}: got dtype {dtype}, wanted {wanted}; pass its real part"
    cast = f"to(torch.{dtypes[0].name})" if tensor else f"astype(np.{dtypes[0].name})"
    return (
        f"{name}: got dtype {dtype_name(dtype)}, wanted {wanted}; "
        f"pass {name}.{cast} if that loses nothing you need"
    )


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def check_same_dtype(first: Any, first_name: str, second: Any, name: str) -> None:
    """TypeError unless both have one dtype; nothing is cast in silence."""
    if first.dtype != second.dtype:
        raise TypeError(
            f"{name}: got {dtype_name(second.dtype)} beside {first_name} of "
            f"{dtype_name(first.dtype)}, wanted one dtype; "
            f"cast one of them, for instance {name}.astype({first_name}.dtype), of tensors "
            f"{name}.to({first_name}.dtype)"
        )


def check_matrix(array: Any, name: str, meaning: str) -> None:
    """ValueError unless ``array`` has two axes."""
    if array.ndim != 2:
        raise ValueError(f"{name}: got shape {array.shape}, wanted two axes, {meaning}")


def check_chain(weights: Sequence[Any], names: Sequence[str]) -> None:
    """ValueError unless each matrix, of whatever library, takes what the one before it gives."""
    for before, after in itertools.pairwise(range(len(weights))):
        given, taken = tuple(weights[before].shape), tuple(weights[after].shape)
        if taken[1] != given[0]:
            raise ValueError(
                f"{names[after]}: got shape {taken}, wanted (out_features, {given[0]}) to take the "
                f"output of {names[before]} of shape {given}"
            )


def check_last_axis(array: np.ndarray, name: str, size: int, why: str) -> None:
    """ValueError unless the last axis has ``size`` elements."""
    if array.ndim == 0 or array.shape[-1] != size:
        raise ValueError(f"{name}: got shape {array.shape}, wanted (..., {size}) to match {why}")


def check_precision(precision: Any) -> None:
    """ValueError unless ``precision`` is one of the words of the contract."""
    if not (precision is None or isinstance(precision, str)) or precision not in PRECISIONS:
        raise ValueError(
            f"precision: got {precision!r}, wanted None, 'highest', 'high' or 'medium'"
        )


def check_slope(negative_slope: Any) -> float:
    """``negative_slope`` as a finite float."""
    if isinstance(negative_slope, np.ndarray) and negative_slope.ndim == 0:
        negative_slope = negative_slope[()]
    numbers = (int, float, np.integer, np.floating)
    if not isinstance(negative_slope, numbers) or isinstance(negative_slope, bool):
        raise TypeError(f"negative_slope: got {_type_name(negative_slope)}, wanted a number")
    if not -_LARGEST_FLOAT32 <= negative_slope <= _LARGEST_FLOAT32:
        raise ValueError(
            f"negative_slope: got {str(negative_slope)[:24]}, wanted a number that is finite in "
            "float32"
        )
    return float(negative_slope)


def real_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of real and imaginary parts; of a real dtype itself."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def real_view(array: np.ndarray) -> np.ndarray:
    """Complex rows (..., n) as real ones (..., 2 n) in the same memory; real rows as they are."""
    return array.view(real_dtype(array.dtype)) if array.dtype.kind == "c" else array


def check_seed(seed: Any) -> int:
    """``seed`` as an integer that fits 64 bits."""
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed: got {seed!r}, wanted an integer, 0 <= seed < 2**64")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed: got {seed}, wanted 0 <= seed < 2**64")
    return int(seed)


def check_real(value: Any, name: str, wanted: str = "a number") -> float:
    """``value`` as a float; TypeError for what is no real number."""
    kinds = (int, float, np.integer, np.floating)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kinds):
        raise TypeError(f"{name}: got {value!r}, wanted {wanted}")
    return float(value)


def check_flag(value: Any, name: str) -> bool:
    """``value`` as True or False; TypeError for what is neither."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: got {value!r}, wanted True or False")
    return bool(value)


def check_float_dtype(dtype: Any, dtypes: tuple[np.dtype, ...] = FLOATS) -> np.dtype:
    """``dtype`` as one of those that kernels take, or of `dtypes`."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if dtype is None or found is None or found not in dtypes:  # None is float64 to NumPy
        names = ", ".join(d.name for d in dtypes[:-1])
        raise TypeError(f"dtype: got {dtype!r}, wanted {names} or {dtypes[-1].name}")
    return found


def as_rows(array: np.ndarray) -> np.ndarray:
    """(..., features) as (rows, features) with a contiguous last axis.

    A row-strided array is viewed; any other layout is copied once, as np.matmul does.
    """
    if array.ndim != 2:
        rows = math.prod(array.shape[:-1])
        array = array.reshape(rows, array.shape[-1])
    return as_kernel_matrix(array)


def as_kernel_matrix(array: np.ndarray) -> np.ndarray:
    """A 2-D array in a layout kernels take: aligned, last axis contiguous, whole element steps."""
    itemsize = array.itemsize
    row_stride, column_stride = array.strides
    if (
        array.flags.aligned
        and (column_stride == itemsize or array.shape[1] <= 1)
        and row_stride % itemsize == 0
    ):
        return array
    return np.array(array, order="C")  # ascontiguousarray would keep an unaligned array


def mask_rows(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Check a bit mask for pre-activations of ``shape`` and return it as rows of bytes."""
    if type(mask) is not np.ndarray:
        mask = _as_numpy(mask, "mask", (np.dtype(np.uint8),))
    if mask.dtype != np.uint8:
        raise TypeError(
            f"mask: got dtype {mask.dtype}, wanted uint8 bits; pack booleans with "
            "np.packbits(mask, axis=-1, bitorder='little')"
        )
    wanted = (*shape[:-1], (shape[-1] + 7) // 8)
    if mask.shape != wanted:
        raise ValueError(
            f"mask: got shape {mask.shape}, wanted {wanted}, one bit for each of {shape}"
        )
    return as_rows(mask)


def prepare_out(
    out: Any, shape: tuple[int, ...], dtype: np.dtype, inputs: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, Callable[[], Any]]:
    """Where a kernel is to write for ``out`` (or None), and what to call after it has.

    An ``out`` that overlaps an input, or whose layout no kernel takes, is written through a
    buffer. The callable returns the array to give to the user, of shape ``shape``.
    """
    if out is None:
        result = new(shape, dtype)
        return _rows_of_contiguous(result), lambda: result
    target = out if isinstance(out, np.ndarray) else _as_numpy(out, "out", (dtype,))
    if isinstance(target, np.ma.MaskedArray):
        raise TypeError("out: got a masked array, wanted a plain array")
    if dtype == BFLOAT16 and is_bfloat16(target.dtype):
        target = target.view(BFLOAT16)
    if target.dtype != dtype:
        raise TypeError(
            f"out: got dtype {dtype_name(target.dtype)}, wanted {dtype_name(dtype)}, the dtype of "
            "the inputs"
        )
    if target.shape != shape:
        raise ValueError(f"out: got shape {target.shape}, wanted {shape}")
    if not target.flags.writeable:
        raise ValueError("out: got a read-only array, wanted a writable one")
    direct = target.flags.c_contiguous or (
        target.ndim == 2 and as_kernel_matrix(target) is target and _rows_are_apart(target)
    )
    if direct and target.flags.aligned and not any(np.may_share_memory(target, i) for i in inputs):
        rows = target if target.ndim == 2 else _rows_of_contiguous(target)
        return rows, lambda: out
    check_elements_apart(shape, target.strides, target.itemsize)
    buffer = new(shape, dtype)

    def finish() -> Any:
        target[...] = buffer
        return out

    return _rows_of_contiguous(buffer), finish


def check_elements_apart(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> None:
    """ValueError for an ``out`` where results would be lost: some of its elements are others."""
    reach = itemsize  # of what the axes of smaller strides lay out
    for stride, size in sorted((abs(s), n) for s, n in zip(strides, shape, strict=True) if n > 1):
        if stride < reach and 0 not in shape:
            raise ValueError(
                f"out: got an array whose elements lie over or between each other (shape {shape}, "
                f"strides {strides} in bytes), wanted a place for each; pass a copy"
            )
        reach += stride * (size - 1)


def new(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """``numpy.empty``; a MemoryError that says what to do, for more bytes than addresses too."""
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError):
        raise MemoryError(
            f"out: a result of shape {shape} in {dtype_name(np.dtype(dtype))} finds no memory; "
            "call with fewer rows at a time"
        ) from None


def _rows_of_contiguous(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        return array
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _rows_are_apart(matrix: np.ndarray) -> bool:
    return matrix.shape[0] <= 1 or abs(matrix.strides[0]) >= matrix.shape[1] * matrix.itemsize


def result_like(result: np.ndarray, source: Any) -> Any:
    """``result`` in the array library of ``source``, sharing memory."""
    if isinstance(source, np.ndarray):
        return result.view(source.dtype) if result.dtype == BFLOAT16 else result
    module = type(source).__module__.partition(".")[0]
    if _tensors.is_tensor(source):
        import torch

        if result.dtype == BFLOAT16:
            return torch.from_numpy(result.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(result)
    namespace = getattr(source, "__array_namespace__", None)
    if module == "jaxlib" and result.dtype == BFLOAT16 and namespace is not None:
        return namespace().asarray(result.view(source.dtype))
    if namespace is None:
        return result
    array = namespace().from_dlpack(result)
    device = getattr(source, "device", None)
    if device is not None and array.device != device:  # one that its library calls another
        raise TypeError(
            f"got an array of {module} on {device}, wanted one on {array.device}; move it there "
            "yourself, homfast never does"
        )
    return array
