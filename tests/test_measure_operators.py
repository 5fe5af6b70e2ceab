"""Every operator: the protocol, values, bits, and what is refused; Gaussian in detail.

Operators take the backend that is chosen automatically; here it is the engine's.
"""

import copy
import pickle

import numpy as np
import pytest
from operators import (
    ALL,
    COMPLEX,
    ON_REAL_SIGNALS,
    PLAIN,
    REAL,
    Generic,
    M,
    N,
    complex_of,
    dense,
    draw,
    real_of,
    tolerance,
    widened,
)
from oracles import assert_same_bits, assert_within, integers, product

import homfast
from homfast import _backends, measure
from homfast.measure import Dense, Gaussian
from homfast.measure.seeded import SeededOperator


@pytest.fixture
def automatic(engine, monkeypatch):
    """The engine, as the automatic choice."""
    monkeypatch.setattr(_backends, "_automatic", engine.module)
    return engine


@pytest.fixture(params=ALL)
def op(dtype, request):
    """On the backend in use: what holds of the protocol, whatever computes."""
    return ALL[request.param](dtype)


@pytest.fixture(params=ALL)
def engine_op(automatic, dtype, request):
    """On each engine."""
    return ALL[request.param](dtype)


@pytest.fixture(params=REAL)
def real_op(dtype, request):
    return REAL[request.param](dtype)


@pytest.fixture(params=PLAIN)
def plain_op(automatic, dtype, request):
    return PLAIN[request.param](dtype)


# Products ---------------------------------------------------------------------------------------


def test_products_are_those_of_the_matrix(plain_op, automatic, rng):
    """Within the bound of the product; the scale, and the rounding of its matrix, add three."""
    op = plain_op
    matrix = op.to_dense()
    assert matrix.shape == op.shape and matrix.dtype == op.dtype
    for rows in (1, 2, 17):
        x = rng.standard_normal((rows, op.shape[1])).astype(op.dtype)
        y = rng.standard_normal((rows, op.shape[0])).astype(op.dtype)
        bounds = {"fused": automatic.fused, "extra_roundings": 3}
        assert_within(op.forward(x), *product(x, matrix.T, **bounds), f"{op} forward")
        assert_within(op.adjoint(y), *product(y, matrix, **bounds), f"{op} adjoint")


def test_products_are_close_to_those_of_the_matrix(engine_op, rng):
    """In norm, 40 units of roundoff, which fast transforms and pairs of real products keep."""
    op = engine_op
    matrix = widened(op.to_dense())
    assert op.to_dense().dtype == op.dtype
    m, n = op.shape
    x, y = draw(rng, (5, n), op.input_dtype), draw(rng, (5, m), op.output_dtype)
    forward, adjoint = widened(x) @ matrix.T, widened(y) @ matrix.conj()
    if op.output_dtype.kind == "f":
        forward = forward.real
    if op.input_dtype.kind == "f":
        adjoint = adjoint.real
    bound = 40 * np.finfo(op.dtype).eps * np.linalg.norm(matrix)
    for found, wanted, of in ((op(x), forward, x), (op.adjoint(y), adjoint, y)):
        error = np.linalg.norm(widened(found) - wanted, axis=1)
        assert (error <= bound * np.linalg.norm(of, axis=1)).all(), f"{op}"


def test_dot_test(op):
    assert op.dot_test() is True
    rtol = 1e-5 if real_of(op.dtype) == np.float32 else 1e-12
    for each in (op, op.H, op.T, op.conj()):
        assert each.dot_test(rtol=rtol) is True


