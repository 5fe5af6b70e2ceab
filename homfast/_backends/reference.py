"""The specification: every op in a few lines of NumPy.

Each op accumulates in the dtype of its arrays; hand it float64 copies to get the trusted value that
the tests compare the kernels with. `precision` has nothing to choose from here.
"""

from __future__ import annotations

import sys

import numpy as np

from homfast._backends import normal, rademacher
from homfast._backends.hadamard import subsampled_hadamard, walsh_hadamard  # noqa: F401
from homfast._backends.layerwise import LayerwiseNetwork, LayerwiseTraining
from homfast._backends.permutation import row_permutation  # noqa: F401
from homfast._backends.seeded_product import seeded_gram, seeded_product
from homfast._backends.sparse_product import PackedSparseSign as pack_sparse_sign  # noqa: F401
from homfast._backends.sparse_sign import sparse_sign_columns  # noqa: F401
from homfast._backends.transforms import (  # noqa: F401
    convolve,
    cosine,
    fourier,
    inverse_cosine,
    inverse_fourier,
)

name = "reference"
fast_signs = False


def is_available():
    return True


def why_unavailable():
    return ""


def accepts(array):
    return isinstance(array, np.ndarray)


def pack_weight(weight, precision="highest"):
    return weight


def pack_network(layers, negative_slope):
    return LayerwiseNetwork(sys.modules[__name__], layers, negative_slope)


def pack_training(network):
    return LayerwiseTraining(network)


def unpack_mask(mask, features):
    """The bits of ``mask`` (rows, ceil(features / 8)) as booleans (rows, features)."""
    return np.unpackbits(mask, axis=-1, count=features, bitorder="little").astype(bool)


def select(mask, values, negative_slope):
    """values where the bit is set; +0.0, or negative_slope times the value, where it is not."""
    keep = unpack_mask(mask, values.shape[-1])
    slope = values.dtype.type(negative_slope)
    return np.where(keep, values, slope * values if slope else values.dtype.type(0))


def linear(x, weight, out, precision="highest"):
    with np.errstate(all="ignore"):
        np.matmul(x, weight.T, out=out)


def linear_relu(x, weight, negative_slope, out, mask, precision="highest"):
    linear(x, weight, out)
    bits = np.packbits(~(out <= 0), axis=-1, bitorder="little")
    with np.errstate(all="ignore"):
        out[...] = select(bits, out, negative_slope)
    if mask is not None:
        mask[...] = bits


def linear_masked(x, weight, mask, negative_slope, out, precision="highest"):
    linear(x, weight, out)
    with np.errstate(all="ignore"):
        out[...] = select(mask, out, negative_slope)


def grad_input(grad_output, weight, mask, negative_slope, out, precision="highest"):
    with np.errstate(all="ignore"):
        if mask is not None:
            grad_output = select(mask, grad_output, negative_slope)
        np.matmul(grad_output, weight, out=out)


def grad_weight(grad_output, x, mask, negative_slope, out, precision="highest"):
    with np.errstate(all="ignore"):
        if mask is not None:
            grad_output = select(mask, grad_output, negative_slope)
        np.matmul(grad_output.T, x, out=out)


def adam_update(weight, grad, first_moment, second_moment, coefficients):
    c = coefficients
    dtype = weight.dtype.type
    if c.decay_factor != 1.0:
        weight *= dtype(c.decay_factor)
    if c.weight_decay:
        grad = grad + dtype(c.weight_decay) * weight
    first_moment *= dtype(c.beta1)
    first_moment += dtype(1 - c.beta1) * grad
    second_moment *= dtype(c.beta2)
    second_moment += dtype(1 - c.beta2) * (grad * grad)
    denominator = np.sqrt(second_moment) * dtype(c.root_correction) + dtype(c.epsilon)
    weight -= dtype(c.step_size) * (first_moment / denominator)


def sgd_update(weight, grad, learning_rate, weight_decay):
    dtype = weight.dtype.type
    weight -= dtype(learning_rate) * (grad + dtype(weight_decay) * weight)


def linear_bfloat16(x, weight, relu, negative_slope, out, mask):
    return False


def linear_backward_bfloat16(grad_output, x, weight, mask, negative_slope, grad_input, grad_weight):
    return False


def widen_bfloat16(values, out):
    out[...] = (values.astype(np.uint32) << 16).view(np.float32)


def round_to_bfloat16(values, out):
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    out[...] = np.where(np.isnan(values), (bits >> 16) | 0x40, rounded)  # a NaN stays one


def gaussian_block(seed, stream, row, column, out):
    normal.fill(seed, stream, row, column, out)


def gaussian_product(seed, stream, row, x, adjoint, out):
    seeded_product(normal.fill, seed, stream, row, x, adjoint, out)
    return True


def gaussian_gram(seed, stream, row, m, scale, x, out):
    seeded_gram(normal.fill, seed, stream, row, m, scale, x, out)
    return True


def rademacher_block(seed, stream, row, column, out):
    rademacher.fill(seed, stream, row, column, out)


def rademacher_words(seed, stream, row, column, out):
    rademacher.words(seed, stream, row, column, out)


def rademacher_product(seed, stream, row, x, adjoint, out):
    seeded_product(rademacher.fill, seed, stream, row, x, adjoint, out)
    return True
