"""Deep linear networks with weight decay: identities to rounding, and where the modes end."""

import numpy as np
import pytest

import homfast
from homfast.linear_nets import (
    balancedness,
    descend,
    initialize,
    mode_gains,
    noise_split,
    off_range_decay,
    oracle_map,
    range_projection,
)


class Problem:
    """Signals R z in a plane, seen by A; latents white: Z Z^T = I."""

    def __init__(self, d=12, m=6, s=2, batch=40, seed=0):
        rng = np.random.default_rng(seed)
        self.R = np.linalg.qr(rng.standard_normal((d, s)))[0]
        self.A = rng.standard_normal((m, d)) / np.sqrt(m)
        Z = np.linalg.qr(rng.standard_normal((batch, s)))[0]
        self.X = Z @ self.R.T
        self.Y = self.X @ self.A.T
        self.P = range_projection(self.Y)


def product(weights):
    result = weights[0]
    for weight in weights[1:]:
        result = weight @ result
    return result


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("decay", [0.0, 1e-2, 0.3])
def test_the_part_off_the_range_decays_exactly(depth, decay):
    problem = Problem()
    start = initialize(6, 12, depth, 20, seed=depth)
    rate = 0.02
    for steps in (0, 1, 37, 400):
        run = descend(
            start, problem.Y, problem.X, steps=steps, learning_rate=rate, weight_decay=decay
        )
        away = run.weights[0] - run.weights[0] @ problem.P
        wanted = off_range_decay(start[0], problem.Y, rate, decay, steps)
        assert np.abs(away - wanted).max() <= 1e-12 * np.linalg.norm(start[0])


def test_only_decay_removes_what_is_off_the_range():
    problem = Problem()
    start = initialize(6, 12, 3, 40, seed=1)
    away = np.eye(6) - problem.P
    sizes = {}
    for decay in (0.0, 5e-2):
        run = descend(
            start, problem.Y, problem.X, steps=4000, learning_rate=0.03, weight_decay=decay,
            projection=problem.P,
        )  # fmt: skip
        sizes[decay] = np.linalg.norm(product(run.weights) @ away)
        assert run.off_range.shape == (4000,)
        wanted = np.linalg.norm(product(start) @ away)
        np.testing.assert_allclose(run.off_range[0], wanted, rtol=1e-12)
    assert sizes[0.0] > 0.1 and sizes[5e-2] < 1e-2


@pytest.mark.parametrize(("depth", "decay"), [(2, 1e-2), (3, 1e-2), (4, 5e-3), (3, 3e-2)])
def test_modes_end_at_the_roots(depth, decay):
    problem = Problem()
    start = initialize(6, 12, depth, 24, seed=2)
    run = descend(start, problem.Y, problem.X, steps=20_000, learning_rate=0.05, weight_decay=decay)
    U, s, Vt = np.linalg.svd(problem.A @ problem.R)
    # Mode i: y = u_i comes back as gain times R v_i.
    found = np.einsum("ij,ij->j", problem.R @ Vt.T, product(run.weights) @ U[:, : len(s)])
    gains = mode_gains(s, decay, depth)
    errors, wanted = 1 - s * found, 1 - s * gains
    np.testing.assert_allclose(errors, wanted, rtol=0.02)
    np.testing.assert_allclose(wanted, decay * s ** (-2 / depth), rtol=0.15)
    assert balancedness(run.weights).max() < 1e-3 * balancedness(start).max()


