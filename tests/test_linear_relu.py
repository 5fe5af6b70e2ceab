"""linear_relu: product, ReLU and bit mask in one pass."""

import numpy as np
import pytest
from oracles import KINDS, assert_same_bits, assert_within, operands, product, relu

import homfast
from homfast.selftesting.bounds import SLOPES
from homfast.selftesting.bounds import check_relu as check

SHAPES = [(1, 1, 1), (1, 257, 3), (2, 3, 130), (5, 8, 8), (15, 16, 17), (16, 17, 15), (17, 9, 7),
          (33, 31, 65), (64, 100, 9), (100, 300, 77), (130, 64, 250)]  # fmt: skip


@pytest.mark.parametrize("slope", SLOPES)
def test_within_bound_and_mask_agrees(engine, dtype, rng, slope):
    for index, (rows, features, columns) in enumerate(SHAPES):
        kind = KINDS[index % len(KINDS)]
        x, weight = operands(rng, kind, rows, features, columns, dtype)
        case = f"{engine} {dtype} {kind} {rows, features, columns} slope={slope}"
        check(engine, dtype, x, weight, slope, case)


@pytest.mark.parametrize("columns", [*range(1, 35), 63, 64, 65, 127, 129])
def test_every_width_of_the_mask(engine, dtype, rng, columns):
    x, weight = operands(rng, "normal", 18, 5, columns, dtype)
    y, mask = check(engine, dtype, x, weight, 0.0, f"{engine} {dtype} (18, 5, {columns})")
    assert mask.dtype == np.uint8 and mask.shape == (18, (columns + 7) // 8)
    assert_same_bits(mask, np.packbits(y > 0, axis=-1, bitorder="little"), f"{engine} {columns}")


def test_large_within_bound(engine, rng):
    dtype = np.dtype(np.float32)
    x, weight = operands(rng, "normal", 257, 1031, 517, dtype)
    check(engine, dtype, x, weight, 0.0, f"{engine} {dtype} (257, 1031, 517)")


@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_with_and_without_mask_are_the_same(engine, dtype, rng, slope):
    for rows, features, columns in SHAPES:
        x, weight = operands(rng, "normal", rows, features, columns, dtype)
        options = {"negative_slope": slope, "backend": engine.backend}
        y, mask = homfast.linear_relu(x, weight, return_mask=True, **options)
        out = np.full_like(y, np.nan)
        result = homfast.linear_relu(x, weight, out=out, **options)
        assert result is out
        case = f"{engine} {dtype} {rows, features, columns} slope={slope}"
        assert_same_bits(out, y, case)
        again, same = homfast.linear_relu(x, weight, out=out, return_mask=True, **options)
        assert again is out
        assert_same_bits(out, y, case)
        assert_same_bits(same, mask, case)


@pytest.mark.parametrize("lead", [(), (1,), (2, 3), (0, 3), (2, 1, 4)])
def test_leading_axes(engine, dtype, rng, lead):
    x = rng.integers(-4, 5, (*lead, 7)).astype(dtype)
    weight = rng.integers(-4, 5, (13, 7)).astype(dtype)
    y, mask = homfast.linear_relu(x, weight, return_mask=True, backend=engine.backend)
    wanted = x @ weight.T
    case = f"{engine} {dtype} lead={lead}"
    assert_same_bits(y, np.where(wanted > 0, wanted, dtype.type(0)), case)
    assert_same_bits(mask, np.packbits(wanted > 0, axis=-1, bitorder="little"), case)


def test_slope_is_any_number(engine, dtype):
    x, weight = np.ones((2, 1), dtype), np.array([[-2], [4]], dtype)
    for slope in (np.float32(0.5), np.float64(0.5), 1 / 2, np.array(0.5)):
        y = homfast.linear_relu(x, weight, negative_slope=slope, backend=engine.backend)
        assert np.array_equal(y, [[-1, 4], [-1, 4]]), f"{engine} slope {slope!r}"
    y = homfast.linear_relu(x, weight, negative_slope=2, backend=engine.backend)
    assert np.array_equal(y, [[-4, 4], [-4, 4]]), f"{engine} slope 2"


def test_agrees_with_torch(engine, torch, dtype, rng):
    x, weight = operands(rng, "normal", 33, 31, 65, dtype)
    y = homfast.linear_relu(x, weight, negative_slope=0.1, backend=engine.backend)
    z = torch.nn.functional.linear(torch.from_numpy(x), torch.from_numpy(weight))
    wanted = torch.nn.functional.leaky_relu(z, 0.1).numpy()
    value, bound = product(x, weight.T)
    _, bound = relu(value, bound, 0.1, dtype)
    assert_within(y, wanted.astype(value.dtype), 2 * bound, f"{engine} {dtype}")
