"""linear: the product, within the componentwise bound (contract, 1)."""

import numpy as np
import pytest
from oracles import KINDS, assert_same_bits, assert_within, operands, product

import homfast

ROWS = (1, 2, 3, 15, 16, 17, 33)
FEATURES = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 100, 257)
COLUMNS = (1, 3, 4, 5, 8, 15, 16, 17, 33, 65, 130)


@pytest.mark.parametrize("kind", KINDS)
def test_within_bound(engine, dtype, rng, kind):
    for rows in ROWS:
        for features in FEATURES:
            columns = int(rng.choice(COLUMNS))
            check(engine, dtype, rng, kind, rows, features, columns)
    for columns in COLUMNS:
        check(engine, dtype, rng, kind, 19, 23, columns)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "shape",
    [(1, 1000, 1), (1, 1000, 67), (7, 2053, 33), (130, 521, 37), (1000, 31, 17), (40, 3, 1000)],
)
def test_within_bound_when_larger(engine, dtype, rng, kind, shape):
    check(engine, dtype, rng, kind, *shape)


@pytest.mark.parametrize("shape", [(300, 1031, 517), (1000, 1000, 1000)])
def test_within_bound_when_blocked(engine, rng, shape):
    for kind in ("normal", "graded"):
        check(engine, np.dtype(np.float32), rng, kind, *shape)


@pytest.mark.slow
def test_many_random_cases_within_bound(engine, dtype, rng):
    for _ in range(4000):
        shape = (np.exp2(rng.uniform(0, 8, 3)) + rng.integers(0, 3, 3)).astype(int)
        check(engine, dtype, rng, str(rng.choice(KINDS)), *map(int, shape))


def check(engine, dtype, rng, kind, rows, features, columns):
    x, weight = operands(rng, kind, rows, features, columns, dtype)
    y = homfast.linear(x, weight, backend=engine.backend)
    case = f"{engine} {dtype} {kind} (rows, in, out) = {rows, features, columns}"
    assert_within(y, *product(x, weight.T, fused=engine.fused), case)


@pytest.mark.parametrize("lead", [(), (1,), (5,), (2, 3), (2, 0, 3), (1, 1, 4)])
def test_leading_axes(engine, dtype, rng, lead):
    weight = rng.integers(-4, 5, (6, 7)).astype(dtype)
    x = rng.integers(-4, 5, (*lead, 7)).astype(dtype)
    y = homfast.linear(x, weight, backend=engine.backend)
    assert type(y) is np.ndarray and y.dtype == dtype and y.flags.c_contiguous
    assert_same_bits(y + 0, x @ weight.T + 0, f"{engine} {dtype} lead={lead}")


@pytest.mark.parametrize("size", [1, 3, 16, 65, 300])
def test_identity_is_exact(engine, dtype, rng, size):
    x = rng.standard_normal((37, size)).astype(dtype)
    y = homfast.linear(x, np.eye(size, dtype=dtype), backend=engine.backend)
    assert_same_bits(y, x, f"{engine} {dtype} size={size}")


@pytest.mark.parametrize("lead", [(9,), (3, 3), ()])
def test_out_is_written_and_returned(engine, dtype, rng, lead):
    x = rng.standard_normal((*lead, 21)).astype(dtype)
    weight = rng.standard_normal((18, 21)).astype(dtype)
    out = np.full((*lead, 18), np.nan, dtype)
    wanted = homfast.linear(x, weight, backend=engine.backend)
    assert homfast.linear(x, weight, out=out, backend=engine.backend) is out
    assert_same_bits(out, wanted, f"{engine} {dtype} lead={lead}")


@pytest.mark.parametrize("layout", ["rows reversed", "rows apart", "columns apart", "transposed"])
def test_out_of_any_layout_is_written_where_it_is(engine, dtype, rng, layout):
    x = rng.standard_normal((20, 21)).astype(dtype)
    weight = rng.standard_normal((18, 21)).astype(dtype)
    base = np.full((60, 60), 7, dtype)
    out = {
        "rows reversed": base[20:0:-1, :18],
        "rows apart": base[:40:2, 5:23],
        "columns apart": base[:20, :36:2],
        "transposed": base[:18, :20].T,
    }[layout]
    wanted = homfast.linear(x, weight, backend=engine.backend)
    homfast.linear(x, weight, out=out, backend=engine.backend)
    assert_same_bits(np.ascontiguousarray(out), wanted, f"{engine} {dtype} out {layout}")
    out[...] = 7
    assert (base == 7).all(), f"{engine} {dtype} out {layout}: written beside out"


def test_weights_changed_in_place_are_seen(engine, dtype, rng):
    """No hidden cache keyed by address (reliability table, 34)."""
    x = rng.integers(-4, 5, (40, 33)).astype(dtype)
    weight = rng.integers(-4, 5, (29, 33)).astype(dtype)
    for _ in range(3):
        y = homfast.linear(x, weight, backend=engine.backend)
        assert np.array_equal(y, x @ weight.T)
        weight[...] = rng.integers(-4, 5, weight.shape)


def test_inputs_are_not_written_to(engine, dtype, rng):
    x = rng.standard_normal((40, 33)).astype(dtype)
    weight = rng.standard_normal((29, 33)).astype(dtype)
    kept = x.copy(), weight.copy()
    x.flags.writeable = weight.flags.writeable = False
    homfast.linear(x, weight, backend=engine.backend)
    assert_same_bits(x, kept[0], str(engine))
    assert_same_bits(weight, kept[1], str(engine))


@pytest.mark.parametrize("word", ["highest", "high", "medium"])
def test_precision_without_a_matrix_unit_is_highest(engine, dtype, rng, word):
    x = rng.standard_normal((40, 300)).astype(dtype)
    weight = rng.standard_normal((29, 300)).astype(dtype)
    wanted = homfast.linear(x, weight, backend=engine.backend)
    y = homfast.linear(x, weight, precision=word, backend=engine.backend)
    if engine.target != "amx" or word == "highest" or dtype == np.float64:
        assert_same_bits(y, wanted, f"{engine} {dtype} {word}")
    relative = {"highest": 0, "high": 2.0**-15, "medium": 2.0**-7 + 2.0**-16}[word]
    value, bound = product(x, weight.T, fused=engine.fused)
    magnitude = np.abs(x.astype(value.dtype)) @ np.abs(weight.T.astype(value.dtype))
    assert_within(y, value, bound + relative * magnitude, f"{engine} {dtype} {word}")


def test_absurd_sizes_are_memory_errors(engine, dtype):
    x = np.broadcast_to(np.ones(4, dtype), (2**45, 4))
    with pytest.raises(MemoryError, match=r"^out: a result of .*; call with fewer rows at a time"):
        homfast.linear(x, np.ones((4, 4), dtype), backend=engine.backend)
    weight = np.ones((4, 4), dtype)
    assert homfast.linear(weight, weight, backend=engine.backend)[0, 0] == 4


@pytest.mark.parametrize("calls", ["linear", "linear_relu", "network"])
def test_results_of_more_bytes_than_addresses(engine, calls):
    """The rows of x are one row: it takes no memory."""
    x, weight = np.broadcast_to(np.float32(1), (2**55, 8)), np.ones((900, 8), np.float32)
    with pytest.raises(MemoryError, match=r"^out: a result of .*; call with fewer rows at a time"):
        if calls == "network":
            homfast.ReLUNetwork([weight], backend=engine.backend)(x)
        elif calls == "linear":
            homfast.linear(x, weight, backend=engine.backend)
        else:
            homfast.linear_relu(x, weight, return_mask=True, backend=engine.backend)
