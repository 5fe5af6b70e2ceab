"""Measurement operators on arrays of a CUDA device that do more than one product with a matrix.

Transforms by the FFT of the arrays' library, entries, rank-one measurements and their factors,
complex operators, batches. The devices are those of test_device_arrays.
"""

import copy
import pickle

import numpy as np
import oracles
import pytest
from engines import NATIVE_ENGINES
from operators import complex_of
from test_device_arrays import OPERATORS, same

from homfast import measure

pytest_plugins = ("cuda_device", "device_libraries")

PLACES = np.random.default_rng(8).integers(0, 40, 30)  # some come twice
# Whose results have the bits of the CPU: nothing is rounded, or in the same order.
EXACT = {
    "entries": lambda dtype: measure.Entries(PLACES, (5, 8), dtype=dtype),
    "entries, distinct": lambda dtype: measure.Entries(
        np.random.default_rng(8).permutation(40)[:30], (5, 8), dtype=dtype
    ),
    "entries.rows.H": lambda dtype: measure.Entries(PLACES, (5, 8), dtype=dtype).rows(3, 20).H,
    "signs, a batch": lambda dtype: measure.Rademacher(
        13, 40, seed=np.arange(3), dtype=dtype, normalize=False
    ),
    "entries of sums": lambda dtype: (
        measure.Entries(PLACES[:13], (4, 10), dtype=dtype)
        @ measure.Rademacher(40, 40, dtype=dtype, normalize=False)
    ),
}
# Complex ones of integers, whose products are exact: the same.
EXACT_COMPLEX = {
    "entries, complex": lambda dtype: measure.Entries(PLACES, (5, 8), dtype=complex_of(dtype)),
    "conjugate": lambda dtype: measure.Entries(PLACES, (5, 8), dtype=complex_of(dtype)).conj(),
    "times a complex number": lambda dtype: (
        (2 - 3j) * measure.Entries(PLACES, (5, 8), dtype=complex_of(dtype))
    ),
    "on real signals": lambda dtype: measure.RealInput(
        1j * measure.Entries(PLACES, (5, 8), dtype=complex_of(dtype))
    ),
    "stacked": lambda dtype: measure.VStack(
        [measure.Entries(PLACES[i:12], (5, 8), dtype=complex_of(dtype)) for i in (0, 3)]
    ),
}
ROUNDED = {
    "rank one": lambda dtype: measure.RankOne(13, (5, 8), seed=3, dtype=dtype),
    "rank one, symmetric": lambda dtype: measure.RankOne(
        13, (6, 6), seed=3, symmetric=True, dtype=dtype
    ),
    "rank one.rows": lambda dtype: measure.RankOne(13, (5, 8), seed=3, dtype=dtype).rows(2, 9),
    "rank ones": lambda dtype: measure.RankOne(13, (5, 8), seed=np.arange(3), dtype=dtype),
    "gaussians": lambda dtype: measure.Gaussian(13, 40, seed=np.arange(3), dtype=dtype).rows(1, 9),
    "hadamards": lambda dtype: measure.Hadamard(13, 40, seed=np.arange(3), dtype=dtype),
}
COMPLEX = {
    "gaussian, complex": lambda dtype: measure.Gaussian(13, 40, seed=3, dtype=complex_of(dtype)),
    "gaussian.T": lambda dtype: measure.Gaussian(13, 40, seed=3, dtype=complex_of(dtype)).T,
    "gaussian.conj.rows": lambda dtype: (
        measure.Gaussian(13, 40, dtype=complex_of(dtype)).conj().rows(2, 9)
    ),
    "gaussian of real signals": lambda dtype: measure.Gaussian(
        13, 40, dtype=complex_of(dtype), real_input=True
    ),
    "gaussians, complex": lambda dtype: measure.Gaussian(
        13, 40, seed=np.arange(3), dtype=complex_of(dtype), real_input=True
    ),
    "circulant, complex": lambda dtype: measure.Circulant(13, 41, seed=3, dtype=complex_of(dtype)),
    "fourier": lambda dtype: measure.Fourier(13, 40, seed=3, dtype=complex_of(dtype)),
    "fourier.T": lambda dtype: measure.Fourier(13, 40, seed=3, dtype=complex_of(dtype)).T,
    "fourier of real signals": lambda dtype: measure.Fourier(
        13, 40, seed=3, dtype=complex_of(dtype), real_input=True
    ),
    "fourier, turned": lambda dtype: (
        (0.6 - 0.8j) * measure.Fourier(13, 40, dtype=complex_of(dtype))
    ),
    "fourier, halved": lambda dtype: (
        -0.5 * measure.Fourier(13, 40, seed=3, dtype=complex_of(dtype)).H
    ),
    "fourier in two dimensions": lambda dtype: measure.Kronecker(
        *(measure.Fourier(3, n, dtype=complex_of(dtype)) for n in (4, 5))
    ),
    "gaussian and fourier": lambda dtype: (
        measure.Gaussian(5, 13, dtype=complex_of(dtype))
        @ measure.Fourier(13, 40, seed=3, dtype=complex_of(dtype))
    ),
    "a complex operator after a real one": lambda dtype: (
        measure.RealInput(measure.Fourier(13, 40, dtype=complex_of(dtype)))
        @ measure.Gaussian(40, 24, dtype=dtype)
    ),
    "fouriers": lambda dtype: measure.VStack(
        [measure.Fourier(5, 40, seed=seed, dtype=complex_of(dtype)) for seed in range(2)]
    ),
    "fourier and gaussian": lambda dtype: (
        measure.Fourier(13, 40, seed=3, dtype=complex_of(dtype))
        + measure.Gaussian(13, 40, dtype=complex_of(dtype))
    ),
}
TRANSFORMS = {
    "cosine": lambda dtype: measure.Cosine(13, 40, seed=3, dtype=dtype),
    "cosine, odd": lambda dtype: measure.Cosine(7, 41, seed=3, dtype=dtype).rows(1, 5),
    "cosine, 1": lambda dtype: measure.Cosine(1, 1, dtype=dtype),
    "cosine, 2": lambda dtype: measure.Cosine(2, 2, dtype=dtype),
    "cosines": lambda dtype: measure.Cosine(13, 40, seed=np.arange(3), dtype=dtype),
    "circulant": lambda dtype: measure.Circulant(13, 40, seed=3, dtype=dtype),
}
FAMILIES = EXACT | EXACT_COMPLEX | ROUNDED | COMPLEX | TRANSFORMS


