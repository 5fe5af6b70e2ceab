"""What operators refuse: each error names the argument, what came, what was wanted, the fix."""

import numpy as np
import pytest
from operators import ALL, COMPLEX, ON_REAL_SIGNALS, REAL, complex_of, draw
from oracles import assert_same_bits

import homfast
from homfast import measure
from homfast.measure import Dense, Gaussian, Kronecker, Magnitude, VStack
from homfast.measure.solvers import fista


@pytest.fixture(params=ALL)
def op(dtype, request):
    """On the backend in use: what holds of the protocol, whatever computes."""
    return ALL[request.param](dtype)


@pytest.fixture(params=REAL)
def real_op(dtype, request):
    return REAL[request.param](dtype)


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


SMALL, SIGNAL, ROW = Gaussian(3, 4), np.ones(4, np.float32), np.ones(3, np.float32)
WORDS = {
    "one operator to stack": (lambda: VStack(SMALL), TypeError, r"ops: got one operator.*pass \["),
    "nothing to stack": (lambda: VStack([]), TypeError, "ops: got .*at least one operator"),
    "a number in a stack": (lambda: VStack([SMALL, 1]), TypeError, "ops: got .* nothing else"),
    "stack of two n": (
        lambda: VStack([SMALL, Gaussian(3, 5)]),
        ValueError,
        r"\(3, 5\), wanted one n",
    ),
    "stack of two dtypes": (
        lambda: VStack([SMALL, Gaussian(3, 4, dtype=np.float64)]),
        TypeError,
        "ops: got operators of float32, float64, wanted one dtype",
    ),
    "composition": (lambda: SMALL @ SMALL, ValueError, r"\(3, 4\), wanted \(m, k\) and \(k, n\)"),
    "a list of seeds": (
        lambda: Gaussian(3, 4, seed=[1, 2]),
        TypeError,
        r"seed: got \[1, 2\], wanted an integer, or .*pass np\.array\(\[1, 2\]\)",
    ),
    "seeds of no family": (
        lambda: measure.SeedBatch(Dense, (3, 4), [1], {}),
        TypeError,
        "family: got Dense, wanted a seeded operator",
    ),
    "no batch axis": (
        lambda: Gaussian(3, 4, seed=np.arange(2))(SIGNAL),
        ValueError,
        r"x: got leading axes \(\), wanted \(2, \.\.\.\)",
    ),
    "regularization, a word": (
        lambda: fista(SMALL, ROW, regularization="a"),
        TypeError,
        "regularization: got 'a', wanted a number",
    ),
    "regularization, none": (
        lambda: fista(SMALL, ROW, regularization=None),
        TypeError,
        "regularization: got None",
    ),
    "regularization, shape": (
        lambda: fista(SMALL, ROW, regularization=np.ones(2)),
        ValueError,
        r"regularization: got shape \(2,\), wanted a number, or shape \(\)",
    ),
    "step, a word": (
        lambda: fista(SMALL, ROW, regularization=1, step="a"),
        TypeError,
        "step: got 'a'",
    ),
    "step, infinite": (
        lambda: fista(SMALL, ROW, regularization=1, step=np.inf),
        ValueError,
        "step: got inf, wanted a finite number",
    ),
    "truncation": (
        lambda: measure.solvers.spectral_init(SMALL, ROW, truncation="a"),
        TypeError,
        "truncation: got 'a'",
    ),
    "norm": (lambda: SMALL.norm("a"), TypeError, "rtol: got 'a', wanted a number"),
    "dot_test": (lambda: SMALL.dot_test("a"), TypeError, "rtol: got 'a', wanted a number"),
    "dot_test, negative": (lambda: SMALL.dot_test(-1), ValueError, "rtol: got -1, wanted"),
    "a list as a factor": (lambda: Kronecker(SMALL, [[1.0]]), TypeError, "b: got list"),
    "magnitudes of an array": (
        lambda: Magnitude(np.ones((2, 2))),
        TypeError,
        r"op: got ndarray, .*Dense\(matrix\)",
    ),
}


@pytest.mark.parametrize("name", WORDS)
def test_words(name):
    call, error, message = WORDS[name]
    with pytest.raises(error, match=message):
        call()


def test_names():
    assert homfast.measure is measure
    assert len(set(measure.__all__)) == len(measure.__all__)
    assert all(hasattr(measure, name) for name in measure.__all__)


def test_entries_refuse_the_tuple_of_nonzero():
    """Two arrays of two indices could be taken for two pairs."""
    places = np.nonzero(np.array([[0, 1, 1], [0, 0, 0]]))
    with pytest.raises(TypeError, match=r"^indices: got a tuple of 2 arrays.*numpy.stack"):
        measure.Entries(places, (2, 3))
    found = measure.Entries(np.stack(places, axis=-1), (2, 3))
    assert found == measure.Entries([[0, 1], [0, 2]], (2, 3))


def test_the_dtype_to_make_a_complex_operator_in():
    with pytest.raises(TypeError, match="make the operator in complex128"):
        measure.Fourier(2, 3)(np.ones(3))
    with pytest.raises(TypeError, match="make the operator in float64"):
        Gaussian(2, 3)(np.ones(3))


def test_circulant_refuses_a_column_beyond_memory(monkeypatch):
    monkeypatch.setattr("homfast._memory.available", lambda: 1 << 28)
    with pytest.raises(MemoryError, match="first_column: entries of shape"):
        _ = measure.Circulant(2, 1 << 27).first_column
    with pytest.raises(MemoryError, match="the spectrum of shape"):
        measure.Circulant(2, 1 << 25)(np.ones(1 << 25, np.float32))