@pytest.mark.parametrize("layout", ["rows apart", "columns", "reversed", "unaligned"])
def test_layouts(op, rng, layout):
    """The same bits from any memory, but on `reference`; forward and adjoint belong together."""

    def laid_out(rows):
        if layout == "rows apart":
            return np.repeat(rows, 3, axis=0)[::3]
        if layout == "columns":
            return np.asfortranarray(rows)
        if layout == "reversed":
            return rows[::-1].copy()[::-1]
        memory = np.empty(rows.nbytes + 1, np.uint8)[1:].view(rows.dtype).reshape(rows.shape)
        memory[...] = rows
        return memory

    x, y = draw(rng, (3, op.shape[1]), op.input_dtype), draw(rng, (3, op.shape[0]), op.output_dtype)
    forward, adjoint = op(laid_out(x)), op.adjoint(laid_out(y))
    np.testing.assert_allclose(forward, op(x), **tolerance(op.dtype))
    np.testing.assert_allclose(adjoint, op.adjoint(y), **tolerance(op.dtype))
    left, right = np.vdot(widened(y), widened(forward)), np.vdot(widened(adjoint), widened(x))
    if op.input_dtype != op.output_dtype:
        left, right = left.real, right.real
    rtol = 1e-5 if real_of(op.dtype) == np.float32 else 1e-12
    assert abs(left - right) <= rtol * np.linalg.norm(forward) * np.linalg.norm(y)


def test_dot_test_tells_with_numbers():
    broken = Generic(dense(np.float64).to_dense())
    broken._adjoint_rows = lambda rows, out: np.matmul(rows, 1.0001 * broken.matrix, out=out)
    with pytest.raises(AssertionError, match=r"<Ax, y> = .* and <x, A\^H y> = .* wanted at most"):
        broken.dot_test()
    assert broken.dot_test(rtol=1e-2)


@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3), (0,), (2, 0, 3)])
def test_batch_axes(op, rng, batch):
    x = draw(rng, (*batch, op.shape[1]), op.input_dtype)
    y = op(x)
    assert y.shape == (*batch, op.shape[0]) and y.dtype == op.output_dtype
    back = op.adjoint(y)
    assert back.shape == x.shape and back.dtype == op.input_dtype
    assert_same_bits(op.gram(x), back, "gram is the adjoint of the forward")


def test_out(op, rng):
    x = draw(rng, (4, op.shape[1]), op.input_dtype)
    for call, argument in ((op.forward, x), (op.adjoint, op(x)), (op.gram, x), (op, x)):
        wanted = call(argument)
        out = np.full_like(wanted, np.nan)
        assert call(argument, out=out) is out
        assert_same_bits(out, wanted, "out")
        strided = np.full((4, 2 * wanted.shape[1]), np.nan, wanted.dtype)[:, : wanted.shape[1]]
        call(argument, out=strided)
        assert_same_bits(np.ascontiguousarray(strided), wanted, "out with a row stride")
    inside = x.copy()
    assert_same_bits(op.gram(inside, out=inside), op.gram(x), "out is the input")


def test_vectors_and_columns_as_scipy_means_them(op, rng):
    m, n = op.shape
    X, Y = draw(rng, (n, 5), op.input_dtype), draw(rng, (m, 5), op.output_dtype)
    matrix = op.to_dense()
    real = op.input_dtype.kind == "f"
    forward = (matrix @ X).real if op.output_dtype.kind == "f" else matrix @ X
    adjoint = (matrix.conj().T @ Y).real if real else matrix.conj().T @ Y
    row_product = (Y.T @ matrix).real if real else Y.T @ matrix
    close = tolerance(op.dtype)
    np.testing.assert_allclose(op.matmat(X), forward, **close)
    np.testing.assert_allclose(op.rmatmat(Y), adjoint, **close)
    assert op.matvec(X[:, 0]).shape == (m,) and op.matvec(X[:, :1]).shape == (m, 1)
    assert op.rmatvec(Y[:, 0]).shape == (n,) and op.rmatvec(Y[:, :1]).shape == (n, 1)
    np.testing.assert_allclose(op.matvec(X[:, :1]), forward[:, :1], **close)
    np.testing.assert_allclose(op.rmatvec(Y[:, 1]), adjoint[:, 1], **close)
    np.testing.assert_allclose(op @ X, forward, **close)
    np.testing.assert_allclose(op @ X[:, 0], forward[:, 0], **close)
    np.testing.assert_allclose(Y.T @ op, row_product, **close)
    np.testing.assert_allclose(Y[:, 0] @ op, row_product[0], **close)


