"""CuPy behind the backend protocol: for GPU arrays where homfast's own CUDA is not installed.

Products are cuBLAS's, whose order of summation the bits inherit; masks, updates and seeded entries
are kernels of ``cupy_kernels.cu``, with the bits of the reference. Work goes to the device of the
arrays and to CuPy's current stream. CuPy is imported when it is asked for, not with homfast.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np

from homfast._backends import normal
from homfast._backends.layerwise import LayerwiseNetwork, LayerwiseTraining
from homfast._backends.streams import ROW_PERMUTATION, SPARSE_SIGN, stream_word

name = "cupy"
fast_signs = False

_THREADS = 128  # of a block
_SEEDED_PART = 1 << 24  # entries of a seeded matrix that are in memory at a time
_MISSING = "CuPy is not installed; pip install 'homfast[cupy]'"

_xp: Any = None
_reason: str | None = None


def _probe():
    """CuPy, or None for the reason in `_reason`; asks the driver for devices, makes no context."""
    global _xp, _reason
    if _reason is not None:
        return _xp
    if "cupy" not in sys.modules and importlib.util.find_spec("cupy") is None:
        _reason = _MISSING
        return None
    try:
        import cupy
    except Exception as error:  # also of a library that the import loads
        _reason = f"CuPy cannot be imported: {error}"
        return None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        _reason = f"CuPy {cupy.__version__} finds no GPU: {error}"
        return None
    if not count:
        _reason = f"CuPy {cupy.__version__} finds no GPU"
        return None
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        _reason = f"CuPy lacks NVRTC, which compiles kernels ({error}); pip install 'homfast[cupy]'"
        return None
    _xp, _reason = cupy, ""
    return _xp


def is_available():
    return _probe() is not None


def why_unavailable():
    _probe()
    return _reason


def accepts(array):
    return _probe() is not None and isinstance(array, _xp.ndarray)


def array_module():
    """The library whose arrays the ops take."""
    return _xp


# Kernels -----------------------------------------------------------------------------------------


def source() -> str:
    """The text of the kernels, with the constants of the reference in front."""
    lines = []
    for key, text in normal._constants.items():
        suffix = "f" if "32" in key else ""
        terms = ", ".join(c + suffix for c in text.split())
        if key.startswith("-2 ln 2"):
            lines.append(f"#define MINUS_2_LN_2_{key[-2:]} ({terms})")
        else:
            lines.append(f"#define {key} {{{terms}}}")
    path = Path(__file__).with_name("cupy_kernels.cu")
    return "\n".join([*lines, path.read_text(encoding="utf-8")])


@functools.cache
def _module():
    return _xp.RawModule(code=source(), options=("--std=c++17", "--fmad=false"))


def _launch(kernel, items, *arguments):
    """One thread an item; arrays go as pointers, NumPy scalars by value."""
    if items > 0:
        blocks = -(-items // _THREADS)
        _module().get_function(kernel)((blocks,), (_THREADS,), arguments)


def _stride(array):
    return np.int64(array.strides[0] // array.itemsize)


def _on_device(op):
    """The op on the device of its arrays; the current device is afterwards what it was."""

    @functools.wraps(op)
    def on_its_device(*arguments, **options):
        arrays = (a for a in (*arguments, *options.values()) if isinstance(a, _xp.ndarray))
        first = next(arrays, None)
        with _xp.cuda.Device(getattr(first.device, "id", 0) if first is not None else None):
            return op(*arguments, **options)

    return on_its_device


# Layers ------------------------------------------------------------------------------------------


def pack_weight(weight, precision="highest"):
    return weight


def pack_network(layers, negative_slope):
    return _Network(sys.modules[__name__], layers, negative_slope)


def pack_training(network):
    return _Training(network)


class _Network(LayerwiseNetwork):
    """What it allocates is on the device of the rows."""

    forward = _on_device(LayerwiseNetwork.forward)
    forward_masked = _on_device(LayerwiseNetwork.forward_masked)
    adjoint = _on_device(LayerwiseNetwork.adjoint)
    backward = _on_device(LayerwiseNetwork.backward)


class _Training(LayerwiseTraining):
    """Likewise."""

    fit_step = _on_device(LayerwiseTraining.fit_step)

    @_on_device
    def trace(self, x):
        traced = super().trace(x)
        if traced is not None:
            traced[1].pull_back = _on_device(traced[1].pull_back)
        return traced


def _multiply(a, b, out):
    if not a.shape[1]:
        out[...] = 0
    elif out.flags.c_contiguous:
        _xp.matmul(a, b, out=out)
    else:
        out[...] = _xp.matmul(a, b)


def _masked(grad_output, mask, negative_slope):
    if mask is None:
        return grad_output
    out = _xp.empty(grad_output.shape, grad_output.dtype)
    _select(grad_output, mask, negative_slope, out)
    return out


def _select(values, mask, negative_slope, out):
    rows, features = values.shape
    _launch(
        f"select_{values.dtype}", values.size, values, _stride(values), np.int64(rows),
        np.int64(features), values.dtype.type(negative_slope), mask, _stride(mask), out,
        _stride(out),
    )  # fmt: skip


@_on_device
def linear(x, weight, out, precision="highest"):
    _multiply(x, weight.T, out)


@_on_device
def linear_relu(x, weight, negative_slope, out, mask, precision="highest"):
    _multiply(x, weight.T, out)
    rows, features = out.shape
    kept = (np.uint64(0), np.int64(0)) if mask is None else (mask, _stride(mask))
    _launch(
        f"activate_{out.dtype}", rows * -(-features // 8), out, _stride(out), np.int64(rows),
        np.int64(features), out.dtype.type(negative_slope), *kept,
    )  # fmt: skip


@_on_device
def linear_masked(x, weight, mask, negative_slope, out, precision="highest"):
    _multiply(x, weight.T, out)
    _select(out, mask, negative_slope, out)


@_on_device
def grad_input(grad_output, weight, mask, negative_slope, out, precision="highest"):
    _multiply(_masked(grad_output, mask, negative_slope), weight, out)


@_on_device
def grad_weight(grad_output, x, mask, negative_slope, out, precision="highest"):
    _multiply(_masked(grad_output, mask, negative_slope).T, x, out)


@_on_device
def adam_update(weight, grad, first_moment, second_moment, coefficients):
    c, cast = coefficients, weight.dtype.type
    scalars = (
        c.step_size, c.beta1, 1 - c.beta1, c.beta2, 1 - c.beta2, c.epsilon, c.root_correction,
        c.weight_decay, c.decay_factor,
    )  # fmt: skip
    choices = np.int32(c.weight_decay != 0), np.int32(c.decay_factor != 1)
    arrays = weight, grad, first_moment, second_moment
    flat = [_contiguous(array) for array in arrays]
    size = np.int64(weight.size)
    _launch(f"adam_{weight.dtype}", weight.size, size, *flat, *map(cast, scalars), *choices)
    for array, used in zip(arrays, flat, strict=True):
        if array is not used:
            array[...] = used


@_on_device
def sgd_update(weight, grad, learning_rate, weight_decay):
    cast, own = weight.dtype.type, _contiguous(weight)
    _launch(
        f"sgd_{weight.dtype}", weight.size, np.int64(weight.size), own, _contiguous(grad),
        cast(learning_rate), cast(weight_decay),
    )  # fmt: skip
    if own is not weight:
        weight[...] = own


def _contiguous(array):
    return array if array.flags.c_contiguous else _xp.ascontiguousarray(array)


@_on_device
def scale(values, factor):
    values = values.view(values.real.dtype)  # parts of complex numbers apart
    values *= values.dtype.type(factor)


@_on_device
def modulus(kind, z, out):
    if kind == "magnitude":
        out[...] = abs(z)
    else:
        out[...] = z * z if z.dtype.kind == "f" else z.real * z.real + z.imag * z.imag


@_on_device
def modulus_gradient(kind, z, grad, out):
    if z.dtype.kind == "f":
        out[...] = (_xp.sign(z) if kind == "magnitude" else z + z) * grad
        return
    size = abs(z)
    size[size == 0] = 1  # where the gradient is 0 as z is
    for part, slope in ((z.real, out.real), (z.imag, out.imag)):
        slope[...] = (part / size if kind == "magnitude" else part + part) * grad


def linear_bfloat16(x, weight, relu, negative_slope, out, mask):
    return False


def linear_backward_bfloat16(grad_output, x, weight, mask, negative_slope, grad_input, grad_weight):
    return False


@_on_device
def widen_bfloat16(values, out):
    out[...] = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)


@_on_device
def round_to_bfloat16(values, out):
    bits = _xp.ascontiguousarray(values).view(np.uint32)
    upper = bits >> np.uint32(16)
    rounded = (bits + np.uint32(0x7FFF) + (upper & np.uint32(1))) >> np.uint32(16)
    out[...] = _xp.where(_xp.isnan(values), upper | np.uint32(0x40), rounded)  # a NaN stays one


# Seeded entries ----------------------------------------------------------------------------------


def _entries(kernel, per_item, seed, stream, row, column, out):
    rows, columns = out.shape
    items = rows * (-(-(column + columns) // per_item) - column // per_item)
    _launch(
        kernel, items if columns else 0, np.uint64(seed), np.uint32(stream), np.uint64(row),
        np.uint64(column), np.int64(rows), np.int64(columns), out, _stride(out),
    )  # fmt: skip


@_on_device
def gaussian_block(seed, stream, row, column, out):
    _entries(f"gaussian_{out.dtype}", 16 // out.itemsize, seed, stream, row, column, out)


@_on_device
def rademacher_block(seed, stream, row, column, out):
    _entries(f"rademacher_{out.dtype}", 128, seed, stream, row, column, out)


@_on_device
def rademacher_words(seed, stream, row, column, out):
    _entries("rademacher_words", 4, seed, stream, row, column, out)


def row_permutation(seed, count, m):
    if m == 0:
        return _xp.empty(0, np.int64)
    keys = _xp.empty(count, np.uint64)
    word = np.uint32(stream_word(ROW_PERMUTATION))
    _launch("permutation_keys", -(-count // 2), np.uint64(seed), word, np.int64(count), keys)
    return _xp.argsort(keys, kind="stable")[:m].astype(np.int64)


def sparse_sign_columns(seed, m, nonzeros_per_column, columns):
    shape = len(columns), nonzeros_per_column
    rows, signs = _xp.empty(shape, np.int64), _xp.empty(shape, np.int8)
    _launch(
        "sparse_sign_columns", shape[0], np.uint64(seed), np.uint32(stream_word(SPARSE_SIGN)),
        np.uint64(m), np.int64(nonzeros_per_column), np.uint64(columns.start), np.int64(shape[0]),
        rows, signs,
    )  # fmt: skip
    return rows, signs


def gaussian_product(seed, stream, row, x, adjoint, out):
    _seeded_product(gaussian_block, seed, stream, row, x, adjoint, out)
    return True


def rademacher_product(seed, stream, row, x, adjoint, out):
    _seeded_product(rademacher_block, seed, stream, row, x, adjoint, out)
    return True


@_on_device
def gaussian_gram(seed, stream, row, m, scale, x, out):
    measured = _xp.empty((len(x), m), x.dtype)
    gaussian_product(seed, stream, row, x, False, measured)
    measured *= x.dtype.type(scale)
    return gaussian_product(seed, stream, row, measured, True, out)


@_on_device
def _seeded_product(fill, seed, stream, row, x, adjoint, out):
    """As `seeded_product.seeded_product`: each element is one product over all of k."""
    step = max(128, _SEEDED_PART // max(1, x.shape[1]) // 128 * 128)
    for first in range(0, out.shape[1], step):
        part = out[:, first : first + step]
        shape = (x.shape[1], part.shape[1]) if adjoint else (part.shape[1], x.shape[1])
        matrix = _xp.empty(shape, x.dtype)
        fill(seed, stream, row if adjoint else row + first, first if adjoint else 0, matrix)
        _multiply(x, matrix if adjoint else matrix.T, part)


# Transforms and sparse products ------------------------------------------------------------------


@_on_device
def walsh_hadamard(x, out):
    if out is not x:
        out[...] = x
    _butterflies(out)


def _butterflies(values):
    rows, n = values.shape
    for step in range(n.bit_length() - 1):
        _launch(
            f"butterfly_{values.dtype}", rows * (n // 2), values, _stride(values), np.int64(rows),
            np.int64(n), np.int64(1 << step),
        )  # fmt: skip


@_on_device
def subsampled_hadamard(x, signs, rows, size, scale, adjoint, out):
    n = out.shape[1] if adjoint else x.shape[1]
    bits = signs[:, None] >> _xp.arange(32, dtype=np.uint32) & np.uint32(1)
    flips = 1 - 2 * bits.reshape(-1)[:n].astype(x.dtype)
    work = _xp.zeros((x.shape[0], size), x.dtype)
    factor = x.dtype.type(scale)
    if adjoint:
        work[:, rows] = x
        _butterflies(work)
        out[...] = work[:, :n] * factor * flips
    else:
        work[:, :n] = x * flips
        _butterflies(work)
        out[...] = work[:, rows] * factor


class pack_sparse_sign:
    """The matrix of the columns `rows`, `signs`: `homfast._backends.sparse_product`."""

    def __init__(self, rows, signs, m):
        if not isinstance(rows, _xp.ndarray):  # drawn on the host; goes to the current device
            rows, signs = _xp.asarray(rows), _xp.asarray(signs)
        with _xp.cuda.Device(getattr(rows.device, "id", 0)):
            count, per_column = rows.shape
            flat = _contiguous(rows).reshape(-1)
            order = _xp.argsort(flat, kind="stable")  # ascending columns within a row
            ends = _xp.cumsum(_xp.bincount(flat, minlength=m))
            starts = _xp.zeros(m + 1, np.int64)
            starts[1:] = ends
            by_row = starts, order // max(1, per_column), signs.reshape(-1)[order]
            by_column = _xp.arange(count + 1, dtype=np.int64) * per_column, flat, signs.reshape(-1)
            self._tables = [tuple(map(_xp.ascontiguousarray, t)) for t in (by_row, by_column)]

    def product(self, x, adjoint, out, accumulate=False):
        _sparse_product(x, self._tables[bool(adjoint)], accumulate, out)


@_on_device
def _sparse_product(x, table, accumulate, out):
    _launch(
        f"sparse_product_{x.dtype}", out.size, x, _stride(x), np.int64(out.shape[0]),
        np.int64(out.shape[1]), *table, np.int32(accumulate), out, _stride(out),
    )  # fmt: skip


# Measurements of matrices ------------------------------------------------------------------------

_NOTHING = np.uint64(0)  # a null pointer


@_on_device
def sum_places(x, places, offsets, targets, start, out):
    """As `homfast._backends.cuda.sum_places`."""
    count = out.shape[1] if targets is None else targets.size
    others = (_NOTHING, _NOTHING) if targets is None else (offsets, targets)
    _launch(
        f"sum_places_{x.dtype}", len(out) * count, x, _stride(x), np.int64(len(out)),
        np.int64(count), places, *others, np.float64(start), out, _stride(out),
    )  # fmt: skip


def _weighted(x, weights, out, d):
    rows, m = out.shape
    sizes = np.int64(len(weights)), np.int64(rows), np.int64(m), np.int64(d)
    return x, _stride(x), weights, _stride(weights), *sizes


@_on_device
def weigh_rows(x, weights, out):
    """As `homfast._backends.cuda.weigh_rows`."""
    d = len(out) // max(1, len(x))
    arguments = _weighted(x, weights, out, d)
    _launch(f"weigh_rows_{x.dtype}", out.size, *arguments, out, _stride(out))


@_on_device
def sum_weighted_rows(x, weights, accumulate, out):
    """As `homfast._backends.cuda.sum_weighted_rows`."""
    d = len(x) // max(1, len(out))
    arguments = (*_weighted(x, weights, out, d), np.int32(accumulate))
    _launch(f"sum_weighted_rows_{x.dtype}", out.size, *arguments, out, _stride(out))