def integers_of(rng, shape, dtype):
    """Small ones, complex too, zeros of both signs."""

    def part():
        return rng.integers(0, 4, shape) * rng.choice((-1.0, 1.0), shape)

    found = np.asarray(part()).astype(dtype)
    if found.dtype.kind == "c":
        found.imag = part()
    return found


def same_number_bits(found, wanted, what):
    """Bits, of complex numbers too."""
    real = wanted.real.dtype
    one, other = (np.ascontiguousarray(each).reshape(-1).view(real) for each in (found, wanted))
    oracles.assert_same_bits(one, other, what)


def takes(device, op):
    """Whether the operator has products there: the array API alone has no parts and no FFT."""
    plain = op.dtype.kind == "f" and "Cosine" not in repr(op) and "Circulant" not in repr(op)
    return device.name != "standard" or plain


@pytest.mark.parametrize("name", FAMILIES)
def test_families(device, rng, dtype, name):
    op = FAMILIES[name](dtype)
    m, n = op.shape
    if not takes(device, op):
        x = device.array(np.zeros((*op._batch_shape, n), op.input_dtype))
        with pytest.raises(TypeError, match=r"got a .* for a .* torch and CuPy only .*; move the"):
            op(x)
        return
    close = {"rtol": 1e-4 if dtype == np.float32 else 1e-11, "atol": 2e-4}

    def compare(found, wanted, what):
        assert isinstance(found, device.kind), what
        mine = np.asarray(device.host(found))
        assert mine.dtype == wanted.dtype and mine.shape == wanted.shape, what
        if name in EXACT or name in EXACT_COMPLEX:
            same_number_bits(mine, wanted, what)
        else:
            np.testing.assert_allclose(mine, wanted, **close, err_msg=what)

    for leading in ((), (0,), (3,), (2, 2)):
        lead = (*op._batch_shape, *leading)
        x, y = (
            integers_of(rng, (*lead, n), op.input_dtype),
            integers_of(rng, (*lead, m), op.output_dtype),
        )
        x_there, y_there = device.array(x), device.array(y)
        compare(op(x_there), op(x), "forward")
        compare(op.adjoint(y_there), op.adjoint(y), "adjoint")
        compare(op.gram(x_there), op.gram(x), "gram")
        compare(op.H(y_there), op.H(y), "H")
    lead = (*op._batch_shape, 2)
    x, wide = (
        integers_of(rng, (*lead, n), op.input_dtype),
        np.full((*lead, 2 * n), 5, op.input_dtype),
    )
    wide[..., ::2] = x
    strided, apart = device.array(wide)[..., ::2], np.concatenate((x, x), axis=-1)
    out = device.array(np.full((*lead, m), np.nan, op.output_dtype))
    for rows in (strided, device.array(apart)[..., :n]):
        assert op.forward(rows, out=out) is out
        compare(out, op(x), "out")
    if m == n and op.input_dtype == op.output_dtype:
        there = device.array(x)
        compare(op.forward(there, out=there), op(x), "out that is x")
    with pytest.raises(TypeError, match=r"^out: got dtype (int32|float64), wanted"):
        other = np.int32 if op.output_dtype == np.float64 else np.float64
        op.forward(strided, out=device.array(np.zeros((*lead, m), other)))
    other = np.float64 if dtype == np.float32 else np.float32
    with pytest.raises(
        TypeError, match=rf"^x: got {np.dtype(other)}, wanted {op.input_dtype}, the"
    ):
        op(device.array(x.real.astype(other)))