def test_adjoint_and_transpose(op, rng):
    assert op.H.shape == op.T.shape == op.shape[::-1]
    assert op.H.H is op or op == op.H.H
    assert op.adjoint() == op.H and op.transpose() == op.T
    assert op.H.seed == op.seed and op.H.dtype == op.dtype
    assert op == op.T.T and op.conj().conj() == op and op.conj().H == op.T == op.H.conj()
    y = draw(rng, (3, op.shape[0]), op.output_dtype)
    assert_same_bits(op.H(y), op.adjoint(y), "H")
    np.testing.assert_array_equal(op.T.to_dense(), op.to_dense().T)
    np.testing.assert_array_equal(op.H.to_dense(), op.to_dense().conj().T)
    np.testing.assert_array_equal(op.conj().to_dense(), op.to_dense().conj())


def test_rows(op, rng):
    part = op.rows(2, 7)
    assert part.shape == (5, op.shape[1]) and part.seed == op.seed
    np.testing.assert_allclose(part.to_dense(), op.to_dense()[2:7], **tolerance(op.dtype))
    assert part.rows(1, 3) == op.rows(3, 5)
    assert part.dot_test()
    x = draw(rng, (3, op.shape[1]), op.input_dtype)
    np.testing.assert_allclose(part(x), op(x)[:, 2:7], **tolerance(op.dtype))
    empty = op.rows(4, 4)
    assert empty(x).shape == (3, 0)
    assert_same_bits(empty.adjoint(empty(x)), np.zeros_like(x), "the sum of no rows")


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_dense_of_no_size(automatic, dtype, shape):
    op = Dense(np.empty(shape, dtype))
    assert_same_bits(op(np.ones((2, shape[1]), dtype)), np.zeros((2, shape[0]), dtype), "forward")
    assert_same_bits(op.adjoint(np.ones((2, shape[0]), dtype)), np.zeros((2, shape[1]), dtype), "")
    assert op.norm() == 0.0 and op.dot_test()


def test_integers_are_exact(automatic, dtype, rng):
    matrix, x, y = (integers(rng, s, dtype) for s in ((31, 40), (18, 40), (18, 31)))
    op = Dense(matrix)
    wide = matrix.astype(np.int64)
    assert_same_bits(op(x), (x.astype(np.int64) @ wide.T).astype(dtype), "forward")
    assert_same_bits(op.adjoint(y), (y.astype(np.int64) @ wide).astype(dtype), "adjoint")


def test_dense_copies_its_matrix(dtype):
    matrix = np.ones((3, 4), dtype)
    op = Dense(matrix)
    matrix[...] = 7
    op.to_dense()[...] = 8
    assert_same_bits(op.to_dense(), np.ones((3, 4), dtype), "the operator's own")
    assert_same_bits(Dense(np.asfortranarray(matrix)[:, ::-1]).to_dense(), matrix, "any layout")


@pytest.mark.parametrize("dtype_name", ["float32", "float64"])
def test_torch_in_torch_out(dtype_name):
    torch = pytest.importorskip("torch")
    op = Gaussian(M, N, dtype=dtype_name)
    x = torch.ones(3, N, dtype=getattr(torch, dtype_name))
    assert isinstance(op(x), torch.Tensor) and op(x).dtype == x.dtype
    assert isinstance(op @ x.T, torch.Tensor) and isinstance(x @ op.H, torch.Tensor)
    np.testing.assert_array_equal(op.gram(x).numpy(), op.gram(x.numpy()))


# Bits -------------------------------------------------------------------------------------------