def test_gains_solve_their_equation_or_vanish():
    s = np.array([0.3, 1.0, 2.5])
    for depth in (1, 2, 3, 6):
        for decay in (0.0, 1e-3, 0.05):
            p = mode_gains(s, decay, depth)
            alive = p > 0
            left = s * (s * p - 1) + decay * np.where(alive, p, 1) ** (2 / depth - 1)
            np.testing.assert_allclose(left[alive], 0, atol=1e-12)
    np.testing.assert_allclose(mode_gains(s, 0.5, 1), s / (s**2 + 0.5))
    np.testing.assert_allclose(mode_gains(s, 0.5, 2), [0, 0.5, (2.5 - 0.5) / 2.5**2])
    assert (mode_gains(s, 100.0, 3) == 0).all()


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7])
def test_gains_are_right_over_the_range_of_float64(depth):
    """In units c of the data the gain of c s, with c^(2/L) lambda, is that of s over c."""
    s = np.array([0.3, 1.0, 2.5, 40.0])
    gains = mode_gains(s, 0.2, depth)
    for exponent in (-700, -140, 140, 840):
        if abs(2 * exponent / depth) < 1000:
            scale = 2.0**exponent
            found = mode_gains(s * scale, 0.2 * scale ** (2 / depth), depth) * scale
            np.testing.assert_allclose(found, gains, rtol=1e-11)


@pytest.mark.filterwarnings("error")
def test_gains_at_the_ends_of_the_range():
    np.testing.assert_allclose(mode_gains(np.array([1e-40, 1e-200]), 1.0, 1), [1e-40, 1e-200])
    np.testing.assert_allclose(mode_gains(np.array([1e200, 1e300]), 0.1, 1), [1e-200, 1e-300])
    for depth in (2, 3, 5):
        np.testing.assert_allclose(mode_gains(np.array([1e200]), 0.1, depth), [1e-200])
        assert mode_gains(np.array([1e-200]), 0.1, depth) == 0.0
        np.testing.assert_allclose(mode_gains(np.array([1e-200]), 1e-300, 2), [1e200])
    assert mode_gains(np.array([1.0]), 5e-324, 3) == 1.0
    assert mode_gains(np.array([5e-324]), 0.0, 3) == np.inf


def test_shapes_that_do_not_match_are_named():
    two, four = np.ones((2, 3)), np.ones((4, 5))
    with pytest.raises(
        ValueError, match=r"weights\[1\]: got shape \(4, 5\), wanted \(outputs, 2\)"
    ):
        balancedness([two, four])
    with pytest.raises(TypeError, match="weights: got int, wanted a list"):
        balancedness(3)
    with pytest.raises(
        ValueError, match=r"measurements: got rows of 4 entries, wanted \(batch, 2\)"
    ):
        off_range_decay(np.ones((3, 2)), np.ones((5, 4)), 0.1, 0.1, 3)
    A, W, x, e = np.ones((2, 3)), [np.ones((3, 2))], np.ones((4, 3)), np.ones((4, 2))
    noise_split(W, A, np.eye(2), x, e)
    with pytest.raises(ValueError, match=r"projection: got shape \(5, 5\), wanted \(2, 2\)"):
        noise_split(W, A, np.ones((5, 5)), x, e)
    with pytest.raises(ValueError, match=r"noise: got shape \(7, 2\), wanted \(4, 2\)"):
        noise_split(W, A, np.eye(2), x, np.ones((7, 2)))
    with pytest.raises(ValueError, match=r"weights\[1\]: got shape \(4, 5\)"):
        noise_split([two, four], A, np.eye(2), x, e)


def test_little_decay_ends_near_the_oracle():
    problem = Problem()
    oracle = oracle_map(problem.A, problem.R)
    np.testing.assert_allclose(oracle, problem.X.T @ np.linalg.pinv(problem.Y.T), atol=1e-12)
    np.testing.assert_allclose(oracle @ problem.P, oracle, atol=1e-12)
    np.testing.assert_allclose(problem.Y @ oracle.T, problem.X, atol=1e-12)
    gaps = []
    for decay in (4e-2, 2e-2):
        run = descend(
            initialize(6, 12, 3, 24, seed=3), problem.Y, problem.X,
            steps=15_000, learning_rate=0.05, weight_decay=decay,
        )  # fmt: skip
        gaps.append(np.linalg.norm(product(run.weights) - oracle))
    assert gaps[1] < 0.6 * gaps[0] and gaps[1] < 0.1 * np.linalg.norm(oracle)


