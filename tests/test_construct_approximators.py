"""Networks made from values of positively homogeneous functions."""

import numpy as np
import pytest

from homfast.construct import (
    random_feature_approximator,
    spike_approximator,
    two_layer_interpolant,
)


def norm(y):
    return np.linalg.norm(y, axis=1, keepdims=True)


def rough(y):
    """Lipschitz with constant 1, odd in the first entry, with kinks off the rays."""
    return np.column_stack(
        [np.sign(y[:, 0]) * np.abs(y).min(axis=1), np.abs(y[:, 1] - y[:, 0]) / 2]
    )


@pytest.mark.parametrize("rays", [5, 8, 33, 200])
def test_the_interpolant_takes_the_values_and_keeps_its_bound(rng, rays):
    net = two_layer_interpolant(rough, rays)
    angles = 2 * np.pi * np.arange(rays) / rays
    points = np.column_stack([np.cos(angles), np.sin(angles)])
    np.testing.assert_allclose(net(3 * points), 3 * rough(points), atol=1e-12)
    y = rng.standard_normal((4000, 2)) * 10.0 ** rng.integers(-3, 4, (4000, 1))
    error = np.abs(net(y) - rough(y)) / norm(y)
    assert error.max() <= net.certificate.factor * 1.0


def test_smooth_functions_gain_two_orders(rng):
    y = rng.standard_normal((2000, 2))
    errors = [np.abs(two_layer_interpolant(norm, rays)(y) / norm(y) - 1).max() for rays in (40, 80)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("m", [2, 3, 5])
def test_spikes_interpolate_and_are_local(rng, m):
    points = rng.standard_normal((12, m)) * 5
    values = rng.standard_normal((12, 3))
    net = spike_approximator(points, values, 0.3)
    np.testing.assert_allclose(net(points), values, atol=1e-9)
    one = spike_approximator(points[:1], np.ones((1, 1)), 0.3)
    y = rng.standard_normal((3000, m))
    angle = np.arccos(np.clip(y @ points[0] / norm(y)[:, 0] / np.linalg.norm(points[0]), -1, 1))
    assert (one(y)[angle > np.arctan(0.3) + 1e-9] == 0).all()
    assert (one(points[:1]) > 0).all() and (one(-points[:1]) == 0).all()


def test_random_features_learn_what_linear_maps_cannot(rng, dtype):
    y = rng.standard_normal((700, 3)).astype(dtype)
    target = np.column_stack([norm(y)[:, 0], np.abs(y).max(axis=1)]).astype(dtype)
    test = rng.standard_normal((500, 3)).astype(dtype)
    errors = []
    for width in (20, 200):
        net = random_feature_approximator(y, target, width, seed=1)
        assert net.dtype == dtype and net.widths == (3, 6, width + 6, 2)
        wanted = np.column_stack([norm(test)[:, 0], np.abs(test).max(axis=1)])
        errors.append(np.sqrt(np.mean((net(test) - wanted) ** 2)))
        np.testing.assert_array_equal(net(test * dtype.type(4)), net(test) * dtype.type(4))
    assert errors[1] < 0.5 * errors[0] and errors[1] < 0.05


def test_bad_samples_are_named(rng):
    points = rng.standard_normal((4, 3))
    with pytest.raises(ValueError, match="rays: got 4"):
        two_layer_interpolant(norm, 4)
    with pytest.raises(ValueError, match="function: got nan"):
        two_layer_interpolant(lambda y: y * np.nan, 6)
    with pytest.raises(ValueError, match=r"values: got shape \(3, 1\)"):
        spike_approximator(points, np.ones((3, 1)), 0.1)
    with pytest.raises(ValueError, match="points: row 2 is zero"):
        spike_approximator(points * np.array([[1], [1], [0], [1]]), np.ones((4, 1)), 0.1)
    for factor in (1.0, 3.0):
        twice = np.vstack([points, factor * points[1:2]])
        with pytest.raises(ValueError, match="points: rows 1 and 4 have one direction"):
            spike_approximator(twice, np.ones((5, 1)), 0.1)


def test_a_radius_that_rounding_or_overlap_defeats_is_named(rng, dtype):
    points = rng.standard_normal((6, 3)).astype(dtype)
    values = rng.standard_normal((6, 2)).astype(dtype)
    least = 150 * np.finfo(dtype).eps
    for radius in (1e-18, 0.9 * least):
        with pytest.raises(ValueError, match=r"radius: got .*rounding in float.*wanted .* or more"):
            spike_approximator(points, values, radius)
    error = np.abs(spike_approximator(points, values, 1.01 * least)(points) - values).max()
    assert error < 0.05 * np.abs(values).max()
    near = points[:1] + dtype.type(1e3 * np.finfo(dtype).eps) * points[1:2]
    crowded = np.vstack([points, near])
    with pytest.raises(ValueError, match=r"radius: got 1000\..*wanted a smaller one"):
        spike_approximator(crowded, np.ones((7, 1), dtype), 1000.0)