def test_a_row_alone_has_the_bits_it_has_in_a_batch(bit_engine, dtype, rng, monkeypatch):
    monkeypatch.setattr(_backends, "_automatic", bit_engine.module)
    for name, make in ALL.items():
        if "generic" in name:
            continue
        op = make(dtype)
        x = draw(rng, (40, op.shape[1]), op.input_dtype)
        y, back = op(x), op.gram(x)
        for part in (slice(0, 1), slice(7, 8), slice(39, 40), slice(5, 20), slice(1, 39)):
            assert_same_bits(op(x[part]), y[part], f"{bit_engine} {op} forward {part}")
            assert_same_bits(op.gram(x[part]), back[part], f"{bit_engine} {op} gram {part}")
        strided = np.repeat(x, 2, axis=0)[::2]
        assert_same_bits(op(strided), y, f"{bit_engine} {op} with a stride")
        assert_same_bits(op.matvec(x[3]), y[3], f"{bit_engine} {op} matvec")
        assert_same_bits(np.ascontiguousarray(op.matmat(x.T).T), y, f"{bit_engine} {op} matmat")


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads(bit_engine, dtype, rng, monkeypatch, threads):
    monkeypatch.setattr(_backends, "_automatic", bit_engine.module)
    for family in ("gaussian", "rademacher", "sparse", "hadamard", "cosine", "rank one"):
        op = ALL[family](dtype)
        x = draw(rng, (200, op.shape[1]), op.input_dtype)
        homfast.set_num_threads(1)
        wanted = op.gram(x)
        homfast.set_num_threads(threads)
        assert_same_bits(op.gram(x), wanted, f"{bit_engine} {op}")


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
            if automatic.backend == "native":
                assert_same_bits(a, b, f"{automatic} {family} {shape}")
            else:
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_sparse_columns_of_any_tile(bit_engine, dtype, rng, monkeypatch):
    from homfast.measure import sparse_sign

    op = measure.SparseSign(50, 150, seed=3, dtype=dtype, store=False)
    x, y = draw(rng, (4, 150), dtype), draw(rng, (4, 50), dtype)
    wanted = op(x), op.adjoint(y)
    for columns in (1, 7, 149):
        monkeypatch.setattr(sparse_sign, "_COLUMNS", columns)
        assert_same_bits(op(x), wanted[0], f"{columns} columns")
        assert_same_bits(op.adjoint(y), wanted[1], f"{columns} columns")


def test_rows_keep_their_bits(bit_engine, dtype, rng, monkeypatch):
    monkeypatch.setattr(_backends, "_automatic", bit_engine.module)
    for name in (
        *("dense", "gaussian", "gaussian not stored", "rademacher", "sparse", "hadamard"),
        *("cosine", "circulant", "fourier", "gaussian, complex", "rank one", "stack"),
    ):
        op = ALL[name](dtype)
        x = draw(rng, (5, op.shape[1]), op.input_dtype)
        whole = np.ascontiguousarray(op(x)[:, 4:15])
        assert_same_bits(op.rows(4, 15)(x), whole, f"{bit_engine} {op}")


def test_power_of_two_scales_exactly(op, rng):
    x, factor = draw(rng, (3, op.shape[1]), op.input_dtype), op.dtype.type(2**9)
    assert_same_bits(op(factor.real * x), factor.real * op(x), "forward")
    assert_same_bits(op.gram(factor.real * x), factor.real * op.gram(x), "gram")


# Seeded operators as values ---------------------------------------------------------------------


def test_gaussian_is_nested(dtype):
    """Unscaled rows and columns of one seed agree whatever the shape; the scale is 1/sqrt(m)."""
    wide = Gaussian(30, 50, seed=4, dtype=dtype, normalize=False).to_dense()
    for m, n in ((1, 1), (7, 50), (30, 9), (29, 49)):
        part = Gaussian(m, n, seed=4, dtype=dtype, normalize=False).to_dense()
        assert_same_bits(part, np.ascontiguousarray(wide[:m, :n]), f"{m} x {n}")
        scaled = Gaussian(m, n, seed=4, dtype=dtype).to_dense()
        assert_same_bits(scaled, part * dtype.type(1 / np.sqrt(m)), f"{m} x {n} scaled")


