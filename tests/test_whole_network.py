"""A whole network in one call is its layers one after the other, to the bit, however it is cut.

The layers one by one are LayerwiseNetwork with the same ops of the backend, which the tests of
layers bind.
"""

import numpy as np
import pytest
from oracles import assert_same_bits, pack

import homfast
from homfast import ReLUNetwork
from homfast._backends.layerwise import LayerwiseNetwork

WIDTHS = [(1, 1), (3, 0, 2), (0, 3, 2), (3, 2, 0), (1, 1, 1), (17, 33, 9, 4), (5, 257, 3),
          (9, 130, 1), (64, 128, 128, 64), (31, 7, 65, 8, 1, 16)]  # fmt: skip
ROWS = (0, 1, 2, 7, 8, 9, 15, 16, 17, 33, 65, 130, 257)
LARGE = [((64, 512, 512, 64), 1500), ((700, 33, 1100, 5), 700), ((8, 2048, 8), 300)]


class Shaped:
    """A packed weight that knows its shape, and the ops on it, as LayerwiseNetwork wants them."""

    def __init__(self, module, weight):
        self.shape, self.packed = weight.shape, module.pack_weight(weight)


class Ops:
    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        op = getattr(self.module, name)
        return lambda x, layer, *others: op(x, layer.packed, *others)


class Pair:
    """Both ways through one network."""

    def __init__(self, engine, rng, widths, dtype, slope=0.1):
        self.module, self.widths, self.dtype = engine.module, widths, dtype
        shapes = zip(widths[1:], widths, strict=False)
        weights = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        layers = [Shaped(self.module, w) for w in weights]
        self.whole = self.module.pack_network([layer.packed for layer in layers], slope)
        self.layerwise = LayerwiseNetwork(Ops(self.module), layers, slope)

    def forward(self, network, x, keep):
        rows, hidden = len(x), self.widths[1:-1]
        masks = [np.full((rows, (w + 7) // 8), 0xA5, np.uint8) for w in hidden if "m" in keep]
        inner = [np.full((rows, w), np.nan, self.dtype) for w in hidden if "h" in keep]
        out = np.full((rows, self.widths[-1]), np.nan, self.dtype)
        network.forward(x, masks, inner, out)
        return [*masks, *inner, out]

    def directions(self, network, v, u, masks):
        dy = np.full((len(v), self.widths[-1]), np.nan, self.dtype)
        dx = np.full((len(u), self.widths[0]), np.nan, self.dtype)
        network.forward_masked(v, masks, dy)
        network.adjoint(u, masks, dx)
        return [dy, dx]


def check(pair, rng, rows, case):
    x, v = (rng.standard_normal((rows, pair.widths[0])).astype(pair.dtype) for _ in range(2))
    u = rng.standard_normal((rows, pair.widths[-1])).astype(pair.dtype)
    for keep in ("", "m", "h", "mh"):
        results = pair.forward(pair.whole, x, keep), pair.forward(pair.layerwise, x, keep)
        for index, (result, wanted) in enumerate(zip(*results, strict=True)):
            assert_same_bits(result, wanted, f"forward {keep!r} result {index} {case}")
    plain = pair.whole.plain(x, None)
    if plain is not None:
        assert_same_bits(plain, results[1][-1], f"plain {case}")
    widths = pair.widths[1:-1]
    chosen = [pack(rng.random((rows, w)) < 0.5).reshape(rows, (w + 7) // 8) for w in widths]
    alike = [np.broadcast_to(m[:1], m.shape) for m in chosen]
    for masks in (chosen, alike):
        results = (pair.directions(n, v, u, masks) for n in (pair.whole, pair.layerwise))
        for name, result, wanted in zip(("J v", "J^T u"), *results, strict=True):
            assert_same_bits(result, wanted, f"{name} {case}")


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("slope", [0.0, 0.1])
def test_every_batch_size(native_engine, dtype, rng, widths, slope):
    pair = Pair(native_engine, rng, widths, dtype, slope)
    for rows in ROWS:
        check(pair, rng, rows, f"{native_engine} {dtype} {widths} slope={slope} {rows} rows")


@pytest.mark.parametrize(("widths", "rows"), LARGE, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_many_tiles(native_engine, rng, widths, rows, threads):
    homfast.set_num_threads(threads)
    dtype = np.dtype(np.float32)
    pair = Pair(native_engine, rng, widths, dtype)
    for count in (5, 20, rows):
        check(pair, rng, count, f"{native_engine} {dtype} {widths} {count} rows {threads} threads")


@pytest.mark.parametrize(("widths", "rows"), LARGE, ids=str)
def test_bits_in_many_tiles(native_engine, rng, widths, rows):
    """Batches, positions and threads of networks too large for the cache (contract, 2)."""
    net = ReLUNetwork.random(widths, seed=2, backend="native")
    x = rng.standard_normal((rows, widths[0])).astype(np.float32)
    homfast.set_num_threads(1)
    wanted = net(x)
    for threads in (1, 2, 3, 5, 8):
        homfast.set_num_threads(threads)
        for first, last in ((0, 1), (3, 9), (1, 17), (5, 70), (1, rows), (0, rows)):
            case = f"{native_engine} {widths} rows {first}:{last} {threads} threads"
            assert_same_bits(net(x[first:last]), wanted[first:last], case)


def test_nan_and_masks_of_other_rows_stay_theirs(native_engine, dtype, rng):
    net = ReLUNetwork.random((17, 33, 9, 4), seed=2, dtype=dtype, backend="native")
    x = rng.standard_normal((130, 17)).astype(dtype)
    wanted, linearized = net(x), net.linearize(x)
    for row in (0, 7, 8, 63, 64, 129):
        poisoned = x.copy()
        poisoned[row] = np.nan
        y, others = net(poisoned), np.delete(np.arange(130), row)
        case = f"{native_engine} {dtype} NaN in row {row}"
        assert np.isnan(y[row]).all(), case
        assert_same_bits(y[others], wanted[others], case)
        u = np.ones((130, 4), dtype)
        clean = linearized.adjoint(u)
        u[row] = np.inf
        assert_same_bits(linearized.adjoint(u)[others], clean[others], f"adjoint {case}")


def test_the_plain_call_is_the_checked_call(native_engine, dtype, rng):
    """net(x) of a plain array takes a shorter way than of any other; bits and types agree."""
    net = ReLUNetwork.random((17, 33, 9, 4), seed=2, dtype=dtype, backend="native")
    x = rng.standard_normal((2, 3, 17)).astype(dtype)
    for given in (x, x[0], x[0, 0], x[:0], x[:, ::-1], np.asfortranarray(x), x[..., ::-1]):
        out = np.empty((*given.shape[:-1], 4), dtype)
        net(given, out=out)
        y = net(given)
        assert type(y) is np.ndarray and y.flags.writeable and y.flags.c_contiguous
        assert_same_bits(y, out, f"{native_engine} {dtype} {given.shape} {given.strides}")


def test_weights_set_under_one_target_run_under_all(native_engine, dtype, rng):
    from engines import NATIVE_ENGINES

    net = ReLUNetwork.random((5, 8, 3), seed=2, dtype=dtype, backend="native")
    x = rng.integers(-3, 4, (20, 5)).astype(dtype)
    for other in NATIVE_ENGINES:
        other.use()
        weights = [rng.integers(-3, 4, w.shape).astype(dtype) for w in net.weights]
        net.set_weights(weights)
        for engine in (native_engine, other):
            engine.use()
            wanted = np.maximum(x @ weights[0].T, 0) @ weights[1].T
            assert np.array_equal(net(x), wanted), f"set on {other}, used on {engine}"
