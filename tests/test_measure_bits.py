"""Bits of every operator: a row's depend on the row alone, stored or not, whatever the tile."""

import warnings

import numpy as np
import pytest
from operators import ALL, LARGE, complex_of, draw, real_of, tolerance, widened
from oracles import assert_same_bits

import homfast
from homfast import measure
from homfast.measure import Gaussian


@pytest.fixture(params=ALL)
def op(dtype, request):
    """On the backend in use: what holds of the protocol, whatever computes."""
    return ALL[request.param](dtype)


BITWISE = [name for name in ALL if "generic" not in name]  # those are NumPy's own products


def products(op, x, y):
    """Forward, adjoint and gram."""
    return {"forward": op(x), "adjoint": op.adjoint(y), "gram": op.gram(x)}


def assert_same_products(op, found, wanted, case):
    for name, value in wanted.items():
        assert_same_bits(np.ascontiguousarray(found[name]), value, f"{op} {name} {case}")


def inputs(op, rng, batch):
    return (
        draw(rng, (batch, op.shape[1]), op.input_dtype),
        draw(rng, (batch, op.shape[0]), op.output_dtype),
    )


@pytest.mark.parametrize("name", BITWISE)
def test_a_row_alone_has_the_bits_it_has_in_a_batch(bit_automatic, dtype, rng, name):
    """Any batch size, position and stride; vectors and columns too."""
    op = ALL[name](dtype)
    x, y = inputs(op, rng, 40)
    whole = products(op, x, y)
    for part in (slice(0, 1), slice(7, 8), slice(39, 40), slice(5, 20), slice(1, 39)):
        wanted = {key: value[part] for key, value in whole.items()}
        assert_same_products(op, products(op, x[part], y[part]), wanted, f"{part}")
    apart = (np.repeat(each, 2, axis=0)[::2] for each in (x, y))
    assert_same_products(op, products(op, *apart), whole, "with a stride")
    assert_same_bits(op.matvec(x[3]), whole["forward"][3], f"{op} matvec")
    assert_same_bits(op.rmatvec(y[3]), whole["adjoint"][3], f"{op} rmatvec")
    columns = {"forward": op.matmat(x.T).T, "adjoint": op.rmatmat(y.T).T}
    assert_same_products(op, columns | {"gram": whole["gram"]}, whole, "columns")


@pytest.mark.parametrize("name", LARGE)
def test_any_number_of_threads(bit_automatic, dtype, rng, name):
    """Sizes that are cut among threads, a row alone and in a batch."""
    op = LARGE[name](dtype)
    x, y = inputs(op, rng, 2 if "long" in name else 30)
    homfast.set_num_threads(1)
    wanted = products(op, x, y)
    for threads in (2, 5):
        homfast.set_num_threads(threads)
        assert_same_products(op, products(op, x, y), wanted, f"{threads} threads")
        alone = products(op, x[1:2], y[1:2])
        one = {key: value[1:2] for key, value in wanted.items()}
        assert_same_products(op, alone, one, f"{threads} threads, a row alone")