@pytest.mark.parametrize("name", [*EXACT, *ROUNDED, "gaussian, complex", "gaussian.T"])
def test_rows_of_families_do_not_know_the_batch(device, rng, dtype, name):
    op = FAMILIES[name](dtype)
    if op._batch_shape or device.backend == "cupy" or not takes(device, op):
        pytest.skip("rows of other operators, or bits of the library")
    x = rng.standard_normal((70, op.shape[1])).astype(op.input_dtype)
    all_rows = device.host(op(device.array(x)))
    adjoint = device.host(op.adjoint(device.array(all_rows)))
    for i in (0, 33, 69):
        one = device.host(op(device.array(x[i : i + 1])))
        oracles.assert_same_bits(one, all_rows[i : i + 1], "forward")
        back = device.host(op.adjoint(device.array(all_rows[i : i + 1])))
        oracles.assert_same_bits(back, adjoint[i : i + 1], "adjoint")


@pytest.mark.parametrize("name", ["rank one", "rank one.rows", "gaussian, complex", "gaussian.T"])
def test_bits_of_the_cpu(device, rng, dtype, name):
    """Entries are those of every backend; in `cuda` sums too, where the CPU has multiply-adds."""
    op = FAMILIES[name](dtype)
    if not takes(device, op):
        pytest.skip("no complex arrays of the array API alone")
    units = np.eye(op.shape[1], dtype=op.dtype)
    np.testing.assert_array_equal(device.host(op(device.array(units))), op(units))
    fused = [e for e in NATIVE_ENGINES if e.target in ("avx2", "avx512", "neon")]
    if device.backend == "cupy" or not fused:
        return
    fused[0].use()
    x, y = (rng.standard_normal((20, size)).astype(op.dtype) for size in op.shape[::-1])
    same_number_bits(device.host(op(device.array(x))), op(x), "forward")
    same_number_bits(device.host(op.adjoint(device.array(y))), op.adjoint(y), "adjoint")
    if name.startswith("rank one"):
        factors = [rng.standard_normal((3, d, 2)).astype(dtype) for d in op.matrix_shape]
        g, there = y[:3], [device.array(each) for each in factors]
        same(device, op.forward_factors(*there), op.forward_factors(*factors), "factors")
        pairs = zip(
            op.vjp_factors(*there, device.array(g)), op.vjp_factors(*factors, g), strict=True
        )
        for found, wanted in pairs:
            same(device, found, wanted, "gradient")


