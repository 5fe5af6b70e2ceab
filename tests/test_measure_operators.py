"""Every operator: the protocol, products against the dense matrix, the norm."""

from pathlib import Path

import numpy as np
import pytest
from operators import (
    ALL,
    LARGE,
    PLAIN,
    Generic,
    M,
    N,
    dense,
    draw,
    real_of,
    tolerance,
    widened,
)
from oracles import assert_same_bits, assert_within, integers, product

from homfast import measure
from homfast._backends import streams
from homfast.measure import Dense, Gaussian, Operator


@pytest.fixture(params=ALL)
def op(dtype, request):
    """On the backend in use: what holds of the protocol, whatever computes."""
    return ALL[request.param](dtype)


@pytest.fixture(params=ALL)
def engine_op(automatic, dtype, request):
    """On each engine."""
    return ALL[request.param](dtype)


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


def test_every_class_is_tested():
    """Each linear operator that is public, by a name in ALL; bits of each in LARGE."""
    public = {getattr(measure, name) for name in measure.__all__ if name != "Operator"}
    linear = {each for each in public if isinstance(each, type) and issubclass(each, Operator)}
    for table in (ALL, LARGE):
        made = {type(make(np.dtype(np.float64))) for make in table.values()}
        assert linear - {measure.SeedBatch} <= made  # a batch is each of its operators alone


def test_every_class_and_stream_is_in_the_docs():
    docs = Path(__file__).parent.parent / "docs" / "operators.md"
    if not docs.exists():
        pytest.skip("no docs beside the tests: not a checkout")
    text = docs.read_text(encoding="utf-8")
    classes = {n for n in measure.__all__ if n[0].isupper()} - {
        "Operator",
        "SeedBatch",
        "RealInput",
    }
    kinds = {n for n in vars(streams) if n.isupper()} - {"PROBE", "VERSION"}
    assert not {name for name in classes | kinds if name not in text}


def test_dot_test(op):
    assert op.dot_test() is True
    rtol = 1e-5 if real_of(op.dtype) == np.float32 else 1e-12
    for each in (op, op.H, op.T, op.conj()):
        assert each.dot_test(rtol=rtol) is True


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


def test_norm_scales_with_the_matrix(dtype, rng):
    """By powers of two to the bit, near the ends of the range too."""
    far = np.finfo(dtype).maxexp - 30
    for matrix in rng.standard_normal((10, 30, 20)).astype(dtype):
        norm = Dense(matrix).norm()
        for k in (-far, -far // 2, -1, 10, far // 2, far):
            assert Dense(np.ldexp(matrix, k)).norm() == np.ldexp(norm, k), k


@pytest.mark.parametrize("rtol", [0, -1e-3, 1, 1e-9, np.nan])
def test_norm_refuses(rtol):
    with pytest.raises(ValueError, match="rtol: got"):
        Gaussian(3, 4).norm(rtol)


def test_one_row_repeated_by_strides(automatic, op, rng):
    """Broadcast rows, as gradients of sums are."""
    x, y = draw(rng, (op.shape[1],), op.input_dtype), draw(rng, (op.shape[0],), op.output_dtype)
    for call, row in ((op.forward, x), (op.adjoint, y)):
        many = call(np.broadcast_to(row, (4, len(row))))
        np.testing.assert_allclose(many, call(np.stack([row] * 4)), **tolerance(op.dtype))
