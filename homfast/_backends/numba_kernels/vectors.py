"""What LLVM is told by hand: the innermost loop of a product, and the bits of a ReLU.

Numba's own loops leave to the optimizer which products and sums are fused, and it may decide
otherwise for the last elements than for the first. Here each step is one `llvm.fma` by name (or a
product and a sum, on processors that have none), so that bits follow from the source.

Addresses are integers; nothing is assumed to be aligned to more than an element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_INDEX = ir.IntType(64)
_BITS = 8  # elements whose bits make one byte of a mask


def _element(scalar: types.Float) -> ir.Type:
    return ir.FloatType() if scalar.bitwidth == 32 else ir.DoubleType()


@intrinsic(prefer_literal=True)
def multiply_tile(context, a, b, c, c_stride, depth, carry, zero, rows, vectors, lanes, fused):
    """`rows` rows of a tile of C: c = a b, or c + a b if `carry`, of the type of `zero`.

    c is (rows, vectors lanes), its rows `c_stride` bytes apart; a is (depth, rows) and b is (depth,
    vectors lanes), both without gaps. Each element is one chain over the depth, in order, from +0
    or from what is there. The last four are constants.
    """
    sizes = rows, vectors, lanes, fused
    if not all(isinstance(size, types.IntegerLiteral) for size in sizes):
        return None
    height, width, lane_count, one_step = (size.literal_value for size in sizes)
    align = zero.bitwidth // 8
    signature = types.void(*[types.intp] * 5, types.boolean, zero, *sizes)

    def generate(target, builder, _, arguments):
        a, b, c, c_stride, depth, carry, *_ = arguments
        element = _element(zero)
        vector = ir.VectorType(element, lane_count)
        step = _fused_step(builder, vector, zero.bitwidth)
        pointers = [
            [
                builder.inttoptr(
                    builder.add(
                        builder.add(c, builder.mul(c_stride, _INDEX(i))),
                        _INDEX(j * lane_count * align),
                    ),
                    vector.as_pointer(),
                )
                for j in range(width)
            ]
            for i in range(height)
        ]
        entry, carried = builder.block, builder.append_basic_block("carried")
        head = builder.append_basic_block("head")
        body, done = builder.append_basic_block("body"), builder.append_basic_block("done")
        builder.cbranch(carry, carried, head)
        builder.position_at_end(carried)
        before = [[builder.load(p, align=align) for p in row] for row in pointers]
        builder.branch(head)

        builder.position_at_end(head)
        k = builder.phi(_INDEX)
        sums = [[builder.phi(vector) for _ in row] for row in pointers]
        builder.cbranch(builder.icmp_signed("<", k, depth), body, done)

        builder.position_at_end(body)
        a_row = builder.inttoptr(a, element.as_pointer())
        b_row = builder.inttoptr(b, vector.as_pointer())
        a_start = builder.mul(k, _INDEX(height))
        b_start = builder.mul(k, _INDEX(width))
        right = [
            builder.load(builder.gep(b_row, [builder.add(b_start, _INDEX(j))]), align=align)
            for j in range(width)
        ]
        after = []
        for i in range(height):
            value = builder.load(builder.gep(a_row, [builder.add(a_start, _INDEX(i))]), align=align)
            left = _broadcast(builder, value, vector)
            after.append([])
            for old, other in zip(sums[i], right, strict=True):
                if one_step:
                    new = builder.call(step, [left, other, old])
                else:
                    new = builder.fadd(old, builder.fmul(left, other))
                after[i].append(new)
        following = builder.add(k, _INDEX(1))
        builder.branch(head)

        nothing = ir.Constant(vector, None)
        for value, start, end in [(k, _INDEX(0), following)]:
            value.add_incoming(start, entry)
            value.add_incoming(start, carried)
            value.add_incoming(end, body)
        for i in range(height):
            for j in range(width):
                sums[i][j].add_incoming(nothing, entry)
                sums[i][j].add_incoming(before[i][j], carried)
                sums[i][j].add_incoming(after[i][j], body)

        builder.position_at_end(done)
        for row, values in zip(pointers, sums, strict=True):
            for pointer, value in zip(row, values, strict=True):
                builder.store(value, pointer, align=align)
        return target.get_dummy_value()

    return signature, generate


def _fused_step(builder: Any, vector: ir.VectorType, bits: int) -> Any:
    """LLVM's multiply-add of vectors, which is one instruction and one rounding."""
    name = f"llvm.fma.v{vector.count}f{bits}"
    kind = ir.FunctionType(vector, [vector] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, name)


def _broadcast(builder: Any, value: Any, vector: Any) -> Any:
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), lanes)


def _eight(scalar: Any) -> ir.VectorType:
    return ir.VectorType(_element(scalar), _BITS)


@intrinsic
def activate(context, c, slope):
    """ReLU of 8 elements in place, of the type of `slope`; returns one bit for each.

    An element that is > 0 or NaN stays and has its bit set; any other becomes +0.0 if the slope is
    0, else slope times it.
    """

    def generate(target, builder, _, arguments):
        vector = _eight(slope)
        align = slope.bitwidth // 8
        pointer = builder.inttoptr(arguments[0], vector.as_pointer())
        z = builder.load(pointer, align=align)
        active = builder.fcmp_unordered(">", z, ir.Constant(vector, None))
        builder.store(_selected(builder, active, z, arguments[1]), pointer, align=align)
        return builder.bitcast(active, ir.IntType(_BITS))

    return types.uint8(types.intp, slope), generate


@intrinsic
def select(context, to, source, byte, slope):
    """8 elements from `source` to `to`, as `activate` where the bits of `byte` say so."""

    def generate(target, builder, _, arguments):
        to, source, byte, factor = arguments
        vector = _eight(slope)
        align = slope.bitwidth // 8
        values = builder.load(builder.inttoptr(source, vector.as_pointer()), align=align)
        active = builder.bitcast(byte, ir.VectorType(ir.IntType(1), _BITS))
        result = _selected(builder, active, values, factor)
        builder.store(result, builder.inttoptr(to, vector.as_pointer()), align=align)
        return target.get_dummy_value()

    return types.void(types.intp, types.intp, types.uint8, slope), generate


def _selected(builder: Any, active: Any, values: Any, slope: Any) -> Any:
    """values where active; elsewhere slope times them, or +0.0 whatever they are if it is 0."""
    zero = ir.Constant(values.type, None)
    scaled = builder.fmul(_broadcast(builder, slope, values.type), values)
    none = builder.fcmp_ordered("==", slope, ir.Constant(slope.type, 0.0))
    return builder.select(active, values, builder.select(none, zero, scaled))


@numba.njit
def address(array):
    """Where an array begins. Numba's own number is unsigned: with a signed one it makes a float."""
    return np.intp(array.ctypes.data)


@intrinsic
def read(context, address, like):
    """The element at an address, of the type of `like`."""

    def generate(target, builder, _, arguments):
        pointer = builder.inttoptr(arguments[0], arguments[1].type.as_pointer())
        return builder.load(pointer, align=like.bitwidth // 8)

    return like(types.intp, like), generate


@intrinsic
def write(context, address, value):
    """Store an element at an address."""

    def generate(target, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], arguments[1].type.as_pointer())
        builder.store(arguments[1], pointer, align=signature.args[1].bitwidth // 8)
        return target.get_dummy_value()

    return types.void(types.intp, value), generate


def heights(rows: int) -> Sequence[int]:
    """Of the strips of rows that a tile of `rows` rows comes in, highest first; the last is 1."""
    found = [rows]
    while found[-1] > 1:
        found.append(found[-1] // 2 if found[-1] > 3 else 1)
    return found