def test_complex_operators_take_real_rows(device, rng, dtype):
    """As the CPU does."""
    if device.name == "standard":
        pytest.skip("no complex arrays of the array API alone")
    x, there = device.integers(rng, (3, 40), dtype)
    for op in (COMPLEX["gaussian, complex"](dtype), COMPLEX["fourier"](dtype)):
        found = op(there)
        assert device.host(found).dtype == op.dtype
        np.testing.assert_allclose(device.host(found), op(x), rtol=1e-4, atol=1e-4)


def test_a_lazily_conjugated_tensor_is_refused(device):
    if device.name != "torch":
        pytest.skip("of torch alone")
    x = device.array(np.ones((2, 40), np.complex64) * (1 + 2j))
    op = measure.Fourier(4, 40)
    with pytest.raises(TypeError, match=r"^x: got a lazily conjugated tensor.*x\.resolve_conj\(\)"):
        op(x.conj())
    found = device.host(op(x.conj().resolve_conj()))
    np.testing.assert_allclose(found, op(x.conj().resolve_conj().numpy()), atol=1e-4)


FACTORED = ["entries", "entries, distinct", "entries, complex", "rank one", "rank one, symmetric"]


@pytest.mark.parametrize("leading", [(), (0,), (3,), (2, 2)], ids=str)
@pytest.mark.parametrize("name", [*FACTORED, "rank one.rows"])
def test_factors(device, rng, dtype, name, leading):
    op = FAMILIES[name](dtype)
    if not takes(device, op):
        with pytest.raises(TypeError, match=r"^U: got a .* torch and CuPy only"):
            op.forward_factors(device.array(np.ones((5, 1), op.dtype)), np.ones((8, 1), op.dtype))
        return
    d1, d2 = op.matrix_shape
    for rank in (0, 1, 3):
        u, v, g = (
            integers_of(rng, (*leading, *shape), op.dtype)
            for shape in ((d1, rank), (d2, rank), (op.shape[0],))
        )
        there = [device.array(each) for each in (u, v, g)]
        found = [op.forward_factors(*there[:2]), *op.vjp_factors(*there)]
        wanted = [op.forward_factors(u, v), *op.vjp_factors(u, v, g)]
        for one, other in zip(found, wanted, strict=True):
            assert isinstance(one, device.kind)
            mine = np.asarray(device.host(one))
            assert mine.shape == other.shape and mine.dtype == other.dtype
            if name in EXACT or name in EXACT_COMPLEX:
                same_number_bits(mine, other, name)
            else:
                np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-3)


def test_factors_that_do_not_fit(device, rng):
    op = measure.Entries(PLACES, (5, 8))
    (u, u_there), (v, v_there) = (device.integers(rng, s) for s in ((5, 2), (8, 2)))
    g, g_there = device.integers(rng, (30,))
    for name, call in (
        ("U", lambda: op.forward_factors(u, v_there)),
        ("V", lambda: op.forward_factors(u_there, v)),
        ("g", lambda: op.vjp_factors(u_there, v_there, g)),
        ("U", lambda: op.vjp_factors(u, v, g_there)),
    ):
        with pytest.raises(TypeError, match=rf"^{name}: got a numpy\.ndarray on the CPU beside"):
            call()
    with pytest.raises(ValueError, match=r"^U: got shape \(8, 2\), wanted \(\.\.\., 5, r\)"):
        op.forward_factors(v_there, v_there)
    with pytest.raises(ValueError, match=r"^g: got shape \(5, 2\), wanted \(30,\) to match U"):
        op.vjp_factors(u_there, v_there, u_there)
    with pytest.raises(TypeError, match=r"^V: got float64, wanted float32"):
        op.forward_factors(u_there, device.array(v.astype(np.float64)))
    same(device, op.forward_factors(u_there, v_there), op.forward_factors(u, v), "the next call")


