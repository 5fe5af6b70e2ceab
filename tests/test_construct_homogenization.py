"""Biased networks made homogeneous, and units exchanged: the functions stay what they were."""

import itertools

import numpy as np
import pytest

import homfast
from homfast.construct import change_activation, homogenize, one_sparse_decoder, random_gauge


def biased(weights, biases, inputs, alpha=1.0, beta=0.0):
    """The biased network, in a few lines."""
    values = inputs
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        values = values @ weight.T + (0 if bias is None else bias)
        if i < len(weights) - 1:
            values = alpha * np.maximum(values, 0) + beta * np.maximum(-values, 0)
    return values


def layers(rng, widths):
    weights = [rng.standard_normal((b, a)) for a, b in itertools.pairwise(widths)]
    return weights, [rng.standard_normal(b) for b in widths[1:]]


@pytest.mark.parametrize("widths", [(3, 2), (4, 9, 2), (3, 7, 5, 4), (2, 5, 6, 7, 3)])
@pytest.mark.parametrize("activation", [(1.0, 0.0), (1.0, -0.2), (0.5, 2.0)])
@pytest.mark.parametrize("projections", [None, 40])
def test_homogenized_is_the_biased_network_at_every_scale(rng, widths, activation, projections):
    weights, biases = layers(rng, widths)
    gauge = "l1" if projections is None else random_gauge(widths[0], projections, seed=3)
    net = homogenize(weights, biases, gauge=gauge, activation=activation)
    assert len(net.weights) == len(weights) + 1
    y = rng.standard_normal((50, widths[0])) * 10.0 ** rng.integers(-5, 6, (50, 1))
    rows = np.eye(widths[0]) if projections is None else gauge
    size = np.abs(y @ rows.T).sum(axis=1, keepdims=True)
    wanted = size * biased(weights, biases, y / size, *activation)
    scale = size * np.abs(wanted / size).max()
    assert np.abs((net(y) - wanted) / scale).max() < 1e-12


def test_layers_without_bias_carry_no_unit(rng):
    weights, biases = layers(rng, (3, 5, 4, 2))
    assert homogenize(weights, [None, None, None]).widths == (3, 6, 5, 4, 2)
    assert homogenize(weights, [biases[0], biases[1], None]).widths == (3, 6, 6, 4, 2)
    assert homogenize(weights, biases).widths == (3, 6, 6, 5, 2)


def test_powers_of_two_pass_to_the_bit(rng, dtype):
    weights, biases = layers(rng, (5, 11, 3))
    net = homogenize([w.astype(dtype) for w in weights], [b.astype(dtype) for b in biases])
    assert net.dtype == dtype
    y = rng.standard_normal((20, 5)).astype(dtype)
    for k in (-20, -3, 1, 17):
        np.testing.assert_array_equal(net(y * dtype.type(2.0**k)), net(y) * dtype.type(2.0**k))
    np.testing.assert_array_equal(net(np.zeros((1, 5), dtype)), 0)


def test_random_gauge_is_near_the_norm(rng):
    y = rng.standard_normal((100, 6))
    size = np.abs(y @ random_gauge(6, 4000, seed=1).T).sum(axis=1)
    np.testing.assert_allclose(size, np.linalg.norm(y, axis=1), rtol=0.06)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, -0.1), (1.0, 0.5), (0.0, 2.0), (-3.0, 1.0)])
def test_other_units_compute_the_same(rng, alpha, beta):
    net = homfast.ReLUNetwork.random([5, 8, 7, 3], seed=2, dtype=np.float64)
    other = change_activation(net, alpha, beta)
    assert other.widths == (5, 16, 14, 3)
    y = rng.standard_normal((40, 5))
    np.testing.assert_allclose(other(y), net(y), atol=1e-13 * np.abs(net(y)).max())
    # What stands in its weights is made of the units asked for, up to positive factors and order.
    slope = other.negative_slope
    assert np.isclose(slope, -beta / alpha if abs(alpha) > abs(beta) else -alpha / beta)


def test_the_decoder_in_leaky_units_is_exact(rng):
    A = rng.standard_normal((12, 30))
    net = change_activation(one_sparse_decoder(A), 1.0, -0.3)
    np.testing.assert_allclose(net(-2.0 * A.T), -2.0 * np.eye(30), atol=1e-11)


@pytest.mark.parametrize(("alpha", "kind"), [(1.0, "even"), (-1.0, "linear")])
def test_units_of_one_size_are_refused(alpha, kind):
    net = homfast.ReLUNetwork.random([3, 4, 2], dtype=np.float64)
    with pytest.raises(ValueError, match=kind):
        change_activation(net, alpha, 1.0)


@pytest.mark.parametrize(
    ("weights", "biases", "options", "error", "words"),
    [
        ([np.eye(2), np.ones((1, 3))], [None, None], {}, ValueError, r"weights\[1\]"),
        ([np.eye(2)], [np.ones(3)], {}, ValueError, r"biases\[0\].*\(2,\)"),
        ([np.eye(2)], [np.ones(2, np.float32)], {}, TypeError, r"biases\[0\].*float32"),
        ([np.eye(2)], [], {}, ValueError, "biases: got 0, wanted a list of 1"),
        ([np.eye(2)], [np.array([1.0, np.nan])], {}, ValueError, r"biases\[0\].*nan"),
        ([np.diag([1.0, np.inf])], [None], {}, ValueError, r"weights\[0\].*inf"),
        ([np.eye(2)], [None], {"gauge": "l2"}, ValueError, "gauge.*l2"),
        ([np.eye(2)], [None], {"gauge": np.ones((3, 2))}, ValueError, "rank 1"),
        ([np.eye(2)], [None], {"activation": 1.0}, TypeError, "activation"),
    ],
)
def test_bad_layers_are_named(weights, biases, options, error, words):
    with pytest.raises(error, match=words):
        homogenize(weights, biases, **options)
