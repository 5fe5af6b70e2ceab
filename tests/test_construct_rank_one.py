"""Decoders of rank-one matrices: linear where A determines their span, else fitted, measured."""

import numpy as np
import pytest

from homfast.construct import low_rank_decoder, phase_retrieval_decoder, rank_one


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


def unseen(kernel):
    """Orthonormal measurements of all but the given matrices."""
    rows = np.reshape(kernel, (len(kernel), -1))
    return np.linalg.svd(rows)[2][len(rows) :]


def test_maps_that_take_two_matrices_of_rank_one_to_one_are_refused(rng):
    """Any 2 x 2 kernel has rank two at most, so that no network whatever decodes."""
    A = np.random.default_rng(0).standard_normal((3, 4))
    with pytest.raises(ValueError, match=r"A: sees 3 of the 4 dimensions.*difference of two"):
        low_rank_decoder(A, (2, 2))
    with pytest.raises(ValueError, match="A: sees 5 of the 12 dimensions"):
        low_rank_decoder(rng.standard_normal((5, 12)), (6, 2))
    left, right = np.linalg.qr(rng.standard_normal((2, 3, 3)))[0]
    with pytest.raises(ValueError, match="A: sees 8 of the 9 dimensions"):
        low_rank_decoder(unseen([left @ np.diag([2.0, 1.0, 0.0]) @ right]), (3, 3))
    with pytest.raises(ValueError, match=r"but 16 features leave .*raise max_features"):
        low_rank_decoder(unseen([left @ np.diag([2.0, 1.0, 1.0]) @ right]), (3, 3), max_features=16)
    for A in (np.zeros((3, 4)), rng.standard_normal((3, 4)) * [1, 1, 0, 1]):
        with pytest.raises(ValueError, match=r"A: column . is zero"):
            low_rank_decoder(A, (2, 2))


def test_squares_that_two_signals_share_are_refused(rng):
    with pytest.raises(ValueError, match="A: sees 2 of the 3 dimensions"):
        phase_retrieval_decoder(rng.standard_normal((2, 2)))
    with pytest.raises(ValueError, match="A: column 0 is zero"):
        phase_retrieval_decoder(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="A: got rank 2 for 3 columns"):
        phase_retrieval_decoder(rng.standard_normal((6, 2)) @ rng.standard_normal((2, 3)))
    x, y = rng.standard_normal((2, 3))
    apart = np.stack([x - y, x + y])  # <a, x>^2 = <a, y>^2 for a orthogonal to either
    other = np.linalg.svd(apart[:1])[2][1:], np.linalg.svd(apart[1:])[2][1:]
    A = np.vstack([rng.standard_normal((3, 2)) @ other[0], rng.standard_normal((2, 2)) @ other[1]])
    np.testing.assert_allclose((A @ x) ** 2, (A @ y) ** 2, atol=1e-12)
    with pytest.raises(ValueError, match="A: sees 5 of the 6 dimensions"):
        phase_retrieval_decoder(A)


def test_an_error_that_does_not_fall_ends_the_search(monkeypatch):
    """Two unseen 3 x 3 matrices: some combination is singular, a difference of two of rank one."""
    monkeypatch.setattr(rank_one, "_ENOUGH", 128)  # in a second
    A = np.random.default_rng(0).standard_normal((7, 9))
    with pytest.raises(ValueError, match=r"but 128 features .*not below .* of 64.*9 times"):
        low_rank_decoder(A, (3, 3), max_features=1 << 20)


def outer(x):
    return np.einsum("bi,bj->bij", x, x).reshape(len(x), -1)


@pytest.mark.parametrize("scale", [1.0, 0.1, 1e-2])
def test_the_certificate_is_of_the_network_returned(rng, scale):
    """In float32 rounding errs by 1 / scale^2 more than the fit in float64."""
    A = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    A[:, 2] *= np.float32(scale)
    net = phase_retrieval_decoder(A, relative_error=0.5)
    assert net.dtype == np.float32 and net.certificate.method == "linear"
    X = outer(rng.standard_normal((4000, 3)))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    lifted = np.einsum("mi,mj->mij", A.astype(float), A.astype(float)).reshape(7, 9)
    error = np.linalg.norm(net((X @ lifted.T).astype(np.float32)) - X, axis=1).max()
    assert 0.5 * error <= net.certificate.relative_error <= 0.5


def test_rounding_that_exceeds_the_error_asked_for_is_refused():
    A = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    A[:, 2] *= np.float32(1e-3)
    with pytest.raises(ValueError, match=r"got 0.001, but rounding in float32.*dtype float64"):
        phase_retrieval_decoder(A, relative_error=1e-3)
    assert phase_retrieval_decoder(A.astype(np.float64), relative_error=1e-3)
    left, _, right = np.linalg.svd(np.random.default_rng(1).standard_normal((9, 9)))
    A = left * np.geomspace(1, 1e-12, 9) @ right
    with pytest.raises(ValueError, match=r"got 1e-08, but rounding in float64.*err by 0.000"):
        low_rank_decoder(A, (3, 3), relative_error=1e-8)
    assert low_rank_decoder(A, (3, 3), relative_error=1e-2).certificate.relative_error > 1e-8


def test_fits_are_measured_in_the_dtype_of_the_network(monkeypatch):
    A = np.random.default_rng(1).standard_normal((5, 3))
    double = phase_retrieval_decoder(A, relative_error=0.5, max_features=256)
    single = phase_retrieval_decoder(A.astype(np.float32), relative_error=0.5, max_features=256)
    assert single.dtype == np.float32 and single.certificate.method == "random features"
    assert single.certificate.relative_error != double.certificate.relative_error
    least = double.certificate.relative_error
    monkeypatch.setattr(
        rank_one, "_measured", lambda net, *_: least if net.dtype == np.float64 else 0.6
    )
    with pytest.raises(ValueError, match=r"rounding in float32 makes a fit of .* err by 0.6"):
        phase_retrieval_decoder(A.astype(np.float32), relative_error=0.5, max_features=256)


def test_measurements_beyond_the_range_of_the_dtype_are_named(rng):
    A = (1e25 * rng.standard_normal((7, 3))).astype(np.float32)
    with pytest.raises(
        ValueError, match=r"A: asks for a measurement of .*beyond .* of float32; wanted float64"
    ):
        phase_retrieval_decoder(A)
