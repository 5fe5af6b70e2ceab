"""Decoders of rank-one matrices: linear where A determines their span, else fitted, measured."""

import numpy as np
import pytest

from homfast.construct import low_rank_decoder, phase_retrieval_decoder


def test_phaseless_measurements_below_the_span_meet_the_error(rng):
    A = np.random.default_rng(1).standard_normal((5, 3))
    net = phase_retrieval_decoder(A, relative_error=0.3, max_features=512)
    assert len(net.weights) == 3 and net.certificate.method == "random features"
    assert net.certificate.relative_error <= 0.3 and net.certificate.points >= 10_000
    x = rng.standard_normal((3000, 3)) * 10.0 ** rng.integers(-2, 3, (3000, 1))
    outer = np.einsum("bi,bj->bij", x, x).reshape(-1, 9)
    error = np.linalg.norm(net((x @ A.T) ** 2) - outer, axis=1) / np.linalg.norm(outer, axis=1)
    assert error.max() <= 0.35
    linear = np.linalg.lstsq((x @ A.T) ** 2, outer, rcond=None)[0]
    assert (
        error.max()
        < 0.7
        * (
            np.linalg.norm((x @ A.T) ** 2 @ linear - outer, axis=1) / np.linalg.norm(outer, axis=1)
        ).max()
    )


@pytest.mark.parametrize("d", [1, 2, 4])
def test_enough_phaseless_measurements_are_linear(rng, d, dtype):
    A = rng.standard_normal((d * (d + 1) // 2, d)).astype(dtype)
    net = phase_retrieval_decoder(A)
    assert net.certificate.method == "linear" and net.dtype == dtype
    x = rng.standard_normal((50, d)).astype(dtype)
    outer = np.einsum("bi,bj->bij", x, x).reshape(50, -1)
    np.testing.assert_allclose(
        net((x @ A.T) ** 2), outer, atol=1e-2 if dtype == np.float32 else 1e-9
    )


def test_low_rank(rng):
    A = rng.standard_normal((6, 6))
    net = low_rank_decoder(A, (2, 3))
    X = np.einsum("bi,bj->bij", rng.standard_normal((20, 2)), rng.standard_normal((20, 3)))
    rows = X.reshape(20, 6)
    np.testing.assert_allclose(net(rows @ A.T), rows, atol=1e-9)
    with pytest.raises(ValueError, match=r"but 32 features leave .*measure 9 times"):
        low_rank_decoder(eight_measurements(rng), (3, 3), relative_error=0.1, max_features=32)


def eight_measurements(rng):
    """Eight measurements, which determine 3 x 3 matrices of rank one, not their span."""
    return rng.standard_normal((8, 9))


def test_what_is_not_met_is_said(rng):
    with pytest.raises(ValueError, match=r"but 8 features leave .*measure 6 times"):
        phase_retrieval_decoder(rng.standard_normal((5, 3)), relative_error=0.01, max_features=8)
    with pytest.raises(ValueError, match=r"wanted \(m, 6\)"):
        low_rank_decoder(rng.standard_normal((4, 5)), (2, 3))
