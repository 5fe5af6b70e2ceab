"""C = A B by packed panels of B and strips of A, with ReLU and masks while a tile is in L1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

from homfast._backends.numba_kernels.compilation import compile_kernel, made_once, stamp
from homfast._backends.numba_kernels.machine import Tile, compiled_for, tile_of
from homfast._backends.numba_kernels.vectors import (
    activate,
    address,
    heights,
    multiply_tile,
    read,
    select,
    write,
)

# What happens to finished elements.
PLAIN, RELU, RELU_WITH_MASK, MASKED = range(4)
_DEPTH = 256  # of a block: a panel of it, and a strip, stay in L1
_BLOCK_BYTES = 1 << 17  # of a block of A, which stays in L2


class ProductKernels(NamedTuple):
    """The kernels of one dtype."""

    tile: Tile
    block_rows: int
    scratch: int  # elements that `multiply` needs
    pack: Callable[..., None]
    multiply: Callable[..., None]


@made_once
def product_kernels(dtype: np.dtype) -> ProductKernels:
    """The kernels for float32 or float64."""
    machine = compiled_for()
    tile = tile_of(machine, dtype)
    block_rows = max(1, _BLOCK_BYTES // (_DEPTH * dtype.itemsize * tile.rows)) * tile.rows
    scalar = numba.from_dtype(dtype)
    given = types.Array(scalar, 2, "A", readonly=True)
    masks = types.Array(types.uint8, 2, "A", readonly=True)
    index, flag = types.intp, types.boolean
    pack = compile_kernel(
        _pack(tile, dtype.type(0), stamp()),
        types.void(given, flag, scalar[::1], index, index),
    )
    multiply = compile_kernel(
        _multiply(tile, block_rows, int(machine.fused), dtype.type(0), stamp()),
        types.void(
            given, flag, types.Array(scalar, 1, "C", readonly=True), index, scalar[:, :],
            flag, index, scalar, masks, index, index, index, index, scalar[::1],
        ),
    )  # fmt: skip
    scratch = tile.rows * tile.columns + block_rows * _DEPTH
    return ProductKernels(tile, block_rows, scratch, pack, multiply)


def _pack(tile: Tile, zero: Any, version: int) -> Callable[..., None]:
    columns = tile.columns

    def pack_panels(matrix, transposed, panels, first, last):
        """Panels `first` to `last` of B, which is `matrix` or its transpose, filled up with zeros.

        Panel p is (depth, columns), without gaps, at p depth columns.
        """
        version  # noqa: B018  closed over, and so a part of the cache's key
        depth = matrix.shape[1] if transposed else matrix.shape[0]
        width = matrix.shape[0] if transposed else matrix.shape[1]
        for p in range(first, last):
            start = p * depth * columns
            left = p * columns
            here = min(columns, width - left)
            for k in range(depth):
                at = start + k * columns
                if transposed:
                    for j in range(here):
                        panels[at + j] = matrix[left + j, k]
                else:
                    for j in range(here):
                        panels[at + j] = matrix[k, left + j]
                for j in range(here, columns):
                    panels[at + j] = zero

    return pack_panels


@numba.njit
def _height(left, h0, h1, h2):
    """Of the next strip, where `left` rows are left."""
    if left >= h0:
        return h0
    if left >= h1:
        return h1
    if left >= h2:
        return h2
    return 1


@numba.njit
def _finish(c, stride, rows, columns, width, size, kind, slope, masks, row, column):
    """ReLU or a mask on a finished tile, eight elements at a time."""
    for i in range(rows):
        for j in range(0, columns, 8):
            if j >= width:
                break
            at = c + i * stride + j * size
            byte = (column + j) >> 3
            if kind == MASKED:
                select(at, at, masks[row + i, byte], slope)
            else:
                bits = activate(at, slope)
                if kind == RELU_WITH_MASK:
                    if width - j < 8:
                        bits = np.uint8(bits & ((1 << (width - j)) - 1))
                    write(address(masks) + (row + i) * masks.strides[0] + byte, bits)


def _multiply(
    tile: Tile, block_rows: int, fused: int, zero: Any, version: int
) -> Callable[..., None]:
    size = zero.itemsize
    most, vectors, lanes = tile
    columns = tile.columns
    # Strips of four heights, so that few rows do not pay for many.
    h0, h1, h2 = (*heights(most), 1, 1)[:3]

    def multiply(
        a, transposed, panels, depth, out, carry, kind, slope, masks, top, bottom, left, right,
        scratch,
    ):  # fmt: skip
        """out = A B, or out + A B if `carry`, at rows top to bottom and columns left to right.

        A is `a` or its transpose, `panels` are B's of this depth. `left` is the edge of a panel.
        `masks` is written or read, as `kind` says. What `scratch` holds does not matter.
        """
        version  # noqa: B018  closed over, and so a part of the cache's key
        corner_at = address(scratch)
        strips_at = corner_at + most * columns * size
        for i in range(most * columns):  # sums of what is beyond the edge raise no flags
            scratch[i] = zero
        panels_at, out_at, a_at = address(panels), address(out), address(a)
        row_step = a.strides[1] if transposed else a.strides[0]
        depth_step = a.strides[0] if transposed else a.strides[1]
        stride = out.strides[0]
        for block in range(top, bottom, block_rows):
            end = min(block + block_rows, bottom)
            k0 = 0
            while True:
                k1 = min(k0 + _DEPTH, depth)
                here = k1 - k0
                row = block
                at = strips_at
                while row < end:
                    rows = _height(end - row, h0, h1, h2)
                    source = a_at + row * row_step + k0 * depth_step
                    for k in range(here):
                        for i in range(rows):
                            write(
                                at + (k * rows + i) * size,
                                read(source + i * row_step + k * depth_step, zero),
                            )
                    at += rows * here * size
                    row += rows
                for column in range(left, right, columns):
                    width = min(columns, right - column)
                    panel = panels_at + (column * depth + k0 * columns) * size
                    row = block
                    at = strips_at
                    while row < end:
                        rows = _height(end - row, h0, h1, h2)
                        c = out_at + row * stride + column * size
                        goes_on = carry or k0 > 0
                        to, step = c, stride
                        if width < columns:
                            to, step = corner_at, columns * size
                            if goes_on:
                                for i in range(rows):
                                    for j in range(width):
                                        write(
                                            to + i * step + j * size,
                                            read(c + i * stride + j * size, zero),
                                        )
                        if rows == h0:
                            multiply_tile(
                                at, panel, to, step, here, goes_on, zero, h0, vectors, lanes, fused
                            )
                        elif rows == h1:
                            multiply_tile(
                                at, panel, to, step, here, goes_on, zero, h1, vectors, lanes, fused
                            )
                        elif rows == h2:
                            multiply_tile(
                                at, panel, to, step, here, goes_on, zero, h2, vectors, lanes, fused
                            )
                        else:
                            multiply_tile(
                                at, panel, to, step, here, goes_on, zero, 1, vectors, lanes, fused
                            )
                        if kind != PLAIN and k1 == depth:
                            _finish(
                                to, step, rows, columns, width, size, kind, slope, masks, row,
                                column,
                            )  # fmt: skip
                        if width < columns:
                            for i in range(rows):
                                for j in range(width):
                                    write(
                                        c + i * stride + j * size,
                                        read(to + i * step + j * size, zero),
                                    )
                        at += rows * here * size
                        row += rows
                k0 = k1
                if k0 >= depth:
                    break

    return multiply
