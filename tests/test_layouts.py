"""hypothesis: any shapes, strides, offsets and dtypes give what the specification says.

Exact integers, so that layouts which the reference multiplies in another order compare alike.
"""

import numpy as np
from hypothesis import given, note
from hypothesis import strategies as st
from oracles import assert_same_bits, pack

import homfast
from homfast.selftesting.layouts import lay_out

sizes = st.one_of(st.integers(0, 12), st.integers(0, 70))


@st.composite
def layouts(draw):
    """How to lay out a matrix: order, gaps, direction and offset in bytes."""
    return (
        draw(st.booleans()),
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        draw(st.tuples(st.sampled_from([1, -1]), st.sampled_from([1, -1]))),
        draw(st.integers(0, 63)),
    )


@given(st.data(), sizes, sizes, sizes, st.sampled_from(["f4", "f8"]), st.sampled_from([0.0, 0.5]))
def test_any_layout(engine, data, rows, features, columns, kind, slope):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), label="seed"))
    x = rng.integers(-5, 6, (rows, features)).astype(kind)
    weight = rng.integers(-5, 6, (columns, features)).astype(kind)
    grad = 2 * rng.integers(-5, 6, (rows, columns)).astype(kind)
    active = rng.random((rows, columns)) < 0.5
    mask = pack(active).reshape(rows, (columns + 7) // 8)
    out = lay_out(np.zeros((rows, columns), kind), data.draw(layouts(), label="out"))
    arrays = [
        lay_out(array, data.draw(layouts(), label=name))
        for name, array in (("x", x), ("weight", weight), ("grad", grad), ("mask", mask))
    ]
    kept = [array.copy() for array in arrays]
    note(f"{engine} {kind} {rows, features, columns} slope={slope}")

    z = x @ weight.T
    options = {"negative_slope": slope, "backend": engine.backend}
    assert_same_bits(homfast.linear(*arrays[:2], backend=engine.backend) + 0, z + 0, "linear")
    y, bits = homfast.linear_relu(*arrays[:2], return_mask=True, **options)
    wanted = np.where(z > 0, z, slope * z)
    assert_same_bits(y + 0, wanted.astype(kind) + 0, "linear_relu")
    assert_same_bits(bits, pack(z > 0).reshape(mask.shape), "mask")
    assert homfast.linear_relu(*arrays[:2], out=out, **options) is out
    assert_same_bits(out + 0, wanted.astype(kind) + 0, "out")

    passed = np.where(active, grad, slope * grad).astype(kind)
    grad_input, grad_weight = homfast.linear_relu_backward(
        arrays[2], arrays[0], arrays[1], arrays[3], **options
    )
    assert_same_bits(grad_input + 0, passed @ weight + 0, "grad_input")
    assert_same_bits(grad_weight + 0, passed.T @ x + 0, "grad_weight")
    for array, before in zip(arrays, kept, strict=True):
        assert_same_bits(array, before, "an input was written to")


@given(st.data(), st.lists(st.integers(0, 4), max_size=4), sizes, sizes)
def test_any_leading_axes(engine, data, lead, features, columns):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32), label="seed"))
    x = rng.integers(-5, 6, (*lead, features)).astype(np.float32)
    weight = rng.integers(-5, 6, (columns, features)).astype(np.float32)
    axes = data.draw(st.permutations(range(len(lead))), label="axes")
    moved = np.ascontiguousarray(x.transpose(*axes, len(lead)))
    view = moved.transpose(*np.argsort([*axes, len(lead)]))
    assert view.shape == x.shape
    y = homfast.linear(view, weight, backend=engine.backend)
    assert_same_bits(y + 0, (x @ weight.T).reshape(*lead, columns) + 0, f"{engine} {lead} {axes}")
    out = np.empty((columns, *lead), np.float32).transpose(*range(1, len(lead) + 1), 0)
    homfast.linear(view, weight, out=out, backend=engine.backend)
    assert_same_bits(np.ascontiguousarray(out), y, f"{engine} out {lead} {axes}")