def test_rows_of_a_large_operator_cost_only_themselves(dtype):
    """Its whole matrix would not fit the address space."""
    part = Gaussian(2**62, 4000, seed=3, dtype=dtype, normalize=False).rows(2**61, 2**61 + 2)
    assert part.shape == (2, 4000)
    x = np.ones(4000, dtype)
    np.testing.assert_allclose(part(x), part.to_dense().sum(axis=1), rtol=1e-3)


def test_too_large_to_store():
    op = Gaussian(2**61, 2**20)
    with pytest.raises(MemoryError, match=r"store: .* GiB.*; pass store=False"):
        op._stored()  # a product asks for its result first
    with pytest.raises(MemoryError, match=r"to_dense: .* GiB.*; take rows\(i0, i1\)"):
        op.to_dense()


SEEDED = {
    "default": {},
    "float64": {"seed": 2**64 - 1, "dtype": np.float64},
    "not scaled": {"seed": 12345, "normalize": False},
    "not stored": {"seed": 1, "store": False},
    "stored": {"seed": 1, "store": True},
}


@pytest.mark.parametrize("options", SEEDED.values(), ids=SEEDED)
def test_repr_pickle_and_copy_rebuild(options):
    whole = Gaussian(M, N, **options)
    whole(np.ones(N, whole.dtype))  # the matrix is in memory now
    for op in (whole, whole.rows(3, 9), whole.rows(3, 9).rows(1, 2), whole.H, whole.H.rows(2, 5)):
        assert_rebuilds(op)
        assert len(pickle.dumps(op)) < 350


def assert_rebuilds(op):
    rebuilt = eval(repr(op), vars(measure))
    unpickled = pickle.loads(pickle.dumps(op))
    for other in (rebuilt, unpickled, copy.deepcopy(op)):
        assert other == op and hash(other) == hash(op) and repr(other) == repr(op)
        assert_same_bits(other.to_dense(), op.to_dense(), repr(op))


@pytest.mark.parametrize("name", [n for n in ALL if "dense" not in n and "generic" not in n])
def test_every_seeded_operator_rebuilds(name, dtype):
    op = ALL[name](dtype)
    if "Dense" in repr(op) or "<" in repr(op):
        assert pickle.loads(pickle.dumps(op)) == op
        return
    assert_rebuilds(op)
    state = pickle.dumps(op.__reduce__()[1][1:]) if isinstance(op, SeededOperator) else b""
    assert len(state) < 110


def test_a_pickle_holds_the_state_alone():
    _, state = Gaussian(1000, 1000, seed=2**64 - 1).__reduce__()
    assert len(pickle.dumps(state[1:])) < 100


def test_a_pickle_of_another_stream_is_refused(monkeypatch):
    saved = pickle.dumps(Gaussian(3, 4))
    monkeypatch.setattr(Gaussian, "version", 2)
    with pytest.raises(ValueError, match="got version 1 of the Gaussian stream, wanted 2"):
        pickle.loads(saved)


def test_dense_pickles_and_compares(dtype):
    op = dense(dtype)
    assert pickle.loads(pickle.dumps(op)) == op == Dense(op.to_dense())
    assert hash(op) == hash(Dense(op.to_dense()))
    assert op != dense(dtype, m=M - 1) and op != Dense(-op.to_dense()) and op != "Dense"
    other = np.float64 if dtype == np.float32 else np.float32
    assert op != Dense(op.to_dense().astype(other))
    assert repr(op) == f"Dense(shape=(23, 37), dtype={dtype})"


def test_equality_of_seeded_operators():
    op = Gaussian(M, N, seed=1)
    assert op == Gaussian(M, N, seed=1, store=False) == Gaussian(M, N, seed=np.int64(1))
    different = [
        Gaussian(M, N, seed=2),
        Gaussian(M, N + 1, seed=1),
        Gaussian(M, N, seed=1, dtype=np.float64),
        Gaussian(M, N, seed=1, normalize=False),
        op.rows(0, M - 1),
        op.H,
        Dense(op.to_dense()),
    ]
    assert all(op != other for other in different)
    assert Gaussian(M + 1, N, seed=1).rows(0, M) != op  # another scale


