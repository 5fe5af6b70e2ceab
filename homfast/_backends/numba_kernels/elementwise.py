"""One pass over arrays: masked gradients and the optimizers' updates.

Each product and sum rounds on its own, in the order of the reference, so that bits are its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from homfast._backends.numba_kernels.compilation import compile_kernel, made_once, stamp
from homfast._backends.numba_kernels.vectors import address, select


@made_once
def select_kernel(dtype: np.dtype) -> Callable[..., None]:
    """``select_rows(mask, values, slope, out, top, bottom)``, as `reference.select`."""
    scalar = numba.from_dtype(dtype)
    return compile_kernel(
        _select(dtype.itemsize, dtype.type(0), stamp()),
        types.void(
            types.Array(types.uint8, 2, "A", readonly=True),
            types.Array(scalar, 2, "A", readonly=True),
            scalar,
            scalar[:, :],
            types.intp,
            types.intp,
        ),
    )


class UpdateKernels(NamedTuple):
    """Optimizer steps of elements `first` to `last` of flat arrays, in place."""

    adam: Callable[..., None]
    sgd: Callable[..., None]


@made_once
def update_kernels(dtype: np.dtype) -> UpdateKernels:
    """The kernels for float32 or float64."""
    scalar, index = numba.from_dtype(dtype), types.intp
    given = types.Array(scalar, 1, "C", readonly=True)
    own = scalar[::1]
    adam = types.void(
        own, given, own, own, *[scalar] * 9, types.boolean, types.boolean, index, index
    )
    sgd = types.void(own, given, scalar, scalar, index, index)
    return UpdateKernels(compile_kernel(_adam(stamp()), adam), compile_kernel(_sgd(stamp()), sgd))


def _select(size: int, zero: Any, version: int) -> Callable[..., None]:
    def select_rows(mask, values, slope, out, top, bottom):
        version  # noqa: B018  closed over, and so a part of the cache's key
        features = values.shape[1]
        whole = features // 8
        for i in range(top, bottom):
            source = address(values) + i * values.strides[0]
            to = address(out) + i * out.strides[0]
            for byte in range(whole):
                at = byte * 8 * size
                select(to + at, source + at, mask[i, byte], slope)
            for j in range(8 * whole, features):
                if (mask[i, j >> 3] >> (j & 7)) & 1:
                    out[i, j] = values[i, j]
                elif slope == zero:
                    out[i, j] = zero
                else:
                    out[i, j] = slope * values[i, j]

    return select_rows


def _adam(version: int) -> Callable[..., None]:
    def adam(
        weight, grad, first_moment, second_moment, step_size, beta1, other1, beta2, other2, epsilon,
        root_correction, weight_decay, decay_factor, decays, shrinks, first, last,
    ):  # fmt: skip
        version  # noqa: B018  closed over, and so a part of the cache's key
        for i in range(first, last):
            w, g = weight[i], grad[i]
            if shrinks:
                w = w * decay_factor
            if decays:
                g = g + weight_decay * w
            m = first_moment[i] * beta1 + other1 * g
            v = second_moment[i] * beta2 + other2 * (g * g)
            weight[i] = w - step_size * (m / (math.sqrt(v) * root_correction + epsilon))
            first_moment[i] = m
            second_moment[i] = v

    return adam


def _sgd(version: int) -> Callable[..., None]:
    def sgd(weight, grad, learning_rate, weight_decay, first, last):
        version  # noqa: B018  closed over, and so a part of the cache's key
        for i in range(first, last):
            weight[i] = weight[i] - learning_rate * (grad[i] + weight_decay * weight[i])

    return sgd