def test_rank_one_in_parts(device, rng, dtype, monkeypatch):
    """Sums over the rows of X run on from part to part: the bits of one part."""
    from homfast.measure import rank_one

    op = measure.RankOne(13, (9, 8), seed=3, dtype=dtype)
    x, y = (rng.standard_normal((5, size)).astype(dtype) for size in op.shape[::-1])
    there = [device.array(each) for each in (x, y)]
    whole = device.host(op(there[0])), device.host(op.adjoint(there[1]))
    for chunk in (1, 40, 13 * 9 * 2):
        monkeypatch.setattr(rank_one, "_DEVICE_CHUNK", chunk)
        found = device.host(op(there[0])), device.host(op.adjoint(there[1]))
        for one, other in zip(found, whole, strict=True):
            if (
                device.backend == "cupy"
            ):  # products have the library's bits, which may know the size
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
            else:
                oracles.assert_same_bits(one, other, f"parts of {chunk}")


@pytest.mark.parametrize("kind", [measure.Magnitude, measure.Intensity])
def test_modulus_of_complex_measurements(device, rng, dtype, kind):
    if device.name == "standard":
        pytest.skip("no complex arrays of the array API alone")
    for op in (
        measure.Fourier(13, 40, dtype=complex_of(dtype)),
        measure.Fourier(13, 40, dtype=complex_of(dtype), real_input=True),
    ):
        x, (g, g_there) = (
            integers_of(rng, (4, 40), op.input_dtype),
            device.integers(rng, (4, 13), dtype),
        )
        x[0] = 0  # where magnitudes have the gradient 0
        y, vjp = kind(op).vjp(device.array(x))
        wanted, wanted_vjp = kind(op).vjp(x)
        assert device.host(y).dtype == dtype
        np.testing.assert_allclose(device.host(y), wanted, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(device.host(vjp(g_there)), wanted_vjp(g), rtol=1e-3, atol=1e-3)


def test_dense_of_a_complex_matrix(device, rng, dtype):
    matrix = integers_of(rng, (6, 9), complex_of(dtype))
    if device.name == "standard":
        with pytest.raises(TypeError, match=r"^matrix: got a .* torch and CuPy only"):
            measure.Dense(device.array(matrix))
        return
    x, y = integers_of(rng, (4, 9), matrix.dtype), integers_of(rng, (4, 6), matrix.dtype)
    op, there = measure.Dense(matrix), measure.Dense(device.array(matrix))
    pairs = [
        (there(device.array(x)), op(x)),
        (there.adjoint(device.array(y)), op.adjoint(y)),
        (there.T(device.array(y)), op.T(y)),
        (there.rows(1, 3)(device.array(x)), op.rows(1, 3)(x)),
        (there.to_dense(), matrix),
        (measure.RealInput(there)(device.array(x.real.copy())), op(x.real)),
    ]
    for found, wanted in pairs:
        assert isinstance(found, device.kind)
        np.testing.assert_array_equal(device.host(found), wanted)
    assert there == measure.Dense(device.array(matrix)) and there != op


def test_operators_are_values_still(device):
    """What was uploaded for a device goes into no pickle and no comparison."""
    for name in ("gaussian", "hadamard", "sparse", "entries", "rank one"):
        op = (OPERATORS | FAMILIES)[name](np.float32)
        op.gram(device.array(np.ones((1, 40), np.float32)))
        assert pickle.loads(pickle.dumps(op)) == op == copy.deepcopy(op)
        assert len(pickle.dumps(op)) < (500 if name == "entries" else 300)
