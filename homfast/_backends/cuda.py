"""The CUDA kernels of the extension ``homfast._cuda`` behind the backend protocol.

Arrays are those of torch, CuPy, or any with ``__cuda_array_interface__``. Calls run on the current
stream of their library and return before they are done. Scratch is the library's memory.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

from homfast._backends.cuda_network import DeviceNetwork, DeviceTraining
from homfast._backends.device_library import dtype_of, is_on_device, library_of

name = "cuda"

_cuda: Any
try:
    import homfast._cuda as _cuda  # type: ignore[import-not-found,no-redef]
except ImportError as error:
    _cuda = None
    _missing = (
        f"the extension homfast._cuda is not installed ({error}): homfast was installed where "
        "nvcc was not found, or with HOMFAST_CUDA=0; install the CUDA toolkit, and homfast again "
        "with HOMFAST_CUDA=1"
    )
else:
    _missing = ""


def wgmma_asked_for():
    """Whether the environment asks for products on Hopper's wgmma, which have run on no device."""
    wish = os.environ.get("HOMFAST_CUDA_WGMMA") or "0"
    if wish not in ("0", "1"):
        raise ValueError(f"HOMFAST_CUDA_WGMMA: got {wish!r}, wanted 0 or 1")
    return wish == "1"


if wgmma_asked_for() and _cuda is not None:
    _cuda.use_wgmma(True)


def is_available():
    return not why_unavailable()


def why_unavailable():
    return _missing if _cuda is None else _cuda.why_unavailable()


def accepts(array):
    return is_on_device(array)


class PackedWeight:
    """A weight and the precision of its products. Kernels read it where it lies."""

    def __init__(self, weight, precision="highest"):
        self.array, self.precision = weight, precision
        self.shape = tuple(weight.shape)

    def refresh(self):
        """Nothing to do: changes of the array are seen."""


pack_weight = PackedWeight


def pack_network(layers, negative_slope):
    return DeviceNetwork(sys.modules[__name__], layers, negative_slope)


def pack_training(network):
    return DeviceTraining(network)


def _stream(array):
    return library_of(array).stream(array)


def _scratch(size, like):
    return library_of(like).empty((size,), np.uint8, like) if size else None


def _layer(weight, precision):
    return (weight.array, weight.precision) if type(weight) is PackedWeight else (weight, precision)


def _layer_scratch(op, rows, in_features, out_features, out, precision):
    size = dtype_of(out).itemsize
    return _scratch(_cuda.layer_scratch(op, rows, in_features, out_features, size, precision), out)


def _forward_scratch(x, matrix, out, precision):
    out_features, in_features = matrix.shape
    return _layer_scratch("linear", x.shape[0], in_features, out_features, out, precision)


def linear(x, weight, out, precision="highest"):
    matrix, precision = _layer(weight, precision)
    scratch = _forward_scratch(x, matrix, out, precision)
    _cuda.linear(x, matrix, out, precision, scratch, _stream(out))


def linear_relu(x, weight, negative_slope, out, mask, precision="highest"):
    matrix, precision = _layer(weight, precision)
    scratch = _forward_scratch(x, matrix, out, precision)
    _cuda.linear_relu(x, matrix, negative_slope, out, mask, precision, scratch, _stream(out))


def linear_masked(x, weight, mask, negative_slope, out, precision="highest"):
    matrix, precision = _layer(weight, precision)
    scratch = _forward_scratch(x, matrix, out, precision)
    _cuda.linear_masked(x, matrix, mask, negative_slope, out, precision, scratch, _stream(out))


def linear_bfloat16(x, weight, relu, negative_slope, out, mask):
    """linear or linear_relu of bfloat16 bits (uint16), without float32 copies; `mask` may be None.

    `out` is bfloat16 bits, or float32. False, and nothing done, for layers that do not take wgmma.
    """
    if not _cuda.takes_wgmma(*weight.shape):
        return False
    scratch = _scratch(_cuda.linear_bfloat16_scratch(x, weight), out)
    stream = _stream(out)
    _cuda.linear_bfloat16(x, weight, relu, negative_slope, out, mask, scratch, stream)
    return True


def linear_backward_bfloat16(grad_output, x, weight, mask, negative_slope, grad_input, grad_weight):
    return False


def grad_input(grad_output, weight, mask, negative_slope, out, precision="highest"):
    matrix, precision = _layer(weight, precision)
    out_features, in_features = matrix.shape
    rows = grad_output.shape[0]
    scratch = _layer_scratch("grad_input", rows, in_features, out_features, out, precision)
    _cuda.grad_input(
        grad_output, matrix, mask, negative_slope, out, precision, scratch, _stream(out)
    )


def grad_weight(grad_output, x, mask, negative_slope, out, precision="highest"):
    out_features, in_features = out.shape
    rows = x.shape[0]
    scratch = _layer_scratch("grad_weight", rows, in_features, out_features, out, precision)
    _cuda.grad_weight(grad_output, x, mask, negative_slope, out, precision, scratch, _stream(out))


def network_forward(x, layers, negative_slope, masks, hidden, out):
    """The network in one kernel, with the bits of one call a layer; False where it does not fit."""
    weights, precisions = zip(*(_layer(layer, "highest") for layer in layers), strict=True)
    if len(set(precisions)) > 1:
        return False
    return _cuda.network_forward(
        x, weights, negative_slope, masks, hidden, out, precisions[0], _stream(out)
    )