@pytest.mark.parametrize("name", ("cosine", "fourier", "circulant"))
def test_no_thread_warns_of_an_overflow(name, rng):
    """NumPy keeps errstate for a thread: others are to take that of the call."""
    op = LARGE[name](np.dtype(np.float32))
    x = rng.choice(np.array([3e38, -3e38], op.input_dtype), (30, op.shape[1]))
    homfast.set_num_threads(5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not np.isfinite(op(x)).all()


LAYOUTS = {
    "rows apart": lambda rows: np.repeat(rows, 3, axis=0)[::3],
    "columns": np.asfortranarray,
    "reversed": lambda rows: rows[::-1].copy()[::-1],
    "unaligned": lambda rows: unaligned(rows),
}


def unaligned(rows):
    memory = np.empty(rows.nbytes + 1, np.uint8)[1:].view(rows.dtype).reshape(rows.shape)
    memory[...] = rows
    return memory


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ALL)
def test_layouts(automatic, dtype, rng, name, layout):
    """The same bits from any memory, but on `reference`; forward and adjoint belong together."""
    op = ALL[name](dtype)
    x, y = inputs(op, rng, 3)
    wanted, found = products(op, x, y), products(op, LAYOUTS[layout](x), LAYOUTS[layout](y))
    if automatic.backend in ("native", "numba") and name in BITWISE:
        assert_same_products(op, found, wanted, layout)
    for key in wanted:
        np.testing.assert_allclose(found[key], wanted[key], **tolerance(op.dtype))
    forward, adjoint = found["forward"], found["adjoint"]
    left, right = np.vdot(widened(y), widened(forward)), np.vdot(widened(adjoint), widened(x))
    if op.input_dtype != op.output_dtype:
        left, right = left.real, right.real
    rtol = 1e-5 if real_of(op.dtype) == np.float32 else 1e-12
    assert abs(left - right) <= rtol * np.linalg.norm(forward) * np.linalg.norm(y)


# The parts in which Python code takes rows or columns, by module and name.
PARTS = {
    "gaussian not stored, complex": ("seeded_matrix", "_BLOCK_BYTES", (1 << 10, 1 << 14)),
    "sparse not stored": ("sparse_sign", "_COLUMNS", (2500, 1 << 12)),
    "cosine": ("subsampled", "_CHUNK", (1, 1 << 11)),
    "fourier": ("subsampled", "_CHUNK", (1, 1 << 11)),
    "circulant": ("subsampled", "_CHUNK", (1, 1 << 11)),
    "rank one": ("rank_one", "_CHUNK", (1, 1 << 12)),
}


@pytest.mark.parametrize("name", PARTS)
def test_any_tile(bit_automatic, dtype, rng, monkeypatch, name):
    module, constant, values = PARTS[name]
    op = LARGE[name](dtype)
    x, y = inputs(op, rng, 5)
    wanted = products(op, x, y)
    for value in values:
        monkeypatch.setattr(f"homfast.measure.{module}.{constant}", value)
        assert_same_products(op, products(op, x, y), wanted, f"{constant} = {value}")


@pytest.mark.parametrize("shape", [(23, 37), (300, 1100), (9000, 70)])
def test_stored_or_not(automatic, dtype, rng, shape):
    """The same to the bit but on `reference`, whose library sums by shape."""
    for family, kind in (
        (Gaussian, dtype),
        (Gaussian, complex_of(dtype)),
        (measure.Rademacher, dtype),
        (measure.SparseSign, dtype),
    ):
        x, y = draw(rng, (3, shape[1]), kind), draw(rng, (3, shape[0]), kind)
        stored, made = (family(*shape, seed=1, dtype=kind, store=s) for s in (True, False))
        assert_same_bits(stored.to_dense(), made.to_dense(), "entries")
        for a, b in ((stored(x), made(x)), (stored.adjoint(y), made.adjoint(y))):
            if automatic.backend in ("native", "numba"):
                assert_same_bits(a, b, f"{automatic} {family} {shape}")
            else:
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_rows_keep_their_bits(bit_automatic, dtype, rng):
    for name in (
        *("dense", "gaussian", "gaussian not stored", "rademacher", "sparse", "hadamard"),
        *("cosine", "circulant", "fourier", "gaussian, complex", "rank one", "stack"),
    ):
        op = ALL[name](dtype)
        x = draw(rng, (5, op.shape[1]), op.input_dtype)
        whole = np.ascontiguousarray(op(x)[:, 4:15])
        assert_same_bits(op.rows(4, 15)(x), whole, f"{bit_automatic} {op}")


def test_power_of_two_scales_exactly(op, rng):
    x, factor = draw(rng, (3, op.shape[1]), op.input_dtype), op.dtype.type(2**9)
    assert_same_bits(op(factor.real * x), factor.real * op(x), "forward")
    assert_same_bits(op.gram(factor.real * x), factor.real * op.gram(x), "gram")
