"""Any strides, directions and offsets of arrays give the same; nothing beside them is touched.

Exact integers, whose results are known; and, of engines that keep bits, numbers whose sums round,
so that another order of them shows. What lies between the elements, and in `out`, is poison: bytes
0xFF, a NaN.
"""

from __future__ import annotations

import numpy as np

import homfast
from homfast.selftesting import sizes
from homfast.selftesting.oracles import assert_same_bits, ensure, pack

TITLE = "the same result from any strides, offsets and old contents of memory"
KEEPS_BITS = False
CORNERS = (
    {"rows": 17, "features": 33, "columns": 21},
    {"rows": 2, "features": 130, "columns": 65},
)


def draw(rng, largest):
    return sizes.layer(rng, min(largest, 150))


def check(engine, dtype, rng, rows, features, columns):
    shapes = (rows, features), (columns, features), (rows, columns)
    active = rng.random((rows, columns)) < 0.5
    layouts = [random_layout(rng) for _ in range(5)]
    whole = [rng.integers(-5, 6, shape).astype(dtype) for shape in shapes]
    check_integers(engine, dtype, *whole, active, layouts)
    if engine.keeps_bits:
        normal = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        check_bits(engine, dtype, *normal, active, layouts)


def check_bits(engine, dtype, x, weight, grad, active, layouts):
    """The same as from plain arrays."""
    plain = x, weight, grad, pack(active)
    laid_out = [lay_out(array, layout) for array, layout in zip(plain, layouts, strict=False)]
    wanted, found = (
        (
            *homfast.linear_relu(
                a, w, return_mask=True, negative_slope=0.1, backend=engine.backend
            ),
            *homfast.linear_relu_backward(
                g, a, w, mask, negative_slope=0.1, backend=engine.backend
            ),
        )
        for a, w, g, mask in (plain, laid_out)
    )
    case = f"{engine} {dtype} {x.shape} {weight.shape} layouts {layouts}"
    for number, (result, other) in enumerate(zip(found, wanted, strict=True)):
        assert_same_bits(result, other, f"result {number} {case}")


def check_integers(engine, dtype, x, weight, grad, active, layouts):
    (rows, features), columns = x.shape, len(weight)
    inputs = [
        lay_out(array, layout)
        for array, layout in zip((x, weight, grad, pack(active)), layouts[:4], strict=True)
    ]
    kept = [array.copy() for array in inputs]
    out, memory = laid_out_in(np.zeros((rows, columns), dtype), layouts[4])
    before = memory.copy()
    case = f"{engine} {dtype} {rows, features, columns} layouts {layouts}"

    z = x @ weight.T
    y, bits = homfast.linear_relu(*inputs[:2], out=out, return_mask=True, backend=engine.backend)
    ensure(y is out, f"{case}: another array than out was returned")
    assert_same_bits(out + 0, np.maximum(z, 0) + 0, f"out {case}")
    assert_same_bits(bits, pack(z > 0), f"mask {case}")
    out[...] = 0
    assert_same_bits(memory, before, f"beside out {case}")
    grad_input, grad_weight = homfast.linear_relu_backward(
        inputs[2], inputs[0], inputs[1], inputs[3], backend=engine.backend
    )
    passed = np.where(active, grad, 0).astype(dtype)
    assert_same_bits(grad_input + 0, passed @ weight + 0, f"grad_input {case}")
    assert_same_bits(grad_weight + 0, passed.T @ x + 0, f"grad_weight {case}")
    for array, copy in zip(inputs, kept, strict=True):
        assert_same_bits(array.copy(), copy, f"an input was written to: {case}")


def random_layout(rng):
    """Order, gaps, direction and offset in bytes of a matrix."""
    gaps, directions = rng.integers(1, 4, 2), rng.choice([-1, 1], 2)
    return bool(rng.random() < 0.5), tuple(gaps.tolist()), tuple(directions.tolist()), int(
        rng.integers(64)
    )  # fmt: skip


def lay_out(matrix, layout):
    """A view with these strides that holds the values of ``matrix``, among poison."""
    return laid_out_in(matrix, layout)[0]


def laid_out_in(matrix, layout):
    """The view, and the bytes it lies in."""
    fortran, gaps, directions, offset = layout
    source = matrix.T if fortran else matrix
    shape = [max(n, 1) * gap for n, gap in zip(source.shape, gaps, strict=True)]
    raw = np.full(int(np.prod(shape)) * matrix.itemsize + 64, 0xFF, np.uint8)
    whole = raw[offset : raw.size - 64 + offset].view(matrix.dtype).reshape(shape)
    view = whole[tuple(slice(None, None, gap) for gap in gaps)]
    view = view[tuple(slice(n) for n in source.shape)]
    view = view[tuple(slice(None, None, direction) for direction in directions)]
    view = view.T if fortran else view
    view[...] = matrix
    ensure(view.shape == matrix.shape, f"layout {layout} lost the shape {matrix.shape}")
    return view, raw
