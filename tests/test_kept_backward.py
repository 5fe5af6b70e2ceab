"""``Network.backward`` from arrays that ``forward`` wrote: the bits of a trace's backward pass."""

import numpy as np
import pytest
from oracles import assert_same_bits

from homfast import ReLUNetwork

WIDTHS = (17, 33, 40, 9)


def kept(net, x):
    masks = [np.zeros((len(x), (w + 7) // 8), np.uint8) for w in net.widths[1:-1]]
    hidden = [np.empty((len(x), w), x.dtype) for w in net.widths[1:-1]]
    y = np.empty((len(x), net.widths[-1]), x.dtype)
    net._chain.forward(x, masks, hidden, y)
    return y, masks, hidden


@pytest.mark.parametrize("rows", [0, 1, 20, 300])
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_same_bits_as_a_trace(engine, rng, dtype, rows, slope):
    net = ReLUNetwork.random(WIDTHS, dtype=dtype, negative_slope=slope, backend=engine.backend)
    x = rng.standard_normal((rows, 17)).astype(dtype)
    grad = rng.standard_normal((rows, 9)).astype(dtype)
    y, masks, hidden = kept(net, x)
    wanted, pull_back = net.vjp(x)
    assert_same_bits(y, wanted, str(engine))
    grad_input, grad_weights = pull_back(grad)
    below = np.full((rows, 20), np.nan, dtype)[:, :17]
    above = [np.full(w.shape, np.nan, dtype) for w in net.weights]
    net._chain.backward(x, masks, hidden, grad, below, above)
    for mine, other in zip((below, *above), (grad_input, *grad_weights), strict=True):
        assert_same_bits(np.ascontiguousarray(mine), other, str(engine))
    only = [np.full(w.shape, np.nan, dtype) for w in net.weights]
    net._chain.backward(x, masks, hidden, grad, None, only)
    for mine, other in zip(only, grad_weights, strict=True):
        assert_same_bits(mine, other, str(engine))
    below[...] = np.nan
    net._chain.backward(x, masks, hidden, grad, below, [])
    assert_same_bits(np.ascontiguousarray(below), grad_input, str(engine))


def test_the_binding_refuses(native_engine, rng):
    net = ReLUNetwork.random(WIDTHS, backend=native_engine.backend)
    x = rng.standard_normal((20, 17)).astype(np.float32)
    y, masks, hidden = kept(net, x)
    below, above = np.empty_like(x), [np.empty(w.shape, np.float32) for w in net.weights]
    good = (x, masks, hidden, y, below, above)
    net._chain.backward(*good)
    for index, bad in (
        (0, x[:, :16]),
        (0, x[:19]),
        (1, masks[:1]),
        (1, [masks[0][:19], masks[1]]),
        (2, hidden[:1]),
        (2, [hidden[0][:, :32], hidden[1]]),
        (3, y[:, :8]),
        (3, y[:19]),
        (3, y.astype(np.float64)),
        (4, below[:, :16]),
        (4, below[:19]),
        (5, above[:2]),
        (5, [above[0], above[1], above[2][:8]]),
    ):
        with pytest.raises((TypeError, ValueError)):
            net._chain.backward(*good[:index], bad, *good[index + 1 :])
