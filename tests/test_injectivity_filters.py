"""Filters whose convolutions are injective, and how wide Gaussian layers must be."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs homfast[theory]")

from homfast.injectivity import (
    gaussian_probability_bound,
    gaussian_thresholds,
    injective_filters,
    is_injective_convolution,
)


def test_filters_of_the_paper():
    corner = np.full((4, 2, 2), -1.0)
    for k in range(4):
        corner[k, k // 2, k % 2] = 3.0
    # Their sum vanishes: 3 of them with any other one and all negatives are a basis.
    corner[3] = 1.0
    assert is_injective_convolution(np.vstack([corner, -corner]), (2, 2)).decision is True
    narrow = np.array([[1.0, 0, -1], [1, 0, 1]])
    filters = np.vstack([narrow, -narrow])
    assert is_injective_convolution(filters, (3,)).decision is None
    assert is_injective_convolution(filters, (4,)).decision is True


@pytest.mark.parametrize("size", [(3,), (2, 2), (2, 2, 2)])
def test_injective_filters(size):
    filters = injective_filters(size, seed=4)
    assert filters.shape == (2 * np.prod(size), *size)
    assert is_injective_convolution(filters, size).decision is True
    few = is_injective_convolution(filters[:-1], size)
    assert few.decision is None
    with pytest.raises(ValueError, match="box: got"):
        is_injective_convolution(filters, tuple(s - 1 for s in size[:-1]) + (size[-1],) * 2)


def test_thresholds():
    found = gaussian_thresholds()
    assert found.never == pytest.approx(3.4028, abs=1e-4)
    assert found.always == pytest.approx(10.424, abs=1e-3)
    assert found.never < found.conjectured < found.better < found.always
    assert gaussian_probability_bound(7, 4) == 0
    assert 0.5 < gaussian_probability_bound(60, 3) < 1
    # One dimension: injective unless all m signs agree.
    assert gaussian_probability_bound(5, 1) == pytest.approx(1 - 2 * 0.5**5)
    for n in (600, 2000):  # where binomials leave the range
        assert gaussian_probability_bound(2 * n, n) == 0.0
    assert 1 - 1e-15 < gaussian_probability_bound(240_000, 20_000) < 1
    assert gaussian_probability_bound(240_000, 23_500) == 0.0
    with pytest.raises(ValueError, match=r"m: got .*, wanted an integer from 1"):
        gaussian_probability_bound(10**400, 2)


@pytest.mark.parametrize("m", [10, 60, 500, 1000])
def test_the_bound_by_logarithms_is_below_the_exact_one(m, monkeypatch):
    sizes = [n for n in range(1, m // 2) if gaussian_probability_bound(m, n) > 0]
    exact = [gaussian_probability_bound(m, n) for n in sizes]
    monkeypatch.setattr("homfast.injectivity.thresholds._IN_INTEGERS", 0)
    rounded = [gaussian_probability_bound(m, n) for n in sizes]
    assert (np.array(rounded) <= exact).all()
    np.testing.assert_allclose(rounded, exact, atol=1e-6)
