"""linear_relu_backward: both gradients, against wider arithmetic under the mask that was given.

A pre-activation near 0 may round to either side, so gradients are compared under the kernel's own
mask, and the mask with the forward pass (test_linear_relu.py).
"""

import numpy as np
import pytest
from oracles import KINDS, assert_same_bits, assert_within, operands, pack, product, select, unpack

import homfast
from homfast.selftesting.bounds import check_gradients as check

SHAPES = [(1, 1, 1), (1, 257, 3), (2, 3, 130), (3, 7, 9), (5, 8, 8), (15, 16, 17), (16, 17, 15),
          (17, 9, 7), (33, 31, 65), (64, 100, 9), (100, 300, 77), (520, 13, 21)]  # fmt: skip


def problem(rng, kind, rows, features, columns, dtype):
    x, weight = operands(rng, kind, rows, features, columns, dtype)
    grad = rng.standard_normal((rows, columns)).astype(dtype)
    mask = pack(rng.random((rows, columns)) < 0.5)
    return grad, x, weight, mask


@pytest.mark.parametrize("slope", [0.0, 0.1, -1.0])
def test_within_bound(engine, dtype, rng, slope):
    for index, shape in enumerate(SHAPES):
        for kind in (KINDS[index % 4], KINDS[(index + 1) % 4]):
            grad, x, weight, mask = problem(rng, kind, *shape, dtype)
            case = f"{engine} {dtype} {kind} (rows, in, out) = {shape} slope={slope}"
            check(engine, grad, x, weight, mask, slope, case)


def test_linear_layer_has_no_mask(engine, dtype, rng):
    for shape in SHAPES:
        grad, x, weight, _ = problem(rng, "normal", *shape, dtype)
        check(engine, grad, x, weight, None, 0.0, f"{engine} {dtype} {shape} no mask")
        gradients = homfast.linear_relu_backward(grad, x, weight, None, backend=engine.backend)
        full = pack(np.ones(grad.shape, bool))
        masked = homfast.linear_relu_backward(grad, x, weight, full, backend=engine.backend)
        for gradient, other in zip(masked, gradients, strict=True):
            assert_same_bits(gradient, other, f"{engine} {dtype} {shape} all active")


@pytest.mark.parametrize(
    "shape",
    [(1100, 257, 130), (3, 1100, 1000), (1050, 1040, 33)],
    ids=["blocks", "gradient in pieces", "scales in pieces"],
)
def test_large_within_bound(engine, rng, shape):
    grad, x, weight, mask = problem(rng, "normal", *shape, np.dtype(np.float32))
    check(engine, grad, x, weight, mask, 0.0, f"{engine} float32 {shape}")


@pytest.mark.parametrize("columns", [*range(1, 35), 63, 64, 65, 129])
def test_every_width_of_the_mask(engine, dtype, rng, columns):
    grad, x, weight, mask = problem(rng, "normal", 18, 5, columns, dtype)
    check(engine, grad, x, weight, mask, 0.0, f"{engine} {dtype} (18, 5, {columns})")


def test_mask_of_the_forward_pass(engine, dtype, rng):
    for shape in SHAPES:
        grad, x, weight, _ = problem(rng, "normal", *shape, dtype)
        _, mask = homfast.linear_relu(x, weight, return_mask=True, backend=engine.backend)
        check(engine, grad, x, weight, mask, 0.0, f"{engine} {dtype} {shape} own mask")


@pytest.mark.parametrize("masked", [True, False])
def test_either_gradient_alone(engine, dtype, rng, masked):
    for shape in SHAPES:
        grad, x, weight, mask = problem(rng, "normal", *shape, dtype)
        mask = mask if masked else None
        both = homfast.linear_relu_backward(grad, x, weight, mask, backend=engine.backend)
        only_input = homfast.linear_relu_backward(grad, None, weight, mask, backend=engine.backend)
        only_weight = homfast.linear_relu_backward(grad, x, None, mask, backend=engine.backend)
        neither = homfast.linear_relu_backward(grad, None, None, mask, backend=engine.backend)
        case = f"{engine} {dtype} {shape} masked={masked}"
        assert only_input[1] is None and only_weight[0] is None and neither == (None, None), case
        assert_same_bits(only_input[0], both[0], f"grad_input {case}")
        assert_same_bits(only_weight[1], both[1], f"grad_weight {case}")


@pytest.mark.parametrize("lead", [(), (1,), (2, 3), (0, 3), (2, 1, 4)])
def test_leading_axes(engine, dtype, rng, lead):
    grad = rng.integers(-4, 5, (*lead, 13)).astype(dtype)
    x = rng.integers(-4, 5, (*lead, 7)).astype(dtype)
    weight = rng.integers(-4, 5, (13, 7)).astype(dtype)
    active = rng.random(grad.shape) < 0.5
    grad_input, grad_weight = homfast.linear_relu_backward(
        grad, x, weight, pack(active), backend=engine.backend
    )
    passed = np.where(active, grad, 0)
    case = f"{engine} {dtype} lead={lead}"
    assert grad_input.shape == x.shape and grad_weight.shape == weight.shape, case
    assert np.array_equal(grad_input, passed @ weight), case
    rows = passed.reshape(-1, 13) if lead else passed[None]
    assert np.array_equal(grad_weight, rows.T @ x.reshape(len(rows), 7)), case


def test_layouts_of_the_mask(engine, dtype, rng):
    grad, x, weight, mask = problem(rng, "normal", 33, 31, 65, dtype)
    wanted = homfast.linear_relu_backward(grad, x, weight, mask, backend=engine.backend)
    wide = np.full((66, 20), 255, np.uint8)
    wide[::2, 3:12] = mask
    for name, view in {
        "rows apart": wide[::2, 3:12],
        "transposed": np.asfortranarray(mask),
        "rows reversed": np.ascontiguousarray(mask[::-1])[::-1],
    }.items():
        gradients = homfast.linear_relu_backward(grad, x, weight, view, backend=engine.backend)
        for gradient, other in zip(gradients, wanted, strict=True):
            assert_same_bits(gradient, other, f"{engine} {dtype} mask {name}")
    one = np.broadcast_to(mask[:1], mask.shape)
    wanted = homfast.linear_relu_backward(grad, x, weight, one.copy(), backend=engine.backend)
    gradients = homfast.linear_relu_backward(grad, x, weight, one, backend=engine.backend)
    for gradient, other in zip(gradients, wanted, strict=True):
        assert_same_bits(gradient, other, f"{engine} {dtype} mask of stride 0")


def test_agrees_with_torch(engine, torch, dtype, rng):
    grad, x, weight, _ = problem(rng, "normal", 33, 31, 65, dtype)
    tensors = [torch.from_numpy(a.copy()).requires_grad_() for a in (x, weight)]
    z = torch.nn.functional.linear(*tensors)
    torch.nn.functional.leaky_relu(z, 0.1).backward(torch.from_numpy(grad))
    mask = pack(~(z.detach().numpy() <= 0))
    gradients = homfast.linear_relu_backward(
        grad, x, weight, mask, negative_slope=0.1, backend=engine.backend
    )
    passed = select(unpack(mask, 65), grad, 0.1)
    for gradient, tensor, pair in zip(
        gradients, tensors, [(passed, weight), (passed.T, x)], strict=True
    ):
        value, bound = product(*pair, extra_roundings=1)
        assert_within(gradient, tensor.grad.numpy().astype(value.dtype), 2 * bound, f"{engine}")
