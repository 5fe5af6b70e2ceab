"""A row of the result is a function of that row and the weights, to the bit (contract, 2).

Not of the batch's size, the position in it, the order of rows, threads, alignment, strides or what
was in memory before. It binds `native` and `numba`; the reference inherits its BLAS, which does not
promise it.
"""

import numpy as np
import pytest
from oracles import assert_same_bits, pack

import homfast

BATCHES = [*range(1, 131), 255, 256, 257, 1000]
# (in, out): tiny, lanes and tiles +- 1, powers of two (vllm#55131), primes, deep, wide
LAYERS = [(1, 1), (7, 3), (16, 16), (17, 33), (64, 64), (31, 100), (256, 24), (517, 13), (5, 257)]


class Calls:
    """The calls whose rows are independent: name -> function of (rows, a) -> arrays of rows."""

    def __init__(self, engine, rng, dtype, features, columns, slope=0.1):
        self.backend = engine.backend
        self.weight = rng.standard_normal((columns, features)).astype(dtype)
        self.x = rng.standard_normal((1000, features)).astype(dtype)
        self.grad = rng.standard_normal((1000, columns)).astype(dtype)
        self.mask = pack(rng.random((1000, columns)) < 0.5)
        self.slope = slope

    def each(self):
        return {"linear": self.linear, "linear_relu": self.relu, "grad_input": self.grad_input}

    def linear(self, rows):
        return (homfast.linear(self.x[rows], self.weight, backend=self.backend),)

    def relu(self, rows):
        return homfast.linear_relu(
            self.x[rows],
            self.weight,
            negative_slope=self.slope,
            return_mask=True,
            backend=self.backend,
        )

    def grad_input(self, rows):
        return (
            homfast.linear_relu_backward(
                self.grad[rows], None, self.weight, self.mask[rows],
                negative_slope=self.slope, backend=self.backend,
            )[0],
        )  # fmt: skip


def assert_rows(call, rows, wanted, case):
    for result, whole in zip(call(rows), wanted, strict=True):
        assert_same_bits(result, whole[rows], case)


@pytest.mark.parametrize("layer", LAYERS)
def test_every_batch_size(bit_engine, dtype, rng, layer):
    """With set_batch_invariant: all sizes; without: one order below 16 rows and one from 16 on."""
    for invariant in (False, True):
        homfast.set_batch_invariant(invariant)
        for name, call in Calls(bit_engine, rng, dtype, *layer).each().items():
            large = call(slice(0, 1000))
            small = large if invariant else call(slice(0, 15))
            for batch in BATCHES:
                case = f"{bit_engine} {dtype} {name} {layer} {batch} rows invariant={invariant}"
                assert_rows(call, slice(0, batch), large if batch >= 16 else small, case)


@pytest.mark.parametrize("layer", LAYERS)
def test_position_and_order(bit_engine, dtype, rng, layer):
    homfast.set_batch_invariant(True)
    for name, call in Calls(bit_engine, rng, dtype, *layer).each().items():
        large = call(slice(0, 1000))
        case = f"{bit_engine} {dtype} {name} {layer}"
        for batch in (1, 2, 5, 6, 7, 13, 16, 31, 64, 129):
            for start in (1, 3, 8, 500, 1000 - batch):
                rows = slice(start, start + batch)
                assert_rows(call, rows, large, f"{case} rows {start}:{start + batch}")
        for rows in (np.arange(999, -1, -1), rng.permutation(1000), rng.integers(0, 1000, 77)):
            assert_rows(call, rows, large, f"{case} rows in another order")


@pytest.mark.parametrize("invariant", [False, True])
def test_leading_axes_are_rows(bit_engine, dtype, rng, invariant):
    homfast.set_batch_invariant(invariant)
    calls = Calls(bit_engine, rng, dtype, 33, 21)
    x = calls.x[:60]
    wanted = homfast.linear(x, calls.weight, backend=bit_engine.backend)
    for lead in ((60,), (4, 15), (15, 4), (2, 5, 6)):
        y = homfast.linear(x.reshape(*lead, 33), calls.weight, backend=bit_engine.backend)
        assert_same_bits(y.reshape(60, 21), wanted, f"{bit_engine} {dtype} lead={lead}")


