"""An ``out`` that overlaps an input works as if it did not (contract, 7)."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from oracles import assert_same_bits, integers

import homfast
from homfast import ReLUNetwork

CALLS = {"linear": homfast.linear, "linear_relu": homfast.linear_relu}


def check(engine, call, x, weight, out, case):
    """The product of copies, exactly, in the place where out is."""
    wanted = x.astype(np.int64) @ weight.T.astype(np.int64)
    if call == "linear_relu":
        wanted = np.maximum(wanted, 0)
    assert CALLS[call](x, weight, out=out, backend=engine.backend) is out
    assert np.array_equal(out, wanted), f"{call} {case}"


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("size", [1, 3, 8, 17, 40])
def test_out_is_an_input(engine, dtype, rng, call, size):
    for name in ("x", "x transposed", "x reversed", "weight", "weight transposed"):
        x, weight = integers(rng, (size, size), dtype), integers(rng, (size, size), dtype)
        source = x if name.startswith("x") else weight
        out = source.T if "transposed" in name else source[::-1] if "reversed" in name else source
        check(engine, call, x, weight, out, f"{engine} {dtype} {size} out is {name}")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("shift", [*range(-20, 21), 100, -100])
def test_out_is_shifted_against_x(engine, dtype, rng, call, shift):
    """By elements, so that rows of one cut those of the other."""
    rows, features, columns = 21, 9, 7
    buffer = np.zeros(600, dtype)
    x = buffer[200 : 200 + rows * features].reshape(rows, features)
    x[...] = integers(rng, x.shape, dtype)
    start = 200 + shift
    out = buffer[start : start + rows * columns].reshape(rows, columns)
    weight = integers(rng, (columns, features), dtype)
    check(engine, call, x, weight, out, f"{engine} {dtype} shift={shift}")


@pytest.mark.parametrize("call", CALLS)
def test_out_is_woven_into_an_input(engine, dtype, rng, call):
    """Interleaved rows and columns share no element, or some."""
    for stride, start in ((2, 0), (2, 1), (3, 1)):
        buffer = np.zeros((64, 40), dtype)
        x = buffer[: 21 * stride : stride, :9]
        x[...] = integers(rng, x.shape, dtype)
        out = buffer[start : start + 21 * stride : stride, 4:11]
        weight = integers(rng, (7, 9), dtype)
        check(engine, call, x, weight, out, f"{engine} {dtype} woven {stride, start}")
    buffer = np.zeros((21, 40), dtype)
    x, out = buffer[:, :18:2], buffer[:, 1:15:2]
    x[...] = integers(rng, x.shape, dtype)
    check(engine, call, x, weight, out, f"{engine} {dtype} columns interleaved")


@pytest.mark.parametrize("call", CALLS)
def test_input_and_weight_are_one_array(engine, dtype, rng, call):
    x = integers(rng, (17, 17), dtype)
    check(engine, call, x, x, np.empty_like(x), f"{engine} {dtype} x is weight")
    check(engine, call, x, x.T, np.empty_like(x), f"{engine} {dtype} weight is x.T")
    check(engine, call, x, x, x, f"{engine} {dtype} x is weight is out")


def test_elements_of_out_that_lie_on_each_other_are_refused(engine, dtype, rng):
    """Results would be lost there; PyTorch's expand() gives such tensors, which can be written."""
    x, weight = np.ones((6, 3), dtype), np.ones((4, 3), dtype)
    buffer = np.zeros(100, dtype)
    step = buffer.itemsize
    for strides in ((step, step), (0, step), (step, 0), (3 * step, step), (-step, step)):
        out = as_strided(buffer[40:], (6, 4), strides)
        with pytest.raises(ValueError, match="out: got an array whose elements lie over"):
            homfast.linear(x, weight, out=out, backend=engine.backend)
        out = as_strided(buffer[40:], (2, 3, 4), (3 * strides[0], *strides))
        with pytest.raises(ValueError, match="out: got an array whose elements lie over"):
            homfast.linear(x.reshape(2, 3, 3), weight, out=out, backend=engine.backend)
    assert not buffer.any()
    for shape, strides in (((6, 4), (step, 6 * step)), ((0, 4), (0, 0)), ((1, 4), (0, 2 * step))):
        out = as_strided(buffer, shape, strides)
        homfast.linear(x[: shape[0]], weight, out=out, backend=engine.backend)
        assert (out == 3).all(), f"{engine} {dtype} {shape} {strides}"


def test_vectors(engine, dtype, rng):
    for features, columns in ((9, 9), (5, 12), (12, 5)):
        buffer = np.zeros(40, dtype)
        x, out = buffer[3 : 3 + features], buffer[5 : 5 + columns]
        x[...] = integers(rng, features, dtype)
        weight = integers(rng, (columns, features), dtype)
        check(engine, "linear", x, weight, out, f"{engine} {dtype} {features, columns}")
        x[...] = integers(rng, features, dtype)
        out = buffer[3 + columns - 1 : 2 : -1]
        check(engine, "linear", x, weight, out, f"{engine} {dtype} {features, columns} reversed")


def test_networks(engine, dtype, rng):
    net = ReLUNetwork(
        [integers(rng, s, dtype, 2) for s in ((33, 17), (17, 33))], backend=engine.backend
    )
    for shift in (0, 1, 17, -3, 40):
        buffer = np.zeros(900, dtype)
        x = buffer[100 : 100 + 20 * 17].reshape(20, 17)
        x[...] = integers(rng, x.shape, dtype)
        wanted = net(x.copy())
        out = buffer[100 + shift : 100 + shift + 20 * 17].reshape(20, 17)
        assert net(x, out=out) is out
        assert_same_bits(out.copy(), wanted, f"{engine} {dtype} shift={shift}")


def test_a_plain_out_is_written_where_it_lies(engine, dtype, rng):
    """Outs that the short way takes, and ones that lie so close that it must not."""
    memory = rng.standard_normal(200).astype(dtype)
    weight = rng.standard_normal((6, 6)).astype(dtype)
    net = homfast.ReLUNetwork([weight, weight], backend=engine.backend)
    for first in (0, 10, 29, 30, 31, 48, 59, 60, 100):
        own = memory.copy()
        x, out = own[30:60].reshape(5, 6), own[first : first + 30].reshape(5, 6)
        kept = x.copy()
        around = np.delete(own, np.s_[first : first + 30])
        assert net(x, out=out) is out
        assert_same_bits(out, net(kept), f"{engine} {dtype} network at {first}")
        assert_same_bits(np.delete(own, np.s_[first : first + 30]), around, "beside out")
        own[:] = memory
        for flat in (x, x[::-1]):
            own[:] = memory
            kept = flat.copy()
            assert homfast.linear(flat, weight, out=out) is out
            assert_same_bits(out, homfast.linear(kept, weight), f"{engine} {dtype} at {first}")
    own = memory.copy()
    weight, out = own[30:66].reshape(6, 6), own[60:90].reshape(5, 6)
    kept, x = weight.copy(), memory[:30].reshape(5, 6)
    y, mask = homfast.linear_relu(x, weight, out=out, return_mask=True)
    wanted, wanted_mask = homfast.linear_relu(x, kept, return_mask=True)
    assert y is out and np.array_equal(mask, wanted_mask)
    assert_same_bits(out, wanted, "out within the weight")
