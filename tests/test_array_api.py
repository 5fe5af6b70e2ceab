"""Arrays that have the array API standard's methods and no others, in and out.

`array_api_strict` has nothing beyond the standard, so that a step outside of it is an error.
"""

import numpy as np
import pytest

import homfast
from homfast import measure

strict = pytest.importorskip("array_api_strict")


def of(array):
    return strict.asarray(np.ascontiguousarray(array))


def compare(ours, wanted):
    """The same values, and wherever NumPy would have an array, one of the namespace."""
    if isinstance(wanted, np.ndarray):
        assert type(ours) is type(strict.ones(1))
        assert np.array_equal(np.from_dlpack(ours), wanted)
    elif isinstance(wanted, (tuple, list)):
        assert len(ours) == len(wanted)
        for own, other in zip(ours, wanted, strict=True):
            compare(own, other)
    else:
        assert wanted is None and ours is None


@pytest.fixture
def x(rng, dtype):
    return rng.standard_normal((5, 8)).astype(dtype)


@pytest.fixture
def weights(rng, dtype):
    return [rng.standard_normal(s).astype(dtype) for s in ((9, 8), (4, 9))]


def test_layers(x, weights):
    weight = weights[0]
    y, mask = homfast.linear_relu(x, weight, return_mask=True)
    compare(homfast.linear(of(x), of(weight)), homfast.linear(x, weight))
    compare(homfast.linear_relu(of(x), of(weight), return_mask=True), (y, mask))
    compare(
        homfast.linear_relu_backward(of(y), of(x), of(weight), of(mask)),
        homfast.linear_relu_backward(y, x, weight, mask),
    )
    out = strict.zeros((5, 9), dtype=of(x).dtype)
    assert homfast.linear(of(x), of(weight), out=out) is out
    compare(out, homfast.linear(x, weight))


def test_networks(x, weights):
    net, plain = homfast.ReLUNetwork(list(map(of, weights))), homfast.ReLUNetwork(weights)
    y, vjp = plain.vjp(x)
    ours, own_vjp = net.vjp(of(x))
    compare(ours, y)
    compare(own_vjp(of(y)), vjp(y))
    compare(net(of(x)), plain(x))
    compare(net.jvp(of(x), of(x)), plain.jvp(x, x))
    compare(net.jacobian(of(x)), plain.jacobian(x))
    linearized, wanted = net.linearize(of(x)), plain.linearize(x)
    compare(linearized.forward(of(x)), wanted.forward(x))
    compare(linearized.adjoint(of(y)), wanted.adjoint(y))
    net.set_weights([of(2 * w) for w in weights])
    homfast.fit(net, [(of(x), of(y))], learning_rate=0.01)
    plain.set_weights([2 * w for w in weights])
    homfast.fit(plain, [(x, y)], learning_rate=0.01)
    for own, other in zip(net.weights, plain.weights, strict=True):
        assert np.array_equal(own, other)


def test_operators(x, weights, dtype):
    matrix = weights[1][:, :8]
    for op, own in (
        (measure.Gaussian(4, 8, dtype=dtype), None),
        (measure.Hadamard(4, 8, dtype=dtype), None),
        (measure.Dense(matrix), measure.Dense(of(matrix))),
    ):
        own = own or op
        y = op(x)
        compare(own(of(x)), y)
        compare(own.adjoint(of(y)), op.adjoint(y))
        compare(own.gram(of(x)), op.gram(x))
        compare(own.matvec(of(x[0])), op.matvec(x[0]))
        compare(own @ of(x.T), op @ x.T)
        compare(own.rmatmat(of(y.T)), op.rmatmat(y.T))
        indices = np.array([[1, 2]])
        compare(
            own.forward_sparse(of(indices), of(x[:1, :2])), op.forward_sparse(indices, x[:1, :2])
        )
        magnitude = measure.Magnitude(op)
        compare(magnitude.vjp(of(x))[1](of(y)), magnitude.vjp(x)[1](y))
    signal = x.astype(np.result_type(dtype, np.complex64))
    fourier = measure.Fourier(4, 8, dtype=signal.dtype)
    compare(fourier(of(signal)), fourier(signal))
    compare(measure.walsh_hadamard(of(x)), measure.walsh_hadamard(x))


def test_views_of_the_namespace(x, weights):
    wanted = homfast.linear(np.broadcast_to(x[:1], x.shape), weights[0])
    compare(homfast.linear(strict.broadcast_to(of(x)[:1, :], x.shape), of(weights[0])), wanted)
    rows = of(np.repeat(x, 2, axis=0))[::2, :]
    compare(homfast.linear(rows, of(weights[0])), homfast.linear(x, weights[0]))


def test_errors_name_what_is_wrong(x, weights):
    with pytest.raises(TypeError, match="x: got dtype int64"):
        homfast.linear(of(x.astype(np.int64)), of(weights[0]))
    with pytest.raises(TypeError, match="weight: got float32 beside x of float64"):
        homfast.linear(of(x.astype(np.float64)), of(weights[0].astype(np.float32)))
    with pytest.raises(ValueError, match=r"x: got shape \(5, 3\)"):
        homfast.linear(of(x)[:, :3], of(weights[0]))
    there = strict.asarray(of(x), device=strict.Device("device1"))
    with pytest.raises(TypeError, match=r"on .*device1.*, wanted one on .*CPU.*move it"):
        homfast.linear(there, of(weights[0]))
