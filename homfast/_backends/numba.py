"""Kernels compiled by Numba behind the backend protocol: for where there is no extension.

Each element of a product is one chain of multiply-adds over k, in order, as on `native`; so a row's
bits depend on that row and the weights alone, also of calls with few rows. Numba is imported when
a backend is chosen and this one comes into question, not with homfast.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from homfast._backends import normal, pool, rademacher, reference, threads
from homfast._backends.layerwise import LayerwiseNetwork, LayerwiseTraining

name = "numba"
fast_signs = False

_PART = 1 << 28  # multiply-adds between two looks at signals, about 10 ms
_PANEL_PART = 1 << 22  # elements packed by one part
_UPDATE_PART = 1 << 16  # elements of a part of an update
_COST = 4  # of packing, masking or updating an element, in multiply-adds
_SEEDED_PART = 1 << 20  # entries of a seeded matrix that are in memory at a time
_NO_MASK = np.empty((0, 0), np.uint8)
_MISSING = "Numba is not installed; pip install 'homfast[numba]'"

_kernels: Any = None
_failure = ""


def is_available():
    """Whether Numba can be imported, which takes half a second the first time."""
    return _import() is not None


def why_unavailable():
    """The reason; Numba is imported to know it."""
    _import()
    return _failure


def accepts(array):
    return isinstance(array, np.ndarray)


def __getattr__(op):
    """What is not compiled here (streams of entries, transforms, bfloat16) NumPy computes, with the
    same bits: row by row, in an order that the reference fixes."""
    if op.startswith("_"):
        raise AttributeError(op)
    return getattr(reference, op)


def _import():
    """The modules of kernels, or None for the reason in `_failure`."""
    global _kernels, _failure
    if _kernels is None and not _failure:
        with threads.no_fork:
            try:
                from homfast._backends.numba_kernels import elementwise, product
            # Also of a library or a NumPy that this Numba does not know; what a signal handler
            # raises is its own affair.
            except (ImportError, AttributeError, SystemError, OSError, KeyError) as error:
                missing = getattr(error, "name", None) == "numba"
                _failure = _MISSING if missing else f"Numba cannot be imported: {error}"
            else:
                if sys.modules["numba"].config.DISABLE_JIT:
                    _failure = "NUMBA_DISABLE_JIT is set, so that Numba compiles nothing; unset it"
                else:
                    _kernels = product, elementwise
    return _kernels


# Products ----------------------------------------------------------------------------------------


class PackedWeight:
    """A weight (out_features, in_features) in panels, for both products with it."""

    def __init__(self, weight, precision="highest"):
        self.weight = weight
        self.refresh()

    @property
    def shape(self):
        return self.weight.shape

    @property
    def dtype(self):
        return self.weight.dtype

    def refresh(self):
        """Call after the array was written to."""
        self._transposed = _panels(self.weight, True)
        self._straight = None  # made by the first backward pass

    def panels(self, transposed):
        """Those of the transposed weight, or of the weight."""
        if transposed:
            return self._transposed
        if self._straight is None:
            self._straight = _panels(self.weight, False)
        return self._straight


pack_weight = PackedWeight


def _panels(matrix, transposed):
    kernels = _import()[0].product_kernels(matrix.dtype)
    depth, width = matrix.shape[::-1] if transposed else matrix.shape
    columns = kernels.tile.columns
    count = -(-width // columns)
    size, align = count * columns * depth, 64 // matrix.itemsize
    room = np.empty(size + align, matrix.dtype)
    skip = -room.ctypes.data % 64 // matrix.itemsize
    panels = room[skip : skip + size]
    step = max(1, _PANEL_PART // max(1, columns * depth))
    parts = [
        (matrix, transposed, panels, begin, min(begin + step, count))
        for begin in range(0, count, step)
    ]
    pool.run_parts(kernels.pack, parts, threads.threads_for(_COST * size))
    return panels


def _product(a, a_transposed, b, b_transposed, out, kind=0, slope=0.0, mask=None, carry=False):
    """out = A B, where A and B are `a` and `b` or their transposes; b may be packed."""
    product = _import()[0]
    kernels = product.product_kernels(out.dtype)
    rows, columns = out.shape
    if not out.size:
        return
    depth = a.shape[0] if a_transposed else a.shape[1]
    panels = b.panels(b_transposed) if isinstance(b, PackedWeight) else _panels(b, b_transposed)
    slope = out.dtype.type(slope)
    masks = _NO_MASK if mask is None else mask
    work = float(rows) * columns * max(depth, 1)
    count = threads.threads_for(work)
    parts = [
        (
            a, a_transposed, panels, depth, out, carry, kind, slope, masks,
            top, bottom, left, right,
        )
        for top, bottom, left, right in _tiles(rows, columns, max(depth, 1), count, kernels)
    ]  # fmt: skip

    def multiply(*part):
        kernels.multiply(*part, np.empty(kernels.scratch, out.dtype))

    pool.run_parts(multiply, parts, count)


def _tiles(rows, columns, depth, count, kernels):
    """Parts of a result: whole blocks of rows, of at most `_PART` multiply-adds where that goes.

    Few rows are cut by columns, at edges of panels; each part packs its rows of A itself.
    """
    step = kernels.block_rows
    if rows < 2 * count * step and count > 1:
        tile = kernels.tile.rows
        step = max(tile, -(-rows // (2 * count)) // tile * tile)
    pieces = -(-step * columns * depth // _PART)
    if count > 1:
        pieces = max(pieces, -(-2 * count // -(-rows // step)))
    panels = -(-columns // kernels.tile.columns)
    width = -(-panels // min(pieces, panels)) * kernels.tile.columns
    return [
        (top, min(top + step, rows), left, min(left + width, columns))
        for top in range(0, rows, step)
        for left in range(0, columns, width)
    ]


def _masked(grad_output, mask, negative_slope):
    """The gradient that passes the mask."""
    if mask is None:
        return grad_output
    dtype = grad_output.dtype
    kernel = _import()[1].select_kernel(dtype)
    rows, features = grad_output.shape
    out = np.empty((rows, features), dtype)
    count = threads.threads_for(_COST * out.size)
    step = max(1, -(-rows // (4 * count)))
    slope = dtype.type(negative_slope)
    parts = [
        (mask, grad_output, slope, out, top, min(top + step, rows)) for top in range(0, rows, step)
    ]
    pool.run_parts(kernel, parts, count)
    return out


def linear(x, weight, out, precision="highest"):
    _product(x, False, weight, True, out)


def linear_relu(x, weight, negative_slope, out, mask, precision="highest"):
    product = _import()[0]
    kind = product.RELU if mask is None else product.RELU_WITH_MASK
    _product(x, False, weight, True, out, kind, negative_slope, mask)


def linear_masked(x, weight, mask, negative_slope, out, precision="highest"):
    _product(x, False, weight, True, out, _import()[0].MASKED, negative_slope, mask)


def grad_input(grad_output, weight, mask, negative_slope, out, precision="highest"):
    _product(_masked(grad_output, mask, negative_slope), False, weight, False, out)


def grad_weight(grad_output, x, mask, negative_slope, out, precision="highest"):
    _product(_masked(grad_output, mask, negative_slope), True, x, False, out)


def pack_network(layers, negative_slope):
    return LayerwiseNetwork(sys.modules[__name__], layers, negative_slope)


class pack_training(LayerwiseTraining):
    """Steps that pack again what they changed."""

    def _refresh(self):
        for layer in self._network.layers:
            layer.refresh()


# Updates -----------------------------------------------------------------------------------------


def adam_update(weight, grad, first_moment, second_moment, coefficients):
    arrays = weight, grad, first_moment, second_moment
    if not all(array.flags.c_contiguous for array in arrays):
        reference.adam_update(*arrays, coefficients)
        return
    c, cast = coefficients, weight.dtype.type
    scalars = [
        c.step_size, c.beta1, 1 - c.beta1, c.beta2, 1 - c.beta2, c.epsilon, c.root_correction,
        c.weight_decay, c.decay_factor,
    ]  # fmt: skip
    flat = [array.reshape(-1) for array in arrays]
    choices = c.weight_decay != 0, c.decay_factor != 1
    kernel = _import()[1].update_kernels(weight.dtype).adam
    _run_flat(kernel, (*flat, *map(cast, scalars), *choices), weight.size)


def sgd_update(weight, grad, learning_rate, weight_decay):
    if not (weight.flags.c_contiguous and grad.flags.c_contiguous):
        reference.sgd_update(weight, grad, learning_rate, weight_decay)
        return
    cast = weight.dtype.type
    kernel = _import()[1].update_kernels(weight.dtype).sgd
    arguments = weight.reshape(-1), grad.reshape(-1), cast(learning_rate), cast(weight_decay)
    _run_flat(kernel, arguments, weight.size)


def _run_flat(kernel, arguments, size):
    """The kernel on parts of flat arrays."""
    parts = [
        (*arguments, begin, min(begin + _UPDATE_PART, size))
        for begin in range(0, size, _UPDATE_PART)
    ]
    pool.run_parts(kernel, parts, threads.threads_for(_COST * size))


# Products with seeded matrices -------------------------------------------------------------------


def gaussian_product(seed, stream, row, x, adjoint, out):
    _seeded_product(normal.fill, seed, stream, row, x, adjoint, out)
    return True


def rademacher_product(seed, stream, row, x, adjoint, out):
    _seeded_product(rademacher.fill, seed, stream, row, x, adjoint, out)
    return True


def gaussian_gram(seed, stream, row, m, scale, x, out):
    """False: it is two of `gaussian_product`. The reference's has the bits of NumPy's BLAS."""
    return False


def _seeded_product(fill, seed, stream, row, x, adjoint, out):
    """Rows of the matrix are made a part at a time; sums over them go on through `out`."""
    rows = x.shape[1] if adjoint else out.shape[1]
    columns = out.shape[1] if adjoint else x.shape[1]
    step = max(64, _SEEDED_PART // max(1, columns) // 64 * 64)
    if adjoint and not rows:
        out[...] = 0
    for first in range(0, rows, step):
        part = slice(first, min(first + step, rows))
        matrix = np.empty((part.stop - first, columns), x.dtype)
        fill(seed, stream, row + first, 0, matrix)
        if adjoint:
            _product(x[:, part], False, matrix, False, out, carry=first > 0)
        else:
            _product(x, False, matrix, True, out[:, part])