# The norm ---------------------------------------------------------------------------------------


def test_norm(op):
    matrix = widened(op.to_dense())
    if op.input_dtype.kind == "f":  # linear over the reals
        matrix = np.concatenate([matrix.real, matrix.imag])
    elif op.output_dtype.kind == "f":
        matrix = np.concatenate([matrix.real, -matrix.imag], axis=1)
    exact = np.linalg.norm(matrix, 2)
    assert isinstance(op.norm(), float)
    assert abs(op.norm() - exact) <= 1e-6 * exact
    assert op.norm() == op.norm()
    if real_of(op.dtype) == np.float64:
        assert abs(op.norm(rtol=1e-13) - exact) <= 2e-13 * exact


def test_norm_of_hard_matrices(automatic, dtype):
    cases = {
        "zero": (np.zeros((3, 4)), 0.0),
        "identity": (np.eye(9), 1.0),
        "double": (np.diag([2.0, 2, 1, 0.5]), 2.0),
        "one row": (np.full((1, 16), 3.0), 12.0),
        "large": (np.full((4, 4), 2.0**100), 2.0**102),
        "small": (np.full((4, 4), 2.0**-80), 2.0**-78),
        "close": (np.diag(np.r_[1, 0.999999, np.linspace(0, 0.9999, 300)]), 1.0),
    }
    for name, (matrix, exact) in cases.items():
        assert abs(Dense(matrix.astype(dtype)).norm() - exact) <= 1e-6 * exact, name
    assert np.isnan(Dense(np.full((3, 3), np.nan, dtype)).norm())


@pytest.mark.parametrize("rtol", [0, -1e-3, 1, 1e-9, np.nan])
def test_norm_refuses(rtol):
    with pytest.raises(ValueError, match="rtol: got"):
        Gaussian(3, 4).norm(rtol)


# What is refused --------------------------------------------------------------------------------


def test_refused_inputs(op):
    m, n = op.shape
    kind = op.input_dtype
    other = {"f4": "f8", "f8": "f4", "c8": "c16", "c16": "c8"}[kind.str[1:]]
    with pytest.raises(TypeError, match=f"x: got {np.dtype(other)}, wanted {kind}"):
        op(np.ones(n, other))
    with pytest.raises(TypeError, match="x: got dtype int64"):
        op(np.ones(n, np.int64))
    with pytest.raises(TypeError, match="x: got list"):
        op([1.0] * n)
    with pytest.raises(TypeError, match="masked"):
        op(np.ma.ones(n, dtype=kind))
    with pytest.raises(ValueError, match=rf"x: got shape \(2, {n + 1}\), wanted \(..., {n}\)"):
        op(np.ones((2, n + 1), kind))
    with pytest.raises(ValueError, match=rf"y: got shape \(\), wanted \(..., {m}\)"):
        op.adjoint(np.array(1, op.output_dtype))
    with pytest.raises(ValueError, match="rows to forward and adjoint"):
        op.matvec(np.ones((2, n), kind))
    with pytest.raises(ValueError, match="Y: got shape"):
        op.rmatmat(np.ones((m + 1, 2), op.output_dtype))
    with pytest.raises(ValueError, match="X: got 3 axes"):
        op @ np.ones((2, n, 2), kind)
    with pytest.raises(ValueError, match="out: got shape"):
        op(np.ones(n, kind), out=np.empty(m + 1, op.output_dtype))
    with pytest.raises(TypeError, match="got out without y"):
        op.adjoint(out=np.empty(n, kind))
    for i0, i1 in ((-1, 2), (3, 2), (0, m + 1)):
        with pytest.raises(ValueError, match="rows: got"):
            op.rows(i0, i1)
    for i0 in (1.0, True, None):
        with pytest.raises(TypeError, match="i0: got"):
            op.rows(i0, 2)