THREADED = [(1000, 257, 129), (130, 517, 300), (16, 64, 2048), (3, 4096, 512), (700, 31, 9),
            (1, 2048, 700), (64, 64, 64)]  # fmt: skip


@pytest.mark.parametrize("shape", THREADED)
def test_thread_counts(bit_engine, dtype, rng, shape):
    rows, features, columns = shape
    x = rng.standard_normal((rows, features)).astype(dtype)
    weight = rng.standard_normal((columns, features)).astype(dtype)
    grad = rng.standard_normal((rows, columns)).astype(dtype)
    mask = pack(rng.random((rows, columns)) < 0.5)

    def results():
        chosen = {"backend": bit_engine.backend}
        y, bits = homfast.linear_relu(x, weight, return_mask=True, **chosen)
        gradients = homfast.linear_relu_backward(grad, x, weight, mask, **chosen)
        return homfast.linear(x, weight, **chosen), y, bits, *gradients

    homfast.set_num_threads(1)
    wanted = results()
    for threads in (2, 3, 5, 8):
        homfast.set_num_threads(threads)
        for name, result, other in zip(
            ("linear", "linear_relu", "mask", "grad_input", "grad_weight"),
            results(), wanted, strict=True,
        ):  # fmt: skip
            case = f"{bit_engine} {dtype} {name} {shape} {threads} threads"
            assert_same_bits(result, other, case)


@pytest.mark.parametrize("rows", [1, 5, 16, 40, 600])
def test_grad_weight_is_the_same_with_and_without_grad_input(bit_engine, dtype, rng, rows):
    calls = Calls(bit_engine, rng, dtype, 37, 21)
    arguments = calls.grad[:rows], calls.x[:rows]
    chosen = {"backend": bit_engine.backend}
    both = homfast.linear_relu_backward(*arguments, calls.weight, calls.mask[:rows], **chosen)[1]
    for _ in range(3):
        alone = homfast.linear_relu_backward(*arguments, None, calls.mask[:rows], **chosen)[1]
        assert_same_bits(alone, both, f"{bit_engine} {dtype} grad_weight {rows} rows")


@pytest.mark.parametrize("layer", [(7, 3), (64, 64), (31, 100), (256, 24)])
def test_output_units_in_another_order(bit_engine, dtype, rng, layer):
    """A unit in the tail of a tile is summed as one in its middle."""
    features, columns = layer
    calls = Calls(bit_engine, rng, dtype, features, columns)
    for rows in (1, 6, 16, 37):
        wanted = homfast.linear(calls.x[:rows], calls.weight, backend=bit_engine.backend)
        for order in (np.arange(columns)[::-1], rng.permutation(columns)):
            y = homfast.linear(calls.x[:rows], calls.weight[order], backend=bit_engine.backend)
            case = f"{bit_engine} {dtype} {layer} {rows} rows"
            assert_same_bits(y, wanted[:, order], case)
        for kept in (1, columns // 2 + 1):
            y = homfast.linear(calls.x[:rows], calls.weight[:kept], backend=bit_engine.backend)
            assert_same_bits(y, np.ascontiguousarray(wanted[:, :kept]), f"{case} first {kept}")


@pytest.mark.parametrize("rows", [3, 20])
def test_runs_repeat(bit_engine, dtype, rng, rows):
    calls = Calls(bit_engine, rng, dtype, 129, 65)
    for name, call in calls.each().items():
        wanted = call(slice(0, rows))
        for _ in range(20):
            assert_rows(call, slice(0, rows), wanted, f"{bit_engine} {dtype} {name} run to run")