def adam_update(weight, grad, first_moment, second_moment, coefficients, finite=None):
    """`finite` (1,), float64: NaN is written to it if a weight or second moment is not finite."""
    _cuda.adam_update(
        weight, grad, first_moment, second_moment, list(coefficients), finite, _stream(weight)
    )


def sgd_update(weight, grad, learning_rate, weight_decay, finite=None):
    """`finite`: as `adam_update`."""
    _cuda.sgd_update(weight, grad, learning_rate, weight_decay, finite, _stream(weight))


def square_residual(residual, target, scale, total):
    """residual = scale (residual - target); total (1,), float64, the sum of squares before."""
    scratch = _scratch(_cuda.square_residual_scratch(int(np.prod(residual.shape))), residual)
    _cuda.square_residual(residual, target, scale, total, scratch, _stream(residual))


def widen_bfloat16(values, out):
    _cuda.widen_bfloat16(values, out, _stream(out))


def round_to_bfloat16(values, out):
    _cuda.round_to_bfloat16(values, out, _stream(out))


def gaussian_block(seed, stream, row, column, out):
    _cuda.gaussian_block(seed, stream, row, column, out, _stream(out))


def rademacher_block(seed, stream, row, column, out):
    _cuda.rademacher_block(seed, stream, row, column, out, _stream(out))


def rademacher_words(seed, stream, row, column, out):
    _cuda.rademacher_words(seed, stream, row, column, out, _stream(out))


def gaussian_product(seed, stream, row, x, adjoint, out):
    return _cuda.gaussian_product(seed, stream, row, x, adjoint, out, _stream(out))


def rademacher_product(seed, stream, row, x, adjoint, out):
    return _cuda.rademacher_product(seed, stream, row, x, adjoint, out, _stream(out))


def walsh_hadamard(x, out):
    _cuda.walsh_hadamard(x, out, _stream(out))


def subsampled_hadamard(x, signs, rows, size, scale, adjoint, out):
    """As the protocol says. `signs` and `rows` may be on the host: then each call uploads them."""
    signs, rows = (_uploaded(array, out) for array in (signs, rows))
    wanted = _cuda.subsampled_hadamard_scratch(out.shape[0], size, dtype_of(out).itemsize)
    scratch = _scratch(wanted, out)
    _cuda.subsampled_hadamard(x, signs, rows, size, scale, adjoint, out, scratch, _stream(out))


def _uploaded(array, like):
    return library_of(like).upload(array, like) if isinstance(array, np.ndarray) else array


def scale(values, factor):
    """values *= factor."""
    _cuda.scale(values, factor, _stream(values))


def sum_places(x, places, offsets, targets, start, out):
    """out[:, targets[t]] = start + the sum of x[:, places[e]] for offsets[t] <= e < offsets[t + 1].

    In the order of e. Without offsets and targets out = start + x[:, places]; -0.0 + x is x.
    """
    _cuda.sum_places(x, places, offsets, targets, start, out, _stream(out))


def weigh_rows(x, weights, out):
    """Rows of `out` are rows of x, each repeated, times `weights`.

    x (batch, m), out (batch d, m); weights (batch d, m), or (d, m) for each row of x.
    """
    _cuda.weigh_rows(x, weights, out, _stream(out))


def sum_weighted_rows(x, weights, accumulate, out):
    """Rows of `out` are sums of d rows of x times `weights`, in order; from 0 or from `out` on.

    x (batch d, m), out (batch, m); weights (batch d, m), or (d, m) for each row of `out`.
    """
    _cuda.sum_weighted_rows(x, weights, accumulate, out, _stream(out))


def modulus(kind, z, out):
    """out = |z| or |z|^2 of an array z, real or complex."""
    _cuda.modulus(kind, z, out, _stream(out))


def modulus_gradient(kind, z, grad, out):
    """out = the gradient with respect to z of <grad, |z|> or <grad, |z|^2>."""
    _cuda.modulus_gradient(kind, z, grad, out, _stream(out))


class SparseSignColumns:
    """A sparse sign matrix, as ``_protocol.SparseSign``: tables for both products.

    They are made on the host and uploaded by the first product on a device.
    """

    def __init__(self, rows, signs, m):
        n, per_column = rows.shape
        minus = (signs < 0).astype(np.uint32)
        by_row = np.argsort(rows.ravel(), kind="stable")
        columns = np.repeat(np.arange(n, dtype=np.uint32), per_column)
        ends = np.cumsum(np.bincount(rows.ravel(), minlength=m))
        self._tables = {
            False: (
                (columns << 1 | minus.ravel())[by_row],
                np.concatenate([[0], ends]).astype(np.int64),
            ),
            True: (
                (rows.astype(np.uint32) << 1 | minus).ravel(),
                np.arange(0, n * per_column + 1, per_column, dtype=np.int64)
                if per_column
                else np.zeros(n + 1, np.int64),
            ),
        }
        self._uploaded = {}

    def product(self, x, adjoint, out):
        library = library_of(out)
        key = library, library.device(out), adjoint
        if key not in self._uploaded:
            entries, offsets = (library.upload(table, out) for table in self._tables[adjoint])
            self._uploaded[key] = entries, offsets
        entries, offsets = self._uploaded[key]
        _cuda.sparse_sign(entries, offsets, x, out, _stream(out))


pack_sparse_sign = SparseSignColumns
