"""Injectivity of ReLU layers: decided as enumeration decides it, every "no" with a witness."""

import itertools

import numpy as np
import pytest

import homfast

pytest.importorskip("scipy", reason="needs homfast[theory]")

from cells import check_decision, check_witness

from homfast.injectivity import (
    Injectivity,
    injective_filters,
    is_injective,
    is_injective_convolution,
    minimal_weight,
)
from homfast.injectivity.flats import FlatSearch
from homfast.injectivity.rows import Pairs, always_active


def layer(seed, largest):
    """A random or structured layer."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7 if largest > 16 else 5))
    m = int(rng.integers(n, min(largest, 4 * n + 3) + 1))
    kind = seed % 8
    bias = None
    if kind == 0:
        weight = rng.standard_normal((m, n))
    elif kind == 1:  # many coincidences
        weight = rng.integers(-1, 2, (m, n)).astype(float)
    elif kind == 2:  # [B; -D B; M] with rows in any order, one pair perhaps spoilt
        B = rng.standard_normal((n, n))
        scale = rng.uniform(0.5, 2, (n, 1))
        weight = np.vstack([B, -scale * B, rng.standard_normal((max(m - 2 * n, 0), n))])
        weight[rng.integers(len(weight))] *= rng.choice([1.0, -1.0])
        weight = rng.permutation(weight)
    elif kind == 3:  # parallel and repeated rows
        B = rng.standard_normal((n, n))
        weight = B[rng.integers(0, n, m)] * rng.choice([-2.0, -1.0, 1.0], (m, 1))
    elif kind == 4:
        weight, bias = rng.standard_normal((m, n)), rng.standard_normal(m)
    elif kind == 5:
        weight = rng.integers(-1, 2, (m, n)).astype(float)
        bias = rng.integers(-1, 2, m).astype(float)
    elif kind == 6:  # pairs with biases that open a gap or do not
        B, c = rng.standard_normal((n, n)), rng.standard_normal(n)
        weight = np.vstack([B, -B])
        bias = np.concatenate([c, -c + rng.choice([0.0, 0.5, -0.5], n, p=[0.8, 0.1, 0.1])])
    else:  # spread over the sphere without a pair: yes or no only by the search
        n, half = int(rng.integers(2, 5 if largest > 16 else 3)), largest // 2
        B = rng.standard_normal((half, n))
        weight = np.vstack([B, -B + rng.choice([0.3, 1.5]) * rng.standard_normal((half, n))])
        if seed % 16 > 8:
            bias = 0.3 * rng.standard_normal(2 * half) + 0.2
    if not weight.any():
        weight[0, 0] = 1.0
    return weight, bias


@pytest.mark.parametrize("block", range(4))
def test_small_layers_are_decided_as_by_enumeration(block):
    for seed in range(7 * block, 7 * block + 7):
        check_decision(*layer(seed, 9))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_layers_are_decided_as_by_enumeration(block):
    for seed in range(1000 + 25 * block, 1000 + 25 * block + 25):
        check_decision(*layer(seed, 24))


def test_the_search_decides_the_same_without_the_quick_falsifiers(monkeypatch):
    layers = [layer(seed, 24) for seed in range(2000, 2120)]
    quick = [is_injective(*each) for each in layers]
    monkeypatch.setattr("homfast.injectivity.decision.falsify", lambda *_: None)
    searched = [is_injective(*each) for each in layers]
    assert sum(found.nodes > 0 for found in searched) > 60
    for each, one, other in zip(layers, quick, searched, strict=True):
        assert one.decision is other.decision is not None
        if not other:
            check_witness(*each, other.witness)


def check_gaussian(n, m, seed):
    weight = np.random.default_rng(seed).standard_normal((m, n))
    found = is_injective(weight)
    assert found.decision is not None
    if not found.decision:
        check_witness(weight, None, found.witness)
    stacked = np.vstack([weight[:n], -np.exp(weight[n : 2 * n, :1]) * weight[:n], weight[2 * n :]])
    assert is_injective(stacked).decision is True
    return found


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_forty_rows_in_eight_dimensions_are_decided(seed):
    check_gaussian(8, 40, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_forty_rows_in_eight_dimensions_are_always_decided(seed):
    check_gaussian(8, 40, seed)


# Statements of the paper --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_minimal_weights_are_injective_and_none_is_smaller(n):
    weight = minimal_weight(n, 3)
    assert weight.shape == (2 * n, n) and is_injective(weight)
    ratios = -weight[n:] / weight[:n]
    assert set(np.unique(ratios)) <= {0.5, 1.0, 2.0}
    found = is_injective(weight[:-1])
    assert found.decision is False
    check_witness(weight[:-1], None, found.witness)
    more = np.vstack([weight, np.random.default_rng(0).standard_normal((n, n))])
    assert is_injective(more)


@pytest.mark.parametrize("n", range(1, 7))
def test_fewer_than_two_rows_a_dimension_are_never_injective(n):
    rng = np.random.default_rng(n)
    for m in range(1, 2 * n):
        for weight in (
            rng.standard_normal((m, n)),
            minimal_weight(n, m)[rng.permutation(2 * n)[:m]],
        ):
            for bias in (None, np.zeros(m), rng.standard_normal(m), np.full(m, 5.0)):
                found = is_injective(weight, bias)
                assert found.decision is False
                check_witness(weight, bias, found.witness)


@pytest.mark.parametrize("n", [1, 3])
def test_a_bias_may_help_where_lemma_3_says_it_cannot(n):
    """relu(x + c), relu(-x - c) tells every x, though the rows with b >= 0 alone do not."""
    weight = np.vstack([np.eye(n), -np.eye(n)])
    c = np.linspace(1, 2, n)
    assert is_injective(weight, np.concatenate([c, -c])).decision is True
    assert is_injective(weight[:n]).decision is False
    assert is_injective(weight, np.concatenate([c, 1 - c])).decision is True
    found = is_injective(weight, np.concatenate([c, -c - 0.1]))
    assert found.decision is False
    check_witness(weight, np.concatenate([c, -c - 0.1]), found.witness)


def test_a_bias_decides_without_pairs(rng):
    weight = np.array([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]])
    weight = np.vstack([weight, weight, weight])
    assert is_injective(weight).decision is False
    six = np.vstack([weight[:3], -weight[:3]])
    assert is_injective(six, np.full(6, 1.0)).decision is True
    assert is_injective(six, np.full(6, -1.0)).decision is False


def test_gaussian_layers_fail_at_little_expansion():
    weight = np.random.default_rng(1).standard_normal((420, 200))
    found = is_injective(weight)
    assert found.decision is False
    check_witness(weight, None, found.witness)
    x0 = -(weight / np.linalg.norm(weight, axis=1, keepdims=True)).sum(axis=0)
    assert (weight @ x0 >= 0).sum() < 200


def test_rank_deficient_weights_are_not_injective(rng):
    weight = np.vstack([minimal_weight(3, 1), np.zeros((4, 3))])
    weight = np.column_stack([weight, weight[:, 0] + weight[:, 1]])
    found = is_injective(weight)
    assert found.decision is False
    check_witness(weight, None, found.witness)
    assert is_injective(np.zeros((3, 2))).decision is False


def test_tolerance_counts_near_pairs_as_pairs(rng):
    weight = minimal_weight(4, 0)
    near = weight + 1e-12 * rng.standard_normal(weight.shape)
    assert is_injective(near).decision is True
    found = is_injective(near, tolerance=0.0)
    assert found.decision in (False, None)
    far = weight + 1e-4 * rng.standard_normal(weight.shape)
    found = is_injective(far)
    assert found.decision is False
    check_witness(far, None, found.witness)


def nearly_antiparallel(distance):
    """Six rows in three dimensions, not [B; -D B]: never injective (Corollary 6 of the paper)."""
    draw = np.random.default_rng(5).standard_normal
    B, off = draw((3, 3)), draw((3, 3))
    return np.vstack([B, -B + distance * off])


@pytest.mark.parametrize("distance", [1e-7, 3e-9, 5e-10, 1e-10])
@pytest.mark.parametrize("tolerance", [0.0, 1e-14, 1e-12])
def test_a_tolerance_below_rounding_gives_no_wrong_yes(distance, tolerance):
    """Flats of nearly antiparallel rows are known to rounding over their angle only."""
    weight = nearly_antiparallel(distance)
    found = is_injective(weight, tolerance=tolerance)
    assert found.decision is not True
    if found.decision is False:
        check_witness(weight, None, found.witness)
    assert is_injective(minimal_weight(3, 1), tolerance=tolerance).decision is True


@pytest.mark.parametrize("seed", range(6))
def test_a_flat_of_nearly_parallel_rows_is_known_to_rounding_over_their_angle(seed):
    """Rows of a plane stay in it, however near the two that span it: a yes counts dimensions."""
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    plane = np.vstack([[1.0, 0.0], [1.0, 3e-9], rng.standard_normal((5, 2))]) @ frame[:2]
    units = np.vstack([plane / np.linalg.norm(plane, axis=1, keepdims=True), frame[2:]])
    nothing = Pairs(np.zeros(0, np.intp), np.zeros(0))
    search = FlatSearch(units, np.zeros(len(units)), 1e-12, nothing)
    flat = search._children(search._start, np.array([0]))[0]
    assert flat.inside.tolist() == [True] + 7 * [False]
    flat = search._children(flat, np.array([1]))[0]
    assert flat.inside.tolist() == 7 * [True] + [False]


@pytest.mark.parametrize("distance", [5e-10, 1e-10, 1e-12])
def test_the_margin_counts_what_a_yes_takes_as_antiparallel(distance):
    weight = nearly_antiparallel(distance)
    found = is_injective(weight)
    assert found.decision is True and distance / 10 < found.margin <= 1e-9
    with_exact = np.vstack([weight, -weight[:3]])  # then nothing near is needed
    assert is_injective(with_exact).margin == 0.0
    assert is_injective(minimal_weight(3, 1)).margin == 0.0
    gap = np.array([1e9, 1e9, -1e9 - 1, -1e9 - 1])
    found = is_injective(np.vstack([np.eye(2), -np.eye(2)]), gap)
    assert found.decision is True and found.margin == pytest.approx(1e-9)


@pytest.mark.parametrize("size", [1e-3, 1e-9, 1e-12, 1e-100, 1e-290])
def test_units_of_the_signal_do_not_matter(size):
    B = np.random.default_rng(1).standard_normal((3, 3))
    scale = np.array([1.0, 1.0, size])
    assert is_injective(np.vstack([B, -B]) * scale).decision is True
    weight = np.vstack([B, -B])[:5] * scale
    found = is_injective(weight)
    assert found.decision is False
    check_witness(weight / scale, None, [x * scale for x in found.witness])
    tiny = is_injective(np.vstack([B, -B])[:5] * [1.0, 1.0, 1e-307])
    assert tiny.decision is None or (np.isfinite(tiny.witness).all() and not tiny.decision)


@pytest.mark.parametrize("size", [1e-6, 1e-9, 1e-12])
def test_a_witness_is_verified_to_the_rounding_of_its_evaluation(size):
    """Injective, though one direction hardly moves the values: never a no with unequal values."""
    rng = np.random.default_rng(1)
    B, turn = rng.standard_normal((3, 3)), np.linalg.qr(rng.standard_normal((3, 3)))[0]
    weight = np.vstack([B, -B]) @ turn @ np.diag([1, 1, size]) @ turn.T
    assert is_injective(weight).decision is not False


def test_a_line_is_decided_by_its_kinks(rng):
    weight = rng.standard_normal((100_000, 1))
    assert is_injective(weight).decision is True and is_injective(weight).nodes == 0
    for bias in (None, rng.standard_normal(len(weight))):
        found = is_injective(np.abs(weight), bias)
        assert found.decision is False
        check_witness(np.abs(weight), bias, found.witness)
    pair = np.array([[1.0], [-3.0]])
    for c in (1.0, 1e9, -1e12):
        assert is_injective(pair, np.array([c, -3 * c])).decision is True
        assert is_injective(pair, np.array([c, 3 * (1 - c)])).decision is True
        found = is_injective(pair, np.array([c, -3 * (c + 1)]))
        assert found.decision is False  # all of [-c - 1, -c] goes to zero
        x0, x1 = found.witness
        assert -c - 1 < x0 < x1 < -c


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_rows_that_are_repeated_count_once(factor):
    """What took a time quadratic in the repetitions, and came to no end."""
    three = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    many = np.vstack([np.repeat(three, 4000, axis=0), factor * np.repeat(three, 4000, axis=0)])
    found = is_injective(many)
    assert found.decision is False and found.margin == is_injective(three).margin
    check_witness(many, None, found.witness)
    four = np.vstack([many, [[0.0, -0.1]]])
    assert is_injective(four) == (True, None, 0.0, 0)
    shifts = np.tile([1.0, 2.0], len(four))[: len(four)]
    found = is_injective(four, -shifts)
    assert found.decision is False
    check_witness(four, -shifts, found.witness)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_repeated_rows_change_no_answer(rng, n):
    for _ in range(10):
        weight, bias = rng.standard_normal((5 * n, n)), 0.3 * rng.standard_normal(5 * n)
        scale = rng.uniform(0.1, 9.0, 15 * n)
        many = np.tile(weight, (3, 1)) * scale[:, None]
        assert is_injective(many).decision == is_injective(weight).decision
        found = is_injective(many, np.tile(bias, 3) * scale)
        assert found.decision == is_injective(weight, bias).decision


@pytest.mark.parametrize("tolerance", [1e-12, 1e-9, 1e-3, 0.09])
def test_antiparallel_pairs_are_those_of_all_pairs(rng, tolerance):
    units = rng.standard_normal((60, 3))
    turned = -units * rng.uniform(0.5, 2, (60, 1)) + rng.choice([0, 1e-10, 1e-2], (60, 1)) * (
        rng.standard_normal((60, 3))
    )
    units = rng.permutation(np.vstack([units, turned, turned[:20]]))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    shifts = rng.choice([0.0, 1.0, -1.0], len(units))
    found = always_active(units, shifts, tolerance)
    expected = {}
    for i, j in itertools.combinations(range(len(units)), 2):
        gap = max(0.0, -(shifts[i] + shifts[j])) / max(abs(shifts[i]), abs(shifts[j]), 1e-300)
        slip = max(np.linalg.norm(units[i] + units[j]), gap)
        if slip <= tolerance:
            expected[i] = min(slip, expected.get(i, np.inf))
    assert dict(zip(found.rows.tolist(), found.slips.tolist(), strict=True)) == expected
    assert (np.diff(found.slips) >= 0).all() and len(expected) > 5


@pytest.mark.parametrize("seed", range(4))
def test_the_first_flat_is_that_of_its_rows_one_by_one(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((5, 7))
    weight = np.vstack([B, -B, -B[:1], B[:2] + B[1:3], rng.standard_normal((6, 7))])
    units = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    start = always_active(units, np.zeros(len(units)), 1e-9)
    once = FlatSearch(units, np.zeros(len(units)), 1e-9, start)
    monkeypatch.setattr("homfast.injectivity.flats._CLEARLY", 10.0)
    slowly = FlatSearch(units, np.zeros(len(units)), 1e-9, start)
    np.testing.assert_array_equal(once._start.inside, slowly._start.inside)
    np.testing.assert_allclose(np.abs(once._start.basis), np.abs(slowly._start.basis), atol=1e-12)
    np.testing.assert_allclose(once._start.apart, slowly._start.apart, atol=1e-12)
    assert once.margin == pytest.approx(slowly.margin)
    assert once.margin_of_yes == pytest.approx(slowly.margin_of_yes)


def test_large_pairs_span_at_once():
    assert is_injective(minimal_weight(200)) == (True, None, 0.0, 0)
    found = is_injective_convolution(np.array([[1.0], [-1.0]]), (300,))
    assert found == (True, None, 0.0, 0)


def test_undecided_is_said():
    weight = np.random.default_rng(5).standard_normal((40, 8))
    found = is_injective(weight, node_limit=50)
    assert found.decision is None and found.nodes == 50 and found.witness is None
    with pytest.raises(ValueError, match="undecided after 50 nodes"):
        bool(found)
    large = np.random.default_rng(0).standard_normal((1000, 60))
    assert is_injective(large).decision is None
    assert bool(Injectivity(True, None, 1.0, 3))


def far_from_optimal(matrix, target, maxiter):
    return np.full(matrix.shape[1], 1.0 / matrix.shape[1]), 0.0


def without_end(matrix, target, maxiter):
    raise RuntimeError("Maximum number of iterations reached.")


@pytest.mark.parametrize("solver", [far_from_optimal, without_end])
def test_what_rounding_leaves_open_is_undecided(monkeypatch, solver):
    """Where neither a half-space nor the proof that there is none is met: never a wrong yes."""
    from homfast.injectivity import separation, stability_bounds

    weight = np.random.default_rng(7).standard_normal((24, 3))
    exact = stability_bounds(weight)
    assert is_injective(weight).decision is True and exact.exact
    optimize = type("optimize", (), {"nnls": staticmethod(solver)})
    monkeypatch.setattr(separation, "scipy_module", lambda *_: optimize)
    assert is_injective(weight).decision is None
    found = stability_bounds(weight)
    assert found.lower <= exact.lower and not found.exact


def test_float32_weights_are_taken():
    assert is_injective(minimal_weight(4, 2, dtype=np.float32))
    assert minimal_weight(4, 2, dtype=np.float32).dtype == np.float32


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "options", "error", "words"),
    [
        (np.ones(3), {}, ValueError, "weight.*two axes"),
        (np.ones((2, 2), int), {}, TypeError, "weight.*int64"),
        (np.array([[1.0], [np.nan]]), {}, ValueError, r"weight: got nan at \(1, 0\)"),
        (np.eye(2), {"bias": np.ones(3)}, ValueError, r"bias: got shape \(3,\)"),
        (np.eye(2), {"bias": np.ones(2, np.float32)}, TypeError, "bias: got float32"),
        (np.eye(2), {"bias": np.array([1, np.inf])}, ValueError, "bias: got inf"),
        (np.eye(2), {"tolerance": 0.5}, ValueError, "tolerance"),
        (np.eye(2), {"node_limit": -1}, ValueError, "node_limit"),
    ],
)
def test_bad_layers_are_named(weight, options, error, words):
    with pytest.raises(error, match=words):
        is_injective(weight, **options)


def test_sizes_that_do_not_fit_and_filters_of_no_axes_are_named():
    with pytest.raises(MemoryError, match="n: a random basis of 100000 dimensions"):
        minimal_weight(100_000)
    with pytest.raises(MemoryError, match="width: projections to 200001 dimensions"):
        homfast.injectivity.injective_network(100_000, 1)
    with pytest.raises(MemoryError, match="size: 200000 filters of 100000 entries"):
        injective_filters((1000, 100))
    for call in (injective_filters, lambda box: is_injective_convolution(np.ones((2, 3)), box)):
        with pytest.raises(ValueError, match="got no axes, wanted one integer an axis"):
            call(())
    with pytest.raises(ValueError, match=r"box: .* placements of 2 filters.*choose a smaller box"):
        is_injective_convolution(np.ones((2, 1, 1)), (10**7, 10**7))
    with pytest.raises(MemoryError, match=r"box: 2000 placements .*choose a smaller box"):
        is_injective_convolution(np.ones((2, 10**6 - 999)), (10**6,))


def test_scipy_is_named_where_it_is_absent(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r"homfast\[theory\]"):
        is_injective(np.random.default_rng(5).standard_normal((40, 8)))
    assert is_injective(np.vstack([np.eye(2), -np.eye(2)]))  # without it


def test_the_submodule_is_an_attribute():
    assert homfast.injectivity.is_injective is is_injective
