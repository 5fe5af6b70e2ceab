"""What one hidden layer cannot do, and the constants of stable recovery."""

import itertools

import numpy as np
import pytest

import homfast
from homfast.construct import (
    isometry,
    one_hidden_layer_bound,
    one_hidden_layer_witness,
    restricted_isometry,
    robust_constants,
)
from homfast.construct.exact_rank import largest_rank


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [1, 7, 64])
def test_no_network_of_one_hidden_layer_beats_the_bound(seed, width):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((4, 9))
    net = homfast.ReLUNetwork([rng.standard_normal((width, 4)), rng.standard_normal((9, width))])
    for points in (None, rng.standard_normal((30, 9)), np.eye(9)[:6]):
        x = one_hidden_layer_witness(net, A, points)
        bound = one_hidden_layer_bound(A, points)
        assert np.linalg.norm(net((A @ x)[None])[0] - x) >= bound * (1 - 1e-12)
    assert one_hidden_layer_bound(A) == pytest.approx(np.sqrt(1 - 4 / 9))


def test_the_best_linear_map_is_no_better_for_other_points(rng):
    A, points = rng.standard_normal((3, 7)), rng.standard_normal((25, 7))
    images = points @ A.T
    best = np.linalg.lstsq(images, points, rcond=None)[0].T
    error = np.sqrt(np.mean(np.sum((images @ best.T - points) ** 2, axis=1)))
    assert error >= one_hidden_layer_bound(A, points) * (1 - 1e-12)


def test_parseval_frames_of_equal_norms_attain_it():
    cosines = np.cos(np.pi * np.outer(np.arange(6), np.arange(12)) / 6)
    sines = np.sin(np.pi * np.outer(np.arange(6), np.arange(12)) / 6)
    A = np.vstack([cosines[1:4], sines[1:4]]) / np.sqrt(6)  # orthonormal rows, harmonic columns
    np.testing.assert_allclose(A @ A.T, np.eye(6), atol=1e-14)
    net = homfast.ReLUNetwork([np.vstack([A.T, -A.T]), np.hstack([np.eye(12), -np.eye(12)])])
    errors = np.linalg.norm(
        net(np.vstack([A.T, -A.T])) - np.vstack([np.eye(12), -np.eye(12)]), axis=1
    )
    np.testing.assert_allclose(errors, one_hidden_layer_bound(A), rtol=1e-12)
    assert one_hidden_layer_bound(A) == pytest.approx(np.sqrt(0.5))


def test_rank_counts_not_rows(rng):
    row = rng.standard_normal((1, 8))
    assert one_hidden_layer_bound(np.vstack([row] * 4)) == pytest.approx(np.sqrt(7 / 8))
    assert one_hidden_layer_bound(rng.standard_normal((9, 8))) == 0
    assert one_hidden_layer_bound(homfast.measure.Gaussian(4, 8, seed=1)) == pytest.approx(0.5**0.5)


def test_no_cut_off_lifts_the_bound():
    """Small or nearly dependent columns are recovered by one hidden layer of large weights."""
    near = 1.0 + 2.0**-50
    cases = [
        (np.diag([1.0, 1e-20]), np.diag([1.0, 1e20])),
        (np.array([[1.0, 1.0], [1.0, near]]), np.array([[near, -1.0], [-1.0, 1.0]]) * 2.0**50),
        (np.array([[1e-200, 0.0], [1.0, 1e-250]]), None),
    ]
    for A, inverse in cases:
        assert one_hidden_layer_bound(A) == 0
        if inverse is not None:
            hidden = np.vstack([np.eye(2), -np.eye(2)])
            net = homfast.ReLUNetwork([hidden, np.hstack([inverse, -inverse])])
            np.testing.assert_array_equal(net(A.T.copy()), np.eye(2))
            x = one_hidden_layer_witness(net, A)
            assert np.linalg.norm(net((A @ x)[None])[0] - x) < 1e-15


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (30, 40), (1, 5)])
def test_the_rank_is_exact(rng, shape):
    for rank in range(min(shape) + 1):
        left, right = rng.integers(-9, 10, (shape[0], rank)), rng.integers(-9, 10, (rank, shape[1]))
        product = (left @ right).astype(np.float64)
        scaled = np.ldexp(product, rng.integers(-90, 90, shape[1])[None])
        assert largest_rank(product) == largest_rank(scaled) == np.linalg.matrix_rank(product)
    product = rng.standard_normal((shape[0], 1)) @ rng.standard_normal((1, shape[1]))
    assert largest_rank(product) == min(shape)  # rounded products are not of rank one
    primes = np.diag([1.0, 2147483629.0, 2147483587.0])
    primes[0, 0] = 1e-30
    assert largest_rank(primes) == 3


def test_points_of_low_rank_leave_no_error_of_rounding(rng):
    points = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 9))
    assert one_hidden_layer_bound(rng.standard_normal((3, 9)), points) == 0


def test_deeper_networks_are_not_bound(rng):
    net = homfast.ReLUNetwork.random([4, 5, 5, 9], dtype=np.float64)
    with pytest.raises(ValueError, match="2 hidden layers"):
        one_hidden_layer_witness(net, rng.standard_normal((4, 9)))
    with pytest.raises(ValueError, match="maps 4 features to 9, wanted 4 to 8"):
        one_hidden_layer_witness(
            homfast.ReLUNetwork.random([4, 9], dtype=np.float64), rng.standard_normal((4, 8))
        )


