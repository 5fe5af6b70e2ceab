"""Layers whose biases are of many sizes: cells far apart, decided as in exact arithmetic."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs homfast[theory]")

from cells import check_witness

from homfast.injectivity import is_injective

FOUR = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])


@pytest.mark.parametrize("far", [1.0, 1e6, 1e9, 1e12, 1e15, 1e100])
def test_a_far_bias_does_not_hide_a_cell_between_near_ones(far):
    """(0, 0) and (0.5, 0) have one image, however far the border of the other rows is."""
    with_a_fifth = np.vstack([FOUR, [[1.0, 1.0]]])
    for weight, bias in (
        (FOUR, [-1.0, -1.0, far, -far]),
        (FOUR, [-1e-3, -1e-3, far, -far]),
        (with_a_fifth, [-1.0, -1.0, 0.0, 0.0, -far]),
    ):
        found = is_injective(weight, np.array(bias))
        assert found.decision is False and found.margin > 0.1
        x0, x1 = found.witness
        values = [np.maximum(weight @ x + bias, 0) for x in (x0, x1)]
        np.testing.assert_array_equal(values[0], values[1])
        assert np.abs(x0 - x1).max() > 1e-6 * np.abs(bias).min()
        overlapping = np.array([1.0, -1.0, *bias[2:]])
        assert is_injective(weight, overlapping).decision is True


def test_a_cell_is_looked_for_at_the_scale_of_its_own_biases():
    """A slab of 1 beside 2e6, in units of 1e9 thinner than the tolerance."""
    half = np.array([[1.0, 2.0], [1.0, 1.0]])
    weight = np.vstack([half, -half])
    bias = np.array([1999999.0, 1e9, -2e6, -1e9])
    found = is_injective(weight, bias)
    assert found.decision is False
    check_witness(weight, bias, found.witness)


def injective_in_the_plane(weight, bias):
    """Exactly, for integers: every cell has a vertex, and the cells around each are looked at."""

    def cross(p, q):
        return p[0] * q[1] - p[1] * q[0]

    rows = [(int(a), int(b)) for a, b in weight]
    shifts = [Fraction(int(b)) for b in bias]
    if not any(cross(p, q) for p in rows for q in rows):
        return False
    for i, j in itertools.combinations(range(len(rows)), 2):
        (p, q), area = (rows[i], rows[j]), cross(rows[i], rows[j])
        if area == 0:
            continue
        x = (-shifts[i] * q[1] + shifts[j] * p[1]) / area
        y = (-p[0] * shifts[j] + q[0] * shifts[i]) / area
        values = [r[0] * x + r[1] * y + b for r, b in zip(rows, shifts, strict=True)]
        through = {
            (r[0] // math.gcd(*r), r[1] // math.gcd(*r))
            for r, v in zip(rows, values, strict=True)
            if v == 0
        }
        rays = {(-s * r[1], s * r[0]) for r in through for s in (1, -1)}
        rays = sorted(rays, key=lambda ray: math.atan2(ray[1], ray[0]))
        for ray, following in zip(rays, rays[1:] + rays[:1], strict=True):
            between = (ray[0] + following[0], ray[1] + following[1])
            active = [
                r
                for r, v in zip(rows, values, strict=True)
                if v > 0 or (v == 0 and r[0] * between[0] + r[1] * between[1] > 0)
            ]
            if not any(cross(p, q) for p in active for q in active):
                return False
    return True


@pytest.mark.parametrize("block", range(4))
def test_biases_of_many_sizes_are_decided_as_in_exact_arithmetic(block):
    rng = np.random.default_rng(block)
    counts = {True: 0, False: 0, None: 0}
    for _ in range(60):
        weight = rng.integers(-2, 3, (int(rng.integers(4, 10)), 2))
        paired = rng.integers(0, 2)
        if paired:
            weight = np.vstack([weight[:3], -weight[:3], weight[3:]])
        weight = weight[weight.any(axis=1)]
        bias = rng.integers(-3, 4, len(weight)) * 10 ** rng.choice([0, 3, 6, 9, 12], len(weight))
        exact = injective_in_the_plane(weight, bias)
        found = is_injective(weight.astype(float), bias.astype(float))
        counts[found.decision] += 1
        if found.decision and not exact:  # a cell thinner than the tolerance, which the margin says
            assert 0 < found.margin <= 1e-9
        else:
            assert found.decision in (exact, None)
    assert min(counts[True], counts[False]) > 5 and counts[None] < 3
