"""Every network that the theory builds: F(2^k y) == 2^k F(y) to the bit, F(0) = 0."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs homfast[theory]")

from homfast import construct, injectivity
from homfast.network import ReLUNetwork


def matrix(m, n, dtype):
    return np.random.default_rng(m * n).standard_normal((m, n)).astype(dtype)


def biased(dtype):
    return [matrix(7, 4, dtype), matrix(3, 7, dtype)], [
        matrix(1, 7, dtype)[0],
        matrix(1, 3, dtype)[0],
    ]


def absolute(rows):
    return np.abs(rows).sum(axis=1)


BUILD = {
    "homogenize": lambda d: construct.homogenize(*biased(d)),
    "random_gauge": lambda d: construct.homogenize(*biased(d), gauge=construct.random_gauge(4, 30)),
    "change_activation": lambda d: construct.change_activation(
        ReLUNetwork.random([4, 6, 2], dtype=d), 1.0, 0.25
    ),
    "one_sparse_decoder": lambda d: construct.one_sparse_decoder(matrix(4, 9, d)),
    "two_sparse_decoder": lambda d: construct.two_sparse_decoder(matrix(4, 6, d), 64.0),
    "homogeneous_ista": lambda d: construct.homogeneous_ista(matrix(4, 3, d), 1, 3),
    "two_layer_interpolant": lambda d: construct.two_layer_interpolant(absolute, 9, dtype=d),
    "spike_approximator": lambda d: construct.spike_approximator(
        matrix(5, 3, d), matrix(5, 2, d), 0.1
    ),
    "random_feature_approximator": lambda d: construct.random_feature_approximator(
        matrix(90, 3, d), matrix(90, 2, d), 20
    ),
    "low_rank_decoder, linear": lambda d: construct.low_rank_decoder(matrix(4, 4, d), (2, 2)),
    "low_rank_decoder, features": lambda d: construct.low_rank_decoder(
        matrix(8, 9, d), (3, 3), relative_error=10.0, max_features=64
    ),
    "phase_retrieval_decoder": lambda d: construct.phase_retrieval_decoder(matrix(3, 2, d)),
    "make_injective": lambda d: injectivity.make_injective(
        ReLUNetwork.random([2, 6, 5], dtype=d), 0.1
    ),
    "injective_network": lambda d: injectivity.injective_network(3, 2, dtype=d),
}
# Those that are zero at almost every y: where they are not.
THERE = {
    "two_sparse_decoder": lambda d: matrix(4, 6, d).T,
    "spike_approximator": lambda d: matrix(5, 3, d),
}


@pytest.mark.parametrize("name", BUILD)
def test_powers_of_two_pass_to_the_bit(name, dtype):
    net = BUILD[name](dtype)
    assert net.dtype == dtype
    y = np.random.default_rng(1).standard_normal((40, net.widths[0])).astype(dtype)
    y = np.vstack([y, THERE[name](dtype)]) if name in THERE else y
    at_one = net(y)
    assert np.abs(at_one).max() > 0.01
    for k in (-20, -1, 5, 17):
        np.testing.assert_array_equal(net(y * dtype.type(2.0**k)), at_one * dtype.type(2.0**k))
    np.testing.assert_array_equal(net(np.zeros((2, net.widths[0]), dtype)), 0)