def test_complex_into_real(real_op):
    m, n = real_op.shape
    with pytest.raises(TypeError, match=r"complex128 for a real operator.*x\.real"):
        real_op(np.ones(n, np.complex128))
    with pytest.raises(TypeError, match="y: got complex64"):
        real_op.adjoint(np.ones(m, np.complex64))


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_operators_take_real_input_of_their_precision(name, dtype, rng):
    op = COMPLEX[name](dtype)
    x, y = draw(rng, (3, op.shape[1]), dtype), draw(rng, (3, op.shape[0]), dtype)
    assert_same_bits(op(x), op(x.astype(op.dtype)), "forward")
    assert_same_bits(op.adjoint(y), op.adjoint(y.astype(op.dtype)), "adjoint")
    assert_same_bits(op @ x.T, op @ x.T.astype(op.dtype), "@")
    with pytest.raises(TypeError, match="x: got float"):
        op(x.astype(np.float64 if dtype == np.float32 else np.float32))


@pytest.mark.parametrize("name", ON_REAL_SIGNALS)
def test_operators_on_real_signals(name, dtype, rng):
    op = ON_REAL_SIGNALS[name](dtype)
    forward = op if op.input_dtype == dtype else op.H
    assert forward.input_dtype == dtype and forward.output_dtype == complex_of(dtype)
    x = draw(rng, (3, forward.shape[1]), dtype)
    assert forward.adjoint(forward(x)).dtype == forward.gram(x).dtype == dtype
    with pytest.raises(TypeError, match="complex"):
        forward(x.astype(complex_of(dtype)))


REFUSED = [
    ({"m": 0}, ValueError, "m: got 0, wanted 1 <= m"),
    ({"n": -3}, ValueError, "n: got -3, wanted 1 <= n"),
    ({"n": 2**34 + 1}, ValueError, "n: got 17179869185"),
    ({"m": 2**63}, ValueError, "m: got"),
    ({"m": 3.0}, TypeError, "m: got 3.0, wanted an integer"),
    ({"n": True}, TypeError, "n: got True"),
    ({"seed": -1}, ValueError, "seed: got -1, wanted 0 <= seed < 2"),
    ({"seed": 2**64}, ValueError, "seed: got 18446744073709551616"),
    ({"seed": True}, TypeError, "seed: got True"),
    ({"seed": 1.0}, TypeError, "seed: got 1.0"),
    ({"seed": None}, TypeError, "seed: got None"),
    ({"dtype": np.float16}, TypeError, "dtype: got .*float16"),
    ({"dtype": np.longdouble}, TypeError, "dtype: got"),
    ({"real_input": True}, TypeError, "real_input: got float32, wanted an operator of complex"),
    ({"real_input": 1}, TypeError, "real_input: got 1"),
    ({"dtype": "words"}, TypeError, "dtype: got 'words'"),
    ({"dtype": None}, TypeError, "dtype: got None"),
    ({"normalize": 1}, TypeError, "normalize: got 1"),
    ({"store": "never"}, ValueError, "store: got 'never', wanted 'auto', True or False"),
    ({"store": 1}, ValueError, "store: got 1"),
]


@pytest.mark.parametrize("options, error, message", REFUSED, ids=[str(r[0]) for r in REFUSED])
def test_gaussian_refuses(options, error, message):
    with pytest.raises(error, match=message):
        Gaussian(**{"m": 3, "n": 4, **options})


def test_dense_refuses():
    for matrix, error in (
        ([[1.0]], TypeError),
        (np.ones((2, 2), int), TypeError),
        (np.ma.ones((2, 2)), TypeError),
        (np.ones(3), ValueError),
        (np.ones((2, 2, 2)), ValueError),
    ):
        with pytest.raises(error, match="matrix: got"):
            Dense(matrix)


def test_names():
    assert homfast.measure is measure
    assert len(set(measure.__all__)) == len(measure.__all__)
    assert all(hasattr(measure, name) for name in measure.__all__)