def test_errors_split_by_their_source(rng):
    problem = Problem()
    run = descend(initialize(6, 12, 2, 16), problem.Y, problem.X, steps=500, weight_decay=1e-2)
    x = rng.standard_normal((20, 2)) @ problem.R.T
    e = 0.1 * rng.standard_normal((20, 6))
    split = noise_split(run.weights, problem.A, problem.P, x, e)
    error = (x @ problem.A.T + e) @ product(run.weights).T - x
    assert (np.linalg.norm(error, axis=1) <= sum(split) * (1 + 1e-12)).all()
    alone = noise_split(run.weights, problem.A, problem.P, x, e @ problem.P)
    np.testing.assert_allclose(alone.off_range, 0, atol=1e-12)
    np.testing.assert_allclose(alone.on_range, split.on_range)


def test_the_loss_is_that_of_the_reference(dtype):
    problem = Problem()
    start = initialize(6, 12, 3, 10, seed=4, dtype=dtype)
    Y, X = problem.Y.astype(dtype), problem.X.astype(dtype)
    run = descend(start, Y, X, steps=30, learning_rate=0.05, weight_decay=0.1)
    assert all(w.dtype == dtype for w in run.weights)
    W = [w.astype(np.float64) for w in start]
    for step in range(30):
        residual = Y @ product(W).T - X
        assert run.loss[step] == pytest.approx(np.linalg.norm(residual), rel=1e-4)
        grads = []
        for k in range(3):
            above = product([*W[k + 1 :], np.eye(12)]) if k < 2 else np.eye(12)
            below = Y @ product(W[:k]).T if k else Y
            grads.append((residual @ above).T @ below)
        W = [w - 0.05 * (g + 0.1 * w) for w, g in zip(W, grads, strict=True)]
    np.testing.assert_allclose(run.weights[1], W[1], atol=1e-5 if dtype == np.float32 else 1e-12)


# Many runs in one call ----------------------------------------------------------------------------


def same_bits(many, index, alone):
    for layer, wanted in zip(many.weights, alone.weights, strict=True):
        np.testing.assert_array_equal(layer[index], wanted)
    np.testing.assert_array_equal(many.loss[index], alone.loss)
    np.testing.assert_array_equal(many.off_range[index], alone.off_range)


@pytest.mark.parametrize("depth", [1, 3])
def test_seeds_decays_and_rates_run_at_once_as_one_by_one(dtype, depth):
    problem = Problem()
    Y, X = problem.Y.astype(dtype), problem.X.astype(dtype)
    seeds, decays = np.array([3, 8, 3, 5]), np.array([0.0, 1e-2, 0.1, 1e-2])
    rates = np.array([0.01, 0.02, 0.03, 0.04])
    start = initialize(6, 12, depth, 17, seed=seeds, dtype=dtype)
    many = descend(
        start, Y, X, steps=40, learning_rate=rates, weight_decay=decays, projection=problem.P
    )
    assert many.loss.shape == many.off_range.shape == (4, 40)
    for i, seed in enumerate(seeds):
        own = initialize(6, 12, depth, 17, seed=int(seed), dtype=dtype)
        for layer, wanted in zip(start, own, strict=True):
            assert layer.dtype == dtype
            np.testing.assert_array_equal(layer[i], wanted)
        alone = descend(
            own, Y, X, steps=40, learning_rate=float(rates[i]), weight_decay=float(decays[i]),
            projection=problem.P,
        )  # fmt: skip
        same_bits(many, i, alone)
    assert not np.array_equal(many.weights[0][0], many.weights[0][2])  # decay and rate are its own
    assert initialize(6, 12, 2, 5, seed=[3, 8])[0].shape == (2, 5, 6)


def test_what_has_no_leading_axis_is_common_to_all_runs():
    problems = [Problem(seed=seed) for seed in range(3)]
    Y, X, P = (np.stack([getattr(p, name) for p in problems]) for name in "YXP")
    start = initialize(6, 12, 2, 9, seed=1)
    kept = [w.copy() for w in start]
    many = descend(start, Y, X, steps=20, weight_decay=0.1, projection=P)  # own default rates
    for i, problem in enumerate(problems):
        alone = descend(
            start, problem.Y, problem.X, steps=20, weight_decay=0.1, projection=problem.P
        )
        same_bits(many, i, alone)
    for layer, wanted in zip(start, kept, strict=True):
        np.testing.assert_array_equal(layer, wanted)
    decays = np.array([0.0, 0.5])
    swept = descend(start, problems[0].Y, problems[0].X, steps=0, weight_decay=decays)
    assert swept.loss.shape == (2, 0) and swept.weights[1].shape == (2, 12, 9)
    np.testing.assert_array_equal(swept.weights[1][1], start[1])
    one = descend(start, Y[:1], X[:1], steps=5)
    assert one.loss.shape == (1, 5)


