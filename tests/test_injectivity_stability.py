"""How stably ReLU layers keep points apart, how they are inverted, and injective networks."""

import itertools

import numpy as np
import pytest

import homfast

pytest.importorskip("scipy", reason="needs homfast[theory]")

from homfast.injectivity import (
    empirical_stability,
    injective_network,
    invert,
    is_injective,
    make_injective,
    minimal_weight,
    stability_bounds,
)


def stacked(rng, n, more):
    B = rng.standard_normal((n, n))
    return np.vstack([B, -rng.uniform(0.5, 2, (n, 1)) * B, rng.standard_normal((more, n))])


@pytest.mark.parametrize("seed", range(6))
def test_kappa_is_between_half_sigma_and_sigma(seed):
    rng = np.random.default_rng(seed)
    weight = stacked(rng, 2 + seed % 3, seed)
    bounds = stability_bounds(weight)
    assert bounds.exact and 0 < bounds.lower <= bounds.upper <= bounds.sigma
    found = empirical_stability(weight, seed=seed)
    assert bounds.lower * (1 - 1e-9) <= found
    assert found <= bounds.sigma * (1 + 1e-6)


def test_sigma_is_the_least_over_all_cells(rng):
    weight = stacked(rng, 3, 4)
    points = []  # in the four cells, however thin, at each ray where two planes meet
    for pair in itertools.combinations(weight, 2):
        ray = np.cross(*pair)
        if np.linalg.norm(ray) > 1e-9 * np.linalg.norm(pair):
            for signs in itertools.product((1.0, -1.0), repeat=2):
                away = np.linalg.lstsq(np.array(pair), signs)[0]
                away *= 1e-7 / np.linalg.norm(away)
                points += [ray / np.linalg.norm(ray) + away, away - ray / np.linalg.norm(ray)]
    patterns = np.unique(np.array(points) @ weight.T >= 0, axis=0)
    least = min(np.linalg.svd(weight[p], compute_uv=False)[-1] for p in patterns)
    assert stability_bounds(weight).sigma == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_plus_and_minus_a_basis_attain_the_upper_bound(rng, n):
    B = rng.standard_normal((n, n))
    bounds = stability_bounds(np.vstack([B, -B]))
    least = np.linalg.svd(B, compute_uv=False)[-1]
    assert bounds.sigma == pytest.approx(least)
    assert bounds.upper == pytest.approx(least / np.sqrt(2))
    assert empirical_stability(np.vstack([B, -B])) == pytest.approx(least / np.sqrt(2), rel=1e-3)


def test_layers_that_are_not_injective_are_not_stable(rng):
    assert stability_bounds(np.eye(3)) == (0.0, 0.0, 0.0, True)
    assert stability_bounds(rng.standard_normal((2, 3))).upper == 0


def test_bounds_hold_when_the_search_is_cut(rng):
    weight = stacked(rng, 4, 8)
    exact, cut = stability_bounds(weight), stability_bounds(weight, node_limit=5)
    assert exact.exact and not cut.exact
    assert cut.lower <= exact.lower and cut.sigma >= exact.sigma


@pytest.mark.parametrize("width", [1e-2, 1e-6, 1e-10, 1e-12])
def test_a_thin_cell_is_counted_or_said(width):
    """In the cell beside the second row only one row is active: kappa is 0."""
    weight = np.array([[1.0, 0], [-1, width], [0, 1], [0, -1]])
    bounds = stability_bounds(weight)
    assert bounds.lower == 0.0
    assert bounds.exact == (width > 1e-9) and (bounds.upper == 0.0) == bounds.exact
    assert stability_bounds(weight, tolerance=0.0).lower == 0.0
    with_a_pair = np.vstack([weight, [[-1.0, 0.0]]])
    bounds = stability_bounds(with_a_pair, tolerance=0.0)
    assert bounds.lower >= 0.3 if width > 1e-12 else not bounds.exact


