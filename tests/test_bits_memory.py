"""Bits do not depend on alignment, strides, or what was in memory before (contract, 2)."""

import numpy as np
import pytest
from oracles import assert_same_bits, pack

import homfast

SHAPES = [(3, 5, 7), (20, 17, 33), (33, 64, 31), (7, 130, 9), (18, 1, 16)]  # rows, in, out


def problem(rng, dtype, rows, features, columns):
    return {
        "x": rng.standard_normal((rows, features)).astype(dtype),
        "weight": rng.standard_normal((columns, features)).astype(dtype),
        "grad": rng.standard_normal((rows, columns)).astype(dtype),
        "mask": pack(rng.random((rows, columns)) < 0.5),
    }


def results(backend, x, weight, grad, mask):
    y, bits = homfast.linear_relu(x, weight, return_mask=True, backend=backend)
    gradients = homfast.linear_relu_backward(grad, x, weight, mask, backend=backend)
    return {
        "linear": homfast.linear(x, weight, backend=backend),
        "linear_relu": y,
        "mask": bits,
        "grad_input": gradients[0],
        "grad_weight": gradients[1],
    }


def assert_same_results(actual, wanted, case):
    for name, result in actual.items():
        assert_same_bits(result, wanted[name], f"{name} {case}")


def at_offset(array, offset):
    """A copy whose first byte lies ``offset`` bytes after a multiple of 64."""
    raw = np.full(array.nbytes + 192, 0xFF, np.uint8)
    start = -raw.ctypes.data % 64 + offset
    view = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert view.ctypes.data % 64 == offset % 64
    return view


@pytest.mark.parametrize("shape", SHAPES)
def test_alignment(bit_engine, dtype, rng, shape):
    arrays = problem(rng, dtype, *shape)
    wanted = results(bit_engine.backend, **arrays)
    for offset in range(64):
        case = f"{bit_engine} {dtype} {shape} {offset} bytes after a multiple of 64"
        moved = {name: at_offset(array, offset) for name, array in arrays.items()}
        assert_same_results(results(bit_engine.backend, **moved), wanted, f"all {case}")
        for name in ("x", "weight", "grad"):
            one = {**arrays, name: moved[name]}
            assert_same_results(results(bit_engine.backend, **one), wanted, f"{name} alone {case}")
        out = at_offset(np.full_like(wanted["linear"], np.nan), offset)
        homfast.linear(arrays["x"], arrays["weight"], out=out, backend=bit_engine.backend)
        assert_same_bits(out, wanted["linear"], f"out {case}")


def reversed_rows(array):
    return np.ascontiguousarray(array[::-1])[::-1]


def reversed_columns(array):
    return np.ascontiguousarray(array[:, ::-1])[:, ::-1]


def between_poison(array):
    """Rows and columns inside a larger array of NaN, or of set bits."""
    poison = np.nan if array.dtype.kind == "f" else 255
    wide = np.full((3 * len(array) + 2, array.shape[1] + 70), poison, array.dtype)
    view = wide[1 : 1 + 3 * len(array) : 3, 35 : 35 + array.shape[1]]
    view[...] = array
    return view