def test_the_identity_holds_for_every_run():
    problem = Problem()
    decays = np.array([0.0, 1e-3, 1e-2, 0.3])
    start = initialize(6, 12, 3, 20, seed=np.arange(4))
    run = descend(start, problem.Y, problem.X, steps=400, learning_rate=0.02, weight_decay=decays)
    for i, decay in enumerate(decays):
        away = run.weights[0][i] - run.weights[0][i] @ problem.P
        wanted = off_range_decay(start[0][i], problem.Y, 0.02, float(decay), 400)
        assert np.abs(away - wanted).max() <= 1e-12 * np.linalg.norm(start[0][i])


def test_bad_runs_are_named():
    problem = Problem()
    Y, X = problem.Y, problem.X
    start = initialize(6, 12, 2, 8, seed=np.arange(3))
    with pytest.raises(ValueError, match=r"different lengths: weights\[0\] 3, .*weight_decay 2"):
        descend(start, Y, X, steps=1, weight_decay=np.zeros(2))
    with pytest.raises(ValueError, match=r"weights\[1\]: got shape \(12, 8\), wanted \(runs"):
        descend([start[0], start[1][0]], Y, X, steps=1)
    with pytest.raises(ValueError, match=r"weight_decay\[1\]: got -1"):
        descend(start, Y, X, steps=1, weight_decay=np.array([0.0, -1.0, 0.0]))
    with pytest.raises(ValueError, match=r"learning_rate\[2\]: got nan"):
        descend(start, Y, X, steps=1, learning_rate=np.array([0.1, 0.1, np.nan]))
    with pytest.raises(ValueError, match=r"learning_rate: got shape \(1, 3\)"):
        descend(start, Y, X, steps=1, learning_rate=np.full((1, 3), 0.1))
    with pytest.raises(ValueError, match=r"weights\[0\]: got nan at \(2, 0, 0\)"):
        bad = start[0].copy()
        bad[2, 0, 0] = np.nan
        descend([bad, start[1]], Y, X, steps=1)
    with pytest.raises(ValueError, match="signals: got 39 rows beside 40"):
        descend(start, Y, np.stack([X[1:]] * 3), steps=1)
    with pytest.raises(FloatingPointError, match=r"run 1: the loss is .*lower the learning rate"):
        descend(start, Y, X, steps=300, learning_rate=np.array([0.01, 1e3, 0.01]))
    with pytest.raises(ValueError, match=r"seed: got shape \(0,\)"):
        initialize(6, 12, 2, 8, seed=np.arange(0))
    with pytest.raises(TypeError, match=r"seed: got .*0\.5.*wanted an integer"):
        initialize(6, 12, 2, 8, seed=np.array([0.5]))


def test_bad_input_is_named():
    problem = Problem()
    start = initialize(6, 12, 2, 8)
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        descend(start, problem.Y, problem.X, steps=300, learning_rate=1e3)
    with pytest.raises(ValueError, match="signals: got 3 rows"):
        descend(start, problem.Y, problem.X[:3], steps=1)
    with pytest.raises(TypeError, match="measurements: got float32"):
        descend(start, problem.Y.astype(np.float32), problem.X, steps=1)
    with pytest.raises(ValueError, match="measurements: got nan"):
        descend(start, problem.Y * np.nan, problem.X, steps=1)
    with pytest.raises(ValueError, match="cannot be told apart"):
        oracle_map(problem.A[:1], problem.R)
    with pytest.raises(ValueError, match="projection: got shape"):
        descend(start, problem.Y, problem.X, steps=1, projection=np.eye(3))
    assert homfast.linear_nets.descend is descend
