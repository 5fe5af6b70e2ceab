"""Inputs of more than 2^31 elements and 2^32 bytes: indices are ptrdiff_t (contract, 5).

They are views of a private mapping that reserves nothing: 8 GiB of zeros, of which only the pages
that are written to exist, so a few MiB of memory serve. A few numbers lie where a 32-bit index,
in elements or in bytes, would look elsewhere.
"""

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

import homfast

COLUMNS = 1 << 15
ROWS = (1 << 16) + 5
EDGES = [0, 1, (1 << 15) - 1, 1 << 15, (1 << 16) - 1, 1 << 16, ROWS - 1]  # 2^30, 2^31 elements
EDGES += [(1 << 9) - 1, 1 << 9]  # 2^24

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or sys.maxsize < 2**32, reason="maps 8 GiB without reserving them"
)


def zeros(size):
    """So many float32, of which those that are written to take memory."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
    try:
        return np.frombuffer(mmap.mmap(-1, size * 4, flags=flags), np.float32)
    except OSError:
        pytest.skip("this system grants no memory that is not there")


@pytest.fixture(scope="module")
def large():
    """(ROWS, COLUMNS) float32, zero but for a few numbers in the rows of EDGES."""
    array = zeros(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    assert array.size > 2**31
    for number, row in enumerate(EDGES):
        array[row, [0, 7, COLUMNS - 1]] = (number + 1, 2, 3)
    return array


def resident():
    """MiB of memory of this process that are its own."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return int(status["RssAnon"].split()[0]) / 1024


@pytest.fixture(autouse=True)
def memory_stays_small(large):
    before = resident()
    yield
    grown = resident() - before
    assert grown < 300, f"{grown:.0f} MiB more: the input was copied"


def expected():
    wanted = np.zeros(ROWS, np.float32)
    wanted[EDGES] = np.arange(len(EDGES)) + 6
    return wanted


def test_large_input(engine, large):
    y = homfast.linear(large, np.ones((1, COLUMNS), np.float32), backend=engine.backend)
    assert np.array_equal(y[:, 0], expected()), f"{engine}: rows {np.flatnonzero(y)}"


def test_large_weight(native_engine, large):
    y = homfast.linear(np.ones((1, COLUMNS), np.float32), large, backend="native")
    assert np.array_equal(y[0], expected()), f"{native_engine}: units {np.flatnonzero(y)}"


def test_gradients(native_engine, large):
    ones = np.ones((ROWS, 1), np.float32)
    _, gradient = homfast.linear_relu_backward(ones, large, None, None, backend="native")
    wanted = np.zeros(COLUMNS, np.float32)
    wanted[[0, 7, COLUMNS - 1]] = sum(range(1, len(EDGES) + 1)), 2 * len(EDGES), 3 * len(EDGES)
    assert np.array_equal(gradient[0], wanted), f"{native_engine} grad_weight"


@pytest.mark.parametrize("invariant", [False, True])
def test_rows_far_apart(native_engine, large, invariant):
    """A stride of more than 2^31 elements, in each operand, on the way for small batches or not."""
    homfast.set_batch_invariant(invariant)
    x = np.lib.stride_tricks.as_strided(large, (2, 9), (4 << 31, 4))
    ones = np.ones((1, 9), np.float32)
    wanted = np.float32([[1 + 2], [6 + 2]])  # the rows of EDGES[0] and EDGES[5]
    for rows, values in ((x, wanted), (x[::-1], wanted[::-1])):
        case = f"{native_engine} invariant={invariant} strides={rows.strides}"
        assert np.array_equal(homfast.linear(rows, ones, backend="native"), values), case
        assert np.array_equal(homfast.linear(ones, rows, backend="native"), values.T), case
        grad = np.float32([[1], [10]])
        _, gradient = homfast.linear_relu_backward(grad, rows, None, None, backend="native")
        assert np.array_equal(gradient, grad.T @ rows), case
        below, _ = homfast.linear_relu_backward(grad.T, None, rows, None, backend="native")
        assert np.array_equal(below, grad.T @ rows), case
        out = np.lib.stride_tricks.as_strided(large[3:], (2, 1), (4 << 31, 4))
        assert not out.any()
        homfast.linear(rows, ones, out=out, backend="native")
        assert np.array_equal(out, values), f"out {case}"
        out[...] = 0


def test_rows_of_the_result_far_apart(native_engine, rng):
    """More of them than a tile has: tiles begin beyond 2^31 elements."""
    x, weight = (rng.integers(-9, 10, shape).astype(np.float32) for shape in ((16, 9), (3, 9)))
    out = np.lib.stride_tricks.as_strided(zeros(1 << 32), (16, 3), (4 << 28, 4))
    assert homfast.linear(x, weight, out=out, backend="native") is out
    assert np.array_equal(out, x @ weight.T), str(native_engine)
    homfast.linear_relu(x, weight, out=out, backend="native")
    assert np.array_equal(out, np.maximum(x @ weight.T, 0)), f"{native_engine} relu"


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [24, 30, 31])
def test_numbers_of_features_near(native_engine, large, exponent):
    """The sum of the squares that come before an end, one before, at and one after a power."""
    row = large.reshape(-1)
    places = [(e * COLUMNS + c, v) for n, e in enumerate(EDGES)
              for c, v in ((0, n + 1), (7, 2), (COLUMNS - 1, 3))]  # fmt: skip
    found = []
    for features in (2**exponent - 1, 2**exponent, 2**exponent + 1):
        part = row[None, :features]
        found.append(float(homfast.linear(part, part, backend="native")[0, 0]))
        wanted = sum(value**2 for place, value in places if place < features)
        assert found[-1] == wanted, f"{native_engine} {features} features"
    assert len(set(found)) == 3


def test_network(native_engine, large):
    """A tile of rows at a time goes through all layers."""
    net = homfast.ReLUNetwork([np.ones((1, COLUMNS), np.float32), np.float32([[2]])])
    assert np.array_equal(net(large)[:, 0], 2 * expected()), f"{native_engine}"


OPERATORS = {
    "Gaussian": {"store": False},
    "Rademacher": {"store": False},
    "SparseSign": {"nonzeros_per_column": 1},
    "Hadamard": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("family", OPERATORS)
def test_rows_of_operators(native_engine, large, family):
    """The rows that hold something have the bits that they have alone, the others are zero."""
    operator = getattr(homfast.measure, family)(3, COLUMNS, seed=5, **OPERATORS[family])
    y = operator.forward(large)
    held = operator.forward(large[EDGES])
    assert held.any(axis=-1).all() and np.array_equal(y[EDGES], held), f"{native_engine} {family}"
    y[EDGES] = 0
    assert not y.any(), f"{native_engine} {family}: rows {np.flatnonzero(y.any(axis=-1))}"


def test_more_features_than_2_31(native_engine, large):
    """One row against itself: the sum of all squares."""
    row = large.reshape(1, -1)
    y = homfast.linear(row, row, backend="native")
    assert y[0, 0] == sum((n + 1) ** 2 + 4 + 9 for n in range(len(EDGES))), f"{native_engine}: {y}"
