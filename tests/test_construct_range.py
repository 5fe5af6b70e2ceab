"""Weights beyond the largest number of the network's dtype are refused, by name, not built."""

import warnings

import numpy as np
import pytest

import homfast
from homfast import construct

pytest.importorskip("scipy", reason="needs homfast[theory]")

F = np.float32


def gaussian(m, n):
    return np.random.default_rng(0).standard_normal((m, n))


def small_column(dtype, least):
    return np.array([[1.0, 0.0], [0.0, least]], dtype)


def change(alpha, beta):
    large = homfast.ReLUNetwork([np.full((2, 2), 3e38, F), np.full((1, 2), 3e38, F)])
    return construct.change_activation(large, alpha, beta)


REFUSED = {
    "one-sparse": (lambda: construct.one_sparse_decoder(small_column(F, 1e-39)), "^A: .*1e.39"),
    "one-sparse, double": (
        lambda: construct.one_sparse_decoder(small_column(np.float64, 5e-324)),
        "^A: column 1 has norm .*e-324",
    ),
    "two-sparse": (
        lambda: construct.two_sparse_decoder(gaussian(5, 7).astype(F), 1e39),
        "^A, sharpness: .*float32; wanted float64",
    ),
    "two-sparse, double": (
        lambda: construct.two_sparse_decoder(gaussian(5, 7), 1e308),
        "^A, sharpness: .*float64; wanted other",
    ),
    "ISTA": (lambda: construct.homogeneous_ista(small_column(F, 1e-39), 1, 3), "^A: .*1e.39"),
    "low rank": (
        lambda: construct.low_rank_decoder((1e-39 * gaussian(6, 6)).astype(F), (2, 3)),
        "^A: .*float32; wanted float64",
    ),
    "interpolant": (
        lambda: construct.two_layer_interpolant(lambda y: 1e39 * y, 8, dtype=F),
        "^function: .*1e.39",
    ),
    "spikes": (
        lambda: construct.spike_approximator(
            (1e-39 * gaussian(5, 3)).astype(F), np.ones((5, 1), F), 0.1
        ),
        "^points, values: .*float32; wanted float64",
    ),
    "random features": (
        lambda: construct.random_feature_approximator(
            (1e-39 * gaussian(50, 3)).astype(F), np.ones((50, 1), F), 5
        ),
        "^points, values: .*float32; wanted float64",
    ),
    "random features, double": (
        lambda: construct.random_feature_approximator(
            1e-310 * gaussian(50, 3), np.ones((50, 1)), 5
        ),
        "^values: row 0 reaches 1 at a point of size",
    ),
    "homogenize": (
        lambda: construct.homogenize(
            [np.full((2, 2), 3e38, F), np.ones((1, 2), F)], [np.full(2, 3e38, F), None]
        ),
        "^weights, biases, gauge: .*float32",
    ),
    "change_activation": (lambda: change(1.0, -1.0 + 1e-6), "^alpha, beta: .*float32"),
}


@pytest.mark.parametrize(("build", "words"), REFUSED.values(), ids=REFUSED)
def test_weights_out_of_range_are_refused_by_name(build, words):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=words):
            build()