@pytest.mark.parametrize("size", [1e-6, 1e-17, 1e-100])
def test_small_rows_and_columns_are_not_zero(rng, size):
    four = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    bounds = stability_bounds(four * [1.0, size])
    np.testing.assert_allclose(bounds[:3], [size / 2, size / np.sqrt(2), size], rtol=1e-12)
    assert bounds.exact
    B = rng.standard_normal((3, 3))
    for scaled in (B * [1.0, 1.0, size], B * [[size], [1.0], [1.0]]):
        dual = np.linalg.inv(B)  # |(B D)^-1| = |D^-1 B^-1| is about that of its largest part
        largest = np.linalg.norm(dual[2] if scaled[0, 0] == B[0, 0] else dual[:, 0]) / size
        bounds = stability_bounds(np.vstack([scaled, -scaled]))
        assert bounds.exact and bounds.sigma == pytest.approx(1 / largest, rel=10 * size + 1e-12)


@pytest.mark.parametrize(
    ("tolerance", "error"),
    [(-1.0, ValueError), (np.nan, ValueError), (np.inf, ValueError), (0.5, ValueError),
     ("a", TypeError), (None, TypeError), (True, TypeError)],
)  # fmt: skip
def test_a_tolerance_that_is_none_is_named(tolerance, error):
    with pytest.raises(error, match="tolerance: got"):
        stability_bounds(minimal_weight(2), tolerance=tolerance)


# The inverse --------------------------------------------------------------------------------------


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("n", [1, 3, 6])
def test_values_are_inverted(rng, n, biased):
    weight = stacked(rng, n, 2)
    shift = rng.standard_normal(n) * biased
    scale = -weight[n : 2 * n, :1] / weight[:n, :1]
    bias = np.concatenate([shift, -scale[:, 0] * shift, np.zeros(2)])
    assert is_injective(weight, bias)
    x = rng.standard_normal((3, 20, n))
    z = np.maximum(x @ weight.T + bias, 0)
    np.testing.assert_allclose(invert(weight, z, bias), x, atol=1e-10)