def columns_apart(array):
    wide = np.full((len(array), 2 * array.shape[1]), 77, array.dtype)
    wide[:, ::2] = array
    return wide[:, ::2]


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "rows reversed": reversed_rows,
    "columns reversed": reversed_columns,
    "columns apart": columns_apart,
    "between NaNs": between_poison,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_strides(bit_engine, dtype, rng, shape, layout):
    arrays = problem(rng, dtype, *shape)
    wanted = results(bit_engine.backend, **arrays)
    views = {name: LAYOUTS[layout](array) for name, array in arrays.items()}
    case = f"{bit_engine} {dtype} {shape} {layout}"
    for name in arrays:
        assert_same_results(
            results(bit_engine.backend, **{**arrays, name: views[name]}), wanted, f"{name} {case}"
        )
    assert_same_results(results(bit_engine.backend, **views), wanted, f"all {case}")


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_of_stride_zero(bit_engine, dtype, rng, shape):
    arrays = problem(rng, dtype, *shape)
    for name in ("x", "grad", "mask"):
        one = np.broadcast_to(arrays[name][:1], arrays[name].shape)
        wanted = results(bit_engine.backend, **{**arrays, name: one.copy()})
        case = f"{bit_engine} {dtype} {shape} {name} of stride 0"
        assert_same_results(results(bit_engine.backend, **{**arrays, name: one}), wanted, case)
    rows = np.broadcast_to(arrays["weight"][:1], arrays["weight"].shape)
    wanted = results(bit_engine.backend, **{**arrays, "weight": rows.copy()})
    assert_same_results(
        results(bit_engine.backend, **{**arrays, "weight": rows}), wanted, "weight of stride 0"
    )


POISONS = {"NaN": np.nan, "0xFF": None, "zeros": 0.0, "huge": 1e38}


def poisoned(array, poison):
    if poison is None:
        array.view(np.uint8)[...] = 0xFF
    else:
        array[...] = poison
    return array


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("shape", [*SHAPES, (20, 0, 33), (100, 300, 77)])
def test_what_was_in_memory_before(bit_engine, dtype, rng, shape, poison):
    """Results are overwritten, not added to, in every tile; also those the package allocates."""
    arrays = problem(rng, dtype, *shape)
    wanted = results(bit_engine.backend, **arrays)
    value = POISONS[poison]
    case = f"{bit_engine} {dtype} {shape} over {poison}"
    module, packed = bit_engine.module, bit_engine.module.pack_weight(arrays["weight"])
    rows, features, columns = shape
    for weight in (arrays["weight"], packed):
        out, mask = np.empty((rows, columns), dtype), np.empty_like(arrays["mask"])
        module.linear(arrays["x"], weight, poisoned(out, value))
        if weight is not packed:
            assert_same_bits(out, wanted["linear"], f"linear {case}")
        plain = out.copy()
        module.linear_relu(arrays["x"], weight, 0.0, poisoned(out, value), poisoned(mask, None))
        assert_same_bits(out, np.where(plain <= 0, dtype.type(0), plain), f"linear_relu {case}")
        assert_same_bits(mask, pack(~(plain <= 0)), f"mask {case}")
        module.linear_masked(arrays["x"], weight, mask, 0.0, poisoned(out, value))
        assert_same_bits(out, np.where(plain <= 0, dtype.type(0), plain), f"linear_masked {case}")
        below = np.empty((rows, features), dtype)
        module.grad_input(arrays["grad"], weight, arrays["mask"], 0.0, poisoned(below, value))
        if weight is not packed:
            assert_same_bits(below, wanted["grad_input"], f"grad_input {case}")
    gradient = np.empty((columns, features), dtype)
    module.grad_weight(arrays["grad"], arrays["x"], arrays["mask"], 0.0, poisoned(gradient, value))
    assert_same_bits(gradient, wanted["grad_weight"], f"grad_weight {case}")


@pytest.mark.parametrize("threads", [1, 3])
def test_workspace_of_an_earlier_call(bit_engine, dtype, rng, threads):
    """A call on NaNs leaves nothing behind that a later call reads."""
    homfast.set_num_threads(threads)
    for shape in [*SHAPES, (100, 300, 77), (300, 129, 65)]:
        arrays = problem(rng, dtype, *shape)
        wanted = results(bit_engine.backend, **arrays)
        nans = problem(rng, dtype, 310, 310, 130)
        for name in ("x", "weight", "grad"):
            nans[name][...] = np.nan
        results(bit_engine.backend, **nans)
        case = f"{bit_engine} {dtype} {shape} after NaNs, {threads} threads"
        assert_same_results(results(bit_engine.backend, **arrays), wanted, case)