def test_robust_constants():
    assert robust_constants(0.0) == pytest.approx((1 + np.sqrt(2), np.sqrt(2)))
    found = robust_constants(0.5, relative_error=0.1, norm=4.0)
    assert found == pytest.approx((1 + np.sqrt(6), 2 + 0.025))
    with pytest.raises(ValueError, match="norm"):
        robust_constants(0.5, relative_error=0.1)
    with pytest.raises(ValueError, match=r"delta: got 1.0.*< 1"):
        robust_constants(1.0)
    with pytest.raises(ValueError, match="delta"):
        robust_constants(float("nan"))


def by_definition(A, s):
    worst = 0.0
    for support in itertools.combinations(range(A.shape[1]), s):
        part = A[:, support]
        worst = max(worst, np.abs(np.linalg.eigvalsh(part.T @ part) - 1).max())
    return worst


@pytest.mark.parametrize("s", [1, 2, 3, 5, 9])
def test_restricted_isometry_is_exact_for_small_sizes(rng, s):
    A = rng.standard_normal((6, 9)) / np.sqrt(6)
    found = restricted_isometry(A, s)
    assert found.exact and found.lower == found.upper
    assert found.lower == pytest.approx(by_definition(A, s), rel=1e-10)


@pytest.mark.parametrize("s", [3, 5])
def test_bounds_hold_where_enumeration_is_too_long(rng, s):
    A = rng.standard_normal((20, 12)) / np.sqrt(20)
    exact = restricted_isometry(A, s).lower
    found = restricted_isometry(A, s, limit=10, samples=200)
    assert not found.exact and "below" in found.method and "above" in found.method
    assert found.lower <= exact * (1 + 1e-12) and exact <= found.upper * (1 + 1e-12)
    assert found.lower >= 0.8 * exact


def test_the_work_of_restricted_isometry_is_bounded(rng):
    """Blocks of 1024 supports of 1000 columns would take 7.6 GiB, exchanges hours."""
    A = rng.standard_normal((25, 100)) / 5
    counted = []
    original = isometry._deviations

    def counting(excess, supports):
        assert supports.size * supports.shape[1] <= max(isometry._ENTRIES, supports.shape[1] ** 2)
        counted.append(len(supports) * (supports.shape[1] ** 3 + isometry._OVERHEAD))
        return original(excess, supports)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(isometry, "_deviations", counting)
        patch.setattr(isometry, "_ENTRIES", 20_000)
        for s, work in ((40, 2e7), (50, 1.0), (98, 1e7), (99, 1e3)):
            counted.clear()
            found = restricted_isometry(A, s, work=work)
            one = s**3 + isometry._OVERHEAD
            assert not found.exact and found.lower <= found.upper * (1 + 1e-12)
            assert sum(counted) <= max(work, 2 * one)
            drawn = min(20_000, max(1, int(work / one / 2)))
            assert f"below {drawn} random supports" in found.method
    assert restricted_isometry(A[:, :40], 39).exact
    with pytest.raises(ValueError, match="work: got 0"):
        restricted_isometry(A, 3, work=0)


def test_more_work_is_never_worse(rng):
    A = rng.standard_normal((30, 80)) / np.sqrt(30)
    lower = [restricted_isometry(A, 6, work=work).lower for work in (1e4, 1e6, 1e9)]
    assert lower[0] < lower[1] <= lower[2] * (1 + 1e-12)  # what is found again, by other roundings


@pytest.mark.parametrize(("s", "words"), [(0, "from 1 to 9"), (10, "from 1 to 9")])
def test_impossible_sparsities_are_named(rng, s, words):
    with pytest.raises(ValueError, match=f"s: got {s}.*{words}"):
        restricted_isometry(rng.standard_normal((4, 9)), s)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_operators_are_refused_as_complex_arrays_are(dtype):
    """Their real part alone is another operator: delta_1 of the DFT's rows is 0, not 1 / 2."""
    operator = homfast.measure.Fourier(4, 8, seed=3, dtype=dtype)
    dense = operator.to_dense()
    calls = [
        lambda A: restricted_isometry(A, 1),
        one_hidden_layer_bound,
        homfast.construct.one_sparse_decoder,
        lambda A: homfast.construct.two_sparse_decoder(A, 10.0),
        lambda A: homfast.construct.homogeneous_ista(A, 1, 3),
        lambda A: homfast.construct.low_rank_decoder(A, (2, 4)),
        homfast.construct.phase_retrieval_decoder,
        lambda A: homfast.linear_nets.oracle_map(A, np.eye(8)[:, :2]),
    ]
    for call in calls:
        for given in (operator, dense):
            with pytest.raises(TypeError, match=f"A: got .*{np.dtype(dtype)}, wanted float32"):
                call(given)
    with pytest.raises(TypeError, match="weight: got an operator"):
        homfast.injectivity.is_injective(operator)
    with pytest.raises(TypeError, match="function: got complex"):
        homfast.construct.two_layer_interpolant(lambda rows: rows[:, 0] + 1j, 8)
    stacked = np.vstack([dense.real, dense.imag])
    assert restricted_isometry(stacked, 1).upper < 1e-6


def test_products_of_columns_that_do_not_fit_are_named():
    wide = np.zeros((1, 40_000))
    with pytest.raises(MemoryError, match="A: the products of 40000 columns"):
        restricted_isometry(wide, 2)
    assert restricted_isometry(wide, 1).upper == 1.0