@pytest.mark.parametrize("size", [1.0, 1e-8, 1e-13, 1e-17, 1e-60])
def test_rows_and_biases_of_many_sizes_are_inverted(rng, size):
    """A small row is active where its entry is not zero, not beside the largest entry."""
    four = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    for x in ([1.0, 1.0], [1.0, -2.0], [-1e-3, 1e6], [3.0, 1e-9], [0.0, -1.0]):
        for rows, units in (([1.0, 1.0, size, size], 1.0), ([1.0] * 4, np.array([1.0, size]))):
            weight = four * np.array(rows)[:, None] * units
            found = invert(weight, np.maximum(weight @ x, 0))
            np.testing.assert_allclose(found, x, rtol=1e-12, atol=1e-20)
    weight = np.vstack([four @ [[1.0, 1.0], [-0.5, 1.0]], rng.standard_normal((3, 2))])
    scale = np.array([1.0, 1.0, size, size, size, 1.0, 1e-3])
    x = rng.standard_normal((200, 2))
    z = np.maximum(x @ (weight * scale[:, None]).T, 0)
    np.testing.assert_allclose(invert(weight * scale[:, None], z), x, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("far", [1e3, 1e10, 1e13, 2.0**52])
def test_a_large_bias_hides_no_other_row(far):
    weight = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    bias = np.array([far, -far, 0.0, 0.0])
    for x in ([1.0, 1.0], [-3.0, -0.1], [2.0, 1e-9]):
        found = invert(weight, np.maximum(weight @ x + bias, 0), bias)
        np.testing.assert_allclose(found, x, rtol=1e-12)
    # What a sharp entry knows a blunt one does not spoil.
    more, shifts = np.vstack([weight, [[1.0, 0.0], [-1.0, 0.0]]]), np.append(bias, [0.0, 0.0])
    x = np.array([np.pi, 0.5])
    found = invert(more, np.maximum(more @ x + shifts, 0), shifts)
    np.testing.assert_allclose(found, x, rtol=1e-12)


def test_noise_is_met_in_the_least_squares_of_the_rows_as_given(rng):
    """Rows of small size count little beside noise, columns of small size are units of x."""
    weight = rng.standard_normal((7, 3)) * np.array([1, 1, 1, 1, 1, 1e-3, 1e-7])[:, None]
    z = np.maximum(weight @ rng.standard_normal(3), 0) + rng.uniform(1e-3, 0.1, 7)
    expected = np.linalg.lstsq(weight, z, rcond=None)[0]
    np.testing.assert_allclose(invert(weight, z), expected, rtol=1e-9)
    units = np.array([1.0, 1e-30, 1e20])
    np.testing.assert_allclose(invert(weight * units, z), expected / units, rtol=1e-9)


def test_points_on_the_borders_of_cells_are_inverted():
    weight = np.vstack([np.eye(3), -2 * np.eye(3)])
    x = np.array([[0, 0, 0], [1, 0, 0], [0, -1, 2], [-1, 0, 3.0]])
    np.testing.assert_allclose(invert(weight, np.maximum(x @ weight.T, 0)), x, atol=1e-12)


def test_noise_is_met_in_least_squares_under_the_constraints(rng):
    weight = stacked(rng, 3, 3)
    x = rng.standard_normal((50, 3))
    z = np.maximum(x @ weight.T, 0)
    noisy = np.where(z > 0, np.maximum(z + 0.05 * rng.standard_normal(z.shape), 1e-3), 0)
    found = invert(weight, noisy)
    for row, target in zip(found, noisy, strict=True):
        active = target > 0
        assert (weight[~active] @ row).max(initial=-1) <= 1e-8
        error = np.linalg.norm(weight[active] @ row - target[active])
        for _ in range(50):  # no feasible neighbour is better
            other = row + 1e-3 * rng.standard_normal(3)
            if (weight[~active] @ other).max(initial=-1) <= 0:
                assert np.linalg.norm(weight[active] @ other - target[active]) >= error - 1e-9


def test_what_cannot_be_inverted_is_named(rng):
    with pytest.raises(ValueError, match="negative or not finite"):
        invert(np.eye(2), np.array([[1.0, -1.0]]))
    with pytest.raises(ValueError, match="rank 1, wanted 2"):
        invert(np.ones((3, 2)), np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"z: got shape \(1, 3\)"):
        invert(np.eye(2), np.ones((1, 3)))
    with pytest.raises(TypeError, match="z: got float32"):
        invert(np.eye(2), np.ones((1, 2), np.float32))


# Networks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [[], [9], [9, 8]])
def test_made_injective_is_near_and_tells_points_apart(rng, hidden):
    net = homfast.ReLUNetwork.random([3, *hidden, 8], seed=1, dtype=np.float64)
    other = make_injective(net, 1e-2, seed=3)
    assert len(other.weights) == len(net.weights)
    x = rng.standard_normal((500, 3))
    moved = other(x) - net(x)
    assert np.linalg.norm(moved, axis=1).max() <= 1e-2 * 3 * np.linalg.norm(x, axis=1).max()
    twice = make_injective(net, 2e-2, seed=3)(x) - net(x)
    np.testing.assert_allclose(twice, 2 * moved, atol=1e-12)
    # Points that a dead network would merge.
    dead = homfast.ReLUNetwork([np.zeros((4, 3)), np.zeros((7, 4))])
    images = make_injective(dead, 1.0)(x)
    gaps = np.linalg.norm(images[:, None] - images, axis=2) + np.eye(500)
    apart = np.linalg.norm(x[:, None] - x, axis=2) + np.eye(500)
    assert (gaps / apart).min() > 1e-2


def test_too_few_outputs_are_refused():
    net = homfast.ReLUNetwork.random([3, 5, 6], dtype=np.float64)
    with pytest.raises(ValueError, match="2n \\+ 1 = 7"):
        make_injective(net, 0.1)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_injective_networks_double_once(rng, layers):
    net = injective_network(4, layers, seed=2)
    assert net.widths[0] == 4 and net.widths[-1] == 9 and max(net.widths) == (9, 18)[layers > 1]
    x = rng.standard_normal((400, 4))
    images = net(x)
    gaps = np.linalg.norm(images[:, None] - images, axis=2) + np.eye(400)
    apart = np.linalg.norm(x[:, None] - x, axis=2) + np.eye(400)
    assert (gaps / apart).min() > 1e-4


def test_a_hidden_layer_of_the_network_is_injective():
    assert is_injective(injective_network(3, 2, seed=1).weights[0])
    assert is_injective(minimal_weight(5))
