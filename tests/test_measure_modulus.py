"""Magnitude and Intensity: values, gradients, homogeneity, what they refuse."""

import pickle

import numpy as np
import pytest
from operators import complex_of, draw, tolerance, widened
from oracles import assert_same_bits

from homfast import measure
from homfast.measure import Dense, Entries, Fourier, Gaussian, Hadamard, Intensity, Magnitude

MAKERS = {
    "gaussian": lambda dtype: Gaussian(20, 9, seed=2, dtype=dtype),
    "gaussian complex": lambda dtype: Gaussian(20, 9, seed=2, dtype=complex_of(dtype)),
    "on reals": lambda dtype: Gaussian(20, 9, dtype=complex_of(dtype), real_input=True),
    "fourier": lambda dtype: Fourier(8, 9, dtype=complex_of(dtype)),
    "hadamard": lambda dtype: Hadamard(12, 9, dtype=dtype),
    "batch": lambda dtype: Gaussian(20, 9, seed=np.arange(4), dtype=complex_of(dtype)),
}


@pytest.fixture(params=MAKERS)
def op(request, dtype):
    return MAKERS[request.param](dtype)


@pytest.mark.parametrize("family, power", [(Magnitude, 1), (Intensity, 2)])
def test_values_and_homogeneity(op, dtype, rng, family, power):
    measured = family(op)
    assert measured.shape == op.shape and measured.dtype == dtype and measured.op is op
    x = draw(rng, (4, 3, op.shape[1]), op.input_dtype)
    y = measured(x)
    assert y.dtype == dtype and y.shape == (4, 3, op.shape[0])
    np.testing.assert_allclose(y, np.abs(op(x)) ** power, **tolerance(dtype))
    assert_same_bits(measured(np.float32(8) * x), 8**power * y, "degree")
    assert_same_bits(measured.vjp(x)[0], y, "vjp")


@pytest.mark.parametrize("family", [Magnitude, Intensity])
@pytest.mark.parametrize("name", MAKERS)
def test_gradients_by_finite_differences(name, family, rng):
    op = MAKERS[name](np.dtype(np.float64))
    measured = family(op)
    x = draw(rng, (4, op.shape[1]), op.input_dtype)
    v = draw(rng, x.shape, op.input_dtype)
    y, vjp = measured.vjp(x)
    g = draw(rng, y.shape, np.float64)
    h = 1e-6
    change = (measured(x + h * v) - measured(x - h * v)) / (2 * h)
    np.testing.assert_allclose(np.vdot(vjp(g), v).real, np.vdot(g, change), rtol=1e-6)


def test_gradients_in_single_precision(op, dtype, rng):
    wide = {"f": np.float64, "c": np.complex128}[op.input_dtype.kind]
    x = draw(rng, (4, op.shape[1]), op.input_dtype)
    matrix = widened(op.to_dense())
    z = np.einsum("...ij,bj->bi" if matrix.ndim == 2 else "bij,bj->bi", matrix, x.astype(wide))
    adjoint = "ij,bi->bj" if matrix.ndim == 2 else "bij,bi->bj"
    for family, slope in ((Magnitude, z / np.abs(z)), (Intensity, 2 * z)):
        y, vjp = family(op).vjp(x)
        g = draw(rng, y.shape, dtype)
        wanted = np.einsum(adjoint, matrix.conj(), g * slope)
        if op.input_dtype.kind == "f":
            wanted = wanted.real
        assert vjp(g).dtype == op.input_dtype
        np.testing.assert_allclose(vjp(g), wanted, **tolerance(dtype))


def test_zero_has_gradient_zero(op, dtype):
    x = np.zeros((4, op.shape[1]), op.input_dtype)
    for family in (Magnitude, Intensity):
        y, vjp = family(op).vjp(x)
        assert not y.any() and not vjp(np.ones_like(y)).any()
    half = Dense(np.array([[1, 0], [1, 1]], op.dtype))
    _, vjp = Magnitude(half).vjp(np.array([0, 2], half.dtype))
    np.testing.assert_array_equal(vjp(np.ones(2, dtype)), [1, 1])


def test_nan_stays():
    for op in (Entries(range(3), (1, 3), dtype=d) for d in (np.float64, np.complex128)):
        y, vjp = Magnitude(op).vjp(np.array([np.nan, 1, -2], op.dtype))
        assert np.isnan(y[0]) and y[1:].tolist() == [1, 2]
        assert np.isnan(vjp(np.ones(3))[0])


def test_torch_in_torch_out():
    torch = pytest.importorskip("torch")
    op = Gaussian(5, 4, dtype=np.complex64)
    x = torch.ones(2, 4, dtype=torch.complex64)
    y, vjp = Intensity(op).vjp(x)
    assert isinstance(y, torch.Tensor) and y.dtype == torch.float32
    assert vjp(y).dtype == torch.complex64
    wanted = torch.ones(2, 4, dtype=torch.complex64, requires_grad=True)
    z = wanted @ torch.from_numpy(op.to_dense()).T
    ((z.real**2 + z.imag**2) * y).sum().backward()
    torch.testing.assert_close(vjp(y), wanted.grad, rtol=1e-4, atol=1e-4)  # torch's convention


def test_values_and_refusals():
    op = Gaussian(5, 4)
    measured = Magnitude(op)
    assert measured == Magnitude(Gaussian(5, 4)) != Intensity(op)
    assert pickle.loads(pickle.dumps(measured)) == eval(repr(measured), vars(measure)) == measured
    assert hash(measured) == hash(Magnitude(op))
    with pytest.raises(TypeError, match="op: got ndarray"):
        Magnitude(np.eye(3))
    with pytest.raises(TypeError, match="x: got float64"):
        measured(np.ones(4))
    with pytest.raises(ValueError, match="x: got shape"):
        measured(np.ones(5, np.float32))
    y, vjp = measured.vjp(np.ones((2, 4), np.float32))
    with pytest.raises(ValueError, match=r"g: got shape \(5,\), wanted \(2, 5\)"):
        vjp(y[0])
    with pytest.raises(TypeError, match="g: got float64"):
        vjp(y.astype(np.float64))
    with pytest.raises(TypeError, match="g: got dtype complex64"):
        vjp(y.astype(np.complex64))
