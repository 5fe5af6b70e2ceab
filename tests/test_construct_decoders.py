"""Sparse decoders: exact on one-sparse signals, certified on two-sparse, bounded for ISTA."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import homfast
from homfast.construct import (
    CertifiedNetwork,
    homogeneous_ista,
    one_sparse_decoder,
    two_sparse_decoder,
)

pytest.importorskip("scipy", reason="needs homfast[theory]")


def gaussian(m, n, seed):
    return np.random.default_rng(seed).standard_normal((m, n))


# One-sparse ---------------------------------------------------------------------------------------


def worst_one_sparse(net, A):
    n, dtype = A.shape[1], net.dtype
    errors = []
    for t in (1.0, -1.0, 3.7e5, -2.9e-6):
        output = net((t * A.T).astype(dtype))
        errors.append(np.abs(output.astype(np.float64) / t - np.eye(n)).max())
    return max(errors)


def check_one_sparse(m, n, seed):
    A = gaussian(m, n, seed)
    net = one_sparse_decoder(A)
    assert len(net.weights) == 3 and net.widths[2] == 2 * n
    assert worst_one_sparse(net, A) <= 1e-9
    assert worst_one_sparse(net.to(np.float32(0)), A) <= 1e-3


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("m", "n"), [(12, 40), (20, 200)])
def test_one_sparse_signals_come_back(m, n, seed):
    check_one_sparse(m, n, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_one_sparse_signals_come_back_among_two_thousand(seed):
    check_one_sparse(40, 2000, seed)


@pytest.mark.parametrize(("m", "n"), [(2, 30), (3, 200)])
def test_columns_at_small_angles_get_more_probes(m, n):
    A = gaussian(m, n, 1)
    net = one_sparse_decoder(A)
    assert net.certificate.probes > m
    assert worst_one_sparse(net, A) <= 1e-9


def test_nearly_parallel_columns(rng):
    A = rng.standard_normal((5, 8))
    A[:, 3] = -2.0 * A[:, 6] + 1e-5 * rng.standard_normal(5)
    assert worst_one_sparse(one_sparse_decoder(A), A) <= 1e-9


def nearly_parallel(distance, dtype):
    rng = np.random.default_rng(3)
    A = rng.standard_normal((5, 8))
    A[:, 3] = -2.0 * A[:, 6] + distance * rng.standard_normal(5)
    return A.astype(dtype)


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 3e-6, 1e-6, 1e-7])
def test_one_sparse_rounding_is_as_documented(distance, dtype):
    A = nearly_parallel(distance, dtype)
    if dtype == np.float32 and distance <= 1e-7:
        with pytest.raises(ValueError, match=r"columns 3 and 6 are so near .*float32.*float64"):
            one_sparse_decoder(A)
        return
    net = one_sparse_decoder(A)
    error = 0.0
    for t in (1.0, 0.3, 0.7, -1.1, 1 / 3):
        found = net((t * A.T.astype(np.float64)).astype(dtype)) / t
        error = max(error, np.abs(found - np.eye(8)).max())
    assert error <= 8 * np.finfo(dtype).eps / 2 / net.certificate.margin


@pytest.mark.parametrize("span", [1, 4])
def test_one_sparse_rounding_goes_by_the_norms_of_the_columns(span, dtype, rng):
    A = (rng.standard_normal((12, 40)) * 10.0 ** rng.uniform(-span, span, 40)).astype(dtype)
    net, norms = one_sparse_decoder(A), np.linalg.norm(A.astype(np.float64), axis=0)
    bound = 8 * np.finfo(dtype).eps / 2 / net.certificate.margin * norms[:, None] / norms
    for t in (1.0, 0.7, -1 / 3):
        found = net((t * A.T.astype(np.float64)).astype(dtype)) / t
        assert (np.abs(found - np.eye(40)) <= bound).all()


def test_noise_moves_it_by_its_lipschitz_constant(rng):
    A = gaussian(12, 40, 4)
    net = one_sparse_decoder(A)
    for size in (1e-6, 1e-2, 1.0, 30.0):
        noise = rng.standard_normal((40, 12))
        noise *= size / np.linalg.norm(noise, axis=1, keepdims=True)
        error = np.abs(net(A.T + noise) - np.eye(40)).max()
        assert error <= net.certificate.lipschitz * size * (1 + 1e-9)


def test_an_operator_and_float32_are_taken():
    op = homfast.measure.Gaussian(16, 30, seed=5)
    net = one_sparse_decoder(op)
    assert net.dtype == np.float32
    np.testing.assert_allclose(net(op(np.eye(30, dtype=np.float32))), np.eye(30), atol=1e-3)


def test_certificates_survive_copies():
    net = one_sparse_decoder(gaussian(6, 9, 0))
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.certificate == net.certificate
        np.testing.assert_array_equal(other.weights[1], net.weights[1])
    assert net.to(np.float64(0)).certificate == net.certificate
    assert net.to(np.float32(0)).certificate is None


def test_what_was_not_built_has_no_certificate(tmp_path):
    path = tmp_path / "net.safetensors"
    one_sparse_decoder(gaussian(6, 9, 0)).save(path)
    for net in (CertifiedNetwork.load(path), CertifiedNetwork.random((3, 4, 2))):
        assert net.certificate is None
        for other in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert type(other) is CertifiedNetwork and other.certificate is None


# Two-sparse ---------------------------------------------------------------------------------------

RATIOS = 10.0 ** (-np.arange(29) / 4)


def two_sparse_errors(net, A):
    """Largest |F(Ax) - x| / |x|, and largest entry off the support, over pairs and ratios."""
    n = A.shape[1]
    ratios = np.concatenate([RATIOS, -RATIOS])
    worst, off = 0.0, 0.0
    for i, j in itertools.permutations(range(n), 2):
        signals = np.zeros((len(ratios), n))
        signals[:, i], signals[:, j] = 1.0, ratios
        error = np.abs(net(signals @ A.T) - signals)
        sizes = np.linalg.norm(signals, axis=1)
        worst = max(worst, (np.linalg.norm(error, axis=1) / sizes).max())
        off = max(off, np.delete(error, [i, j], axis=1).max())
    return worst, off


def check_two_sparse_rate(seed):
    A = gaussian(6, 12, seed)
    errors = []
    for sharpness in (1e2, 1e3, 1e4, 1e5):
        net = two_sparse_decoder(A, sharpness)
        assert net.certificate.holds and net.certificate.sharpness_needed < sharpness
        worst, off = two_sparse_errors(net, A)
        assert worst <= net.certificate.error_bound
        assert off <= 1e-12
        errors.append(worst)
    falls = np.divide(errors[:-1], errors[1:])
    assert falls.min() >= 8 and falls.max() <= 12, errors


@pytest.mark.parametrize(
    ("m", "n", "seed", "dtype", "sharpness", "decades"),
    [
        (6, 12, 3, np.float32, 1e5, 0),
        (4, 8, 2, np.float32, 1e3, 0),  # poor: sharpness_needed 317
        (4, 8, 2, np.float64, 1e10, 0),
        (8, 12, 0, np.float64, 1e10, 0),
        (6, 9, 2, np.float64, 1e10, 6),
    ],
)
def test_two_sparse_rounding_is_as_documented(m, n, seed, dtype, sharpness, decades):
    A = (gaussian(m, n, seed) * 10.0 ** np.linspace(-decades, 0, n)).astype(dtype)
    norms = np.linalg.norm(A.astype(np.float64), axis=0) if decades else np.ones(n)
    net = two_sparse_decoder(A, sharpness)
    ratios = np.outer([1.0, -1.0], 10.0 ** -np.arange(0, 7.25, 0.5)).ravel()
    pairs = np.array(list(itertools.permutations(range(n), 2)))
    x = np.zeros((len(ratios), len(pairs), n))
    x[:, np.arange(len(pairs)), pairs[:, 0]] = 1.0
    x[:, np.arange(len(pairs)), pairs[:, 1]] = ratios[:, None]
    x = (x.reshape(-1, n) / norms).astype(dtype).astype(np.float64)
    y = (x @ A.T.astype(np.float64)).astype(dtype)
    certificate = net.certificate
    rounding = np.abs(net(y) - x) - certificate.error_bound * np.abs(x)
    unit = np.finfo(dtype).eps / 2
    allowed = 30 * unit * sharpness * certificate.sharpness_needed
    assert allowed / 300 < (rounding * norms).max() <= allowed


@pytest.mark.parametrize(("sharpness", "dtype"), [(1e6, np.float32), (1e15, np.float64)])
def test_a_sharpness_that_rounding_defeats_is_refused(sharpness, dtype):
    A = gaussian(5, 7, 0)
    with pytest.raises(ValueError, match=rf"sharpness: got 1e.*rounding in {np.dtype(dtype)}"):
        two_sparse_decoder(A.astype(dtype), sharpness)
    assert two_sparse_decoder(A.astype(dtype), sharpness / 1e3).certificate.holds


@pytest.mark.parametrize("seed", [0])
def test_two_sparse_error_falls_as_sharpness_grows(seed):
    check_two_sparse_rate(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_two_sparse_error_falls_for_every_seed(seed):
    check_two_sparse_rate(seed)


def check_not_refused(m, n, seed):
    net = two_sparse_decoder(gaussian(m, n, seed), 1e4)
    certificate = net.certificate
    assert certificate.holds and certificate.sharpness_needed < 1e4
    assert len(net.weights) == 3
    return net


@pytest.mark.parametrize(("m", "n", "seed"), [(4, 8, 0), (6, 12, 7), (8, 12, 1)])
def test_gaussian_matrices_are_not_refused(m, n, seed):
    net = check_not_refused(m, n, seed)
    worst, off = two_sparse_errors(net, gaussian(m, n, seed))
    assert worst <= min(net.certificate.error_bound, 1e-3) and off <= 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("m", "n"), [(4, 8), (6, 12), (8, 12)])
def test_gaussian_matrices_are_never_refused(m, n, seed):
    check_not_refused(m, n, seed)


def test_the_certificate_counts_what_sampling_would_miss(rng):
    """The constants certified at kink rays bound those at random two-sparse signals."""
    from homfast.construct.support_gauge import fit_gauge

    points, forms = rng.standard_normal((9, 4)), rng.standard_normal((9, 2))
    gauge = fit_gauge(points, forms, rng)
    signals = np.zeros((20_000, 9))
    for row in signals:
        row[rng.choice(9, 2, replace=False)] = rng.standard_normal(2)
    values = np.abs(signals @ points @ gauge.directions.T) @ gauge.coefficients
    assert (values / np.abs(signals).sum(axis=1)).min() >= gauge.kappa * (1 - 1e-9)
    loads = np.abs(signals @ forms).max(axis=1)
    assert (loads / values).max() <= gauge.sharpness_needed * (1 + 1e-9)
    np.testing.assert_allclose(np.abs(points @ gauge.directions.T) @ gauge.coefficients, 1.0)


def test_full_column_rank_is_linear(rng):
    A = rng.standard_normal((6, 5))
    x = rng.standard_normal((10, 5))
    net = two_sparse_decoder(A, 10.0)
    np.testing.assert_allclose(net(x @ A.T), x, atol=1e-12)
    assert 0 < net.certificate.error_bound < 1e-12


def two_sparse_rounding(A, net, rng):
    """The largest error at two-sparse signals of largest entry one."""
    n = A.shape[1]
    x = np.zeros((2000, n), A.dtype)
    for row in x:
        row[rng.choice(n, min(2, n), replace=False)] = rng.uniform(-1, 1, min(2, n))
    x /= np.abs(x).max(axis=1, keepdims=True)
    return float(np.abs(net(x @ A.T).astype(np.float64) - x).max())


@pytest.mark.parametrize("decades", [0, 2, 4, 5, 6, 8, 12, 14])
def test_full_column_rank_counts_its_rounding(rng, decades, dtype):
    """The bound holds, is of the order of the condition number times u, and has a limit of 1."""
    left, right = np.linalg.qr(rng.standard_normal((6, 5)))[0], np.linalg.qr(np.ones((5, 5)))[0]
    A = (left * np.geomspace(1, 10.0**-decades, 5) @ right).astype(dtype)
    unit = np.finfo(dtype).eps / 2
    condition = np.linalg.cond(A.astype(np.float64))
    if condition * unit > 0.1:
        with pytest.raises(
            ValueError, match=f"near dependent.* rounding in {dtype}|columns .* are dep"
        ):
            two_sparse_decoder(A, 10.0)
        return
    net = two_sparse_decoder(A, 10.0)
    bound = net.certificate.error_bound
    assert two_sparse_rounding(A, net, rng) <= bound <= 60 * condition * unit


def test_hopeless_conditions_are_refused():
    """Errors of 4.5, 0.02 and 1.6e-3 of the signal had the certificate 0."""
    rng = np.random.default_rng(1)  # others of these conditions have a bound just below 1
    left, right = np.linalg.qr(rng.standard_normal((2, 3, 3)))[0]

    def conditioned(condition, dtype):
        return (left * [1.0, 0.5, 1.0 / condition] @ right).astype(dtype)

    for condition, dtype, words in [
        (3e7, np.float32, "rounding in float32 may err by .*pass float64"),
        (1e15, np.float64, "rounding in float64 may err by .*; drop a column"),
    ]:
        with pytest.raises(ValueError, match=f"A: columns are so near dependent .*{words}"):
            two_sparse_decoder(conditioned(condition, dtype), 10.0)
    for condition, dtype in [(5e5, np.float32), (1e13, np.float64)]:
        A = conditioned(condition, dtype)
        net = two_sparse_decoder(A, 10.0)
        assert 1e-5 < two_sparse_rounding(A, net, rng) <= net.certificate.error_bound < 1
    A = np.array([[1, 1], [0, 1e-9]], np.float32)  # as ill conditioned, and harmless
    assert two_sparse_rounding(A, two_sparse_decoder(A, 10.0), rng) < 1e-5


def test_the_scale_of_a_column_is_no_dependence(dtype):
    A = np.diag([1.0, 1e-20]).astype(dtype)
    net = two_sparse_decoder(A, 10.0)
    np.testing.assert_allclose(net(A.T), np.eye(2), atol=net.certificate.error_bound)
    assert net.certificate.error_bound < 1e-5


# Homogeneous ISTA ---------------------------------------------------------------------------------


def hadamard_frame(m):
    H = np.ones((1, 1))
    while len(H) < m:
        H = np.block([[H, H], [H, -H]])
    return np.hstack([np.eye(m), H / np.sqrt(m)])


def sparse_signals(rng, count, n, s, decades=4):
    x = np.zeros((count, n))
    for row in x:
        sizes = 10.0 ** rng.uniform(-decades, 0, s) * rng.choice([-1, 1], s)
        row[rng.choice(n, s, replace=False)] = sizes
    return x


@pytest.mark.parametrize("iterations", [1, 2, 5, 12])
def test_ista_keeps_its_bound(rng, iterations):
    A = hadamard_frame(128)
    net = homogeneous_ista(A, 3, iterations)
    assert len(net.weights) == iterations + 2 and net.widths[1] == 256
    x = sparse_signals(rng, 10_000 // 4, 256, 3)
    y = x @ A.T
    output = net(y)
    size = np.abs(x).sum(axis=1)
    assert (np.abs(output - x).sum(axis=1) <= net.certificate.bound(y) + 1e-13 * size).all()
    # Zero where a value passes the threshold by rounding alone.
    assert (np.abs(output[x == 0]) <= 1e-13 * size.max()).all()


@pytest.mark.slow
def test_ista_keeps_its_bound_on_ten_thousand_signals(rng):
    A = hadamard_frame(128)
    net = homogeneous_ista(A, 3, 20)
    for _ in range(4):
        x = sparse_signals(rng, 2500, 256, 3)
        y = x @ A.T
        output, size = net(y), np.abs(x).sum(axis=1)
        error = np.abs(output - x).sum(axis=1)
        assert (error <= net.certificate.bound(y) + 1e-13 * size).all()
        assert (np.where(x == 0, np.abs(output), 0.0).max(axis=1) <= 1e-13 * size).all()


def test_every_layer_of_ista_keeps_its_bound_and_the_support(rng):
    """``|x^k - x|_1 <= b_k`` and no entry off the support, for each k, read off nested networks."""
    A = hadamard_frame(64)
    x = sparse_signals(rng, 400, 128, 3)
    y, size = x @ A.T, np.abs(x).sum(axis=1)
    for k in range(1, 31):
        net = homogeneous_ista(A, 3, k)
        assert net.certificate.factors[-1] == pytest.approx(
            net.certificate.factors[0] * net.certificate.rate**k
        )
        output = net(y)
        assert (np.abs(output - x).sum(axis=1) <= net.certificate.bound(y) + 1e-13 * size).all(), k
        off = np.where(x == 0, np.abs(output), 0.0).max(axis=1)
        assert (off <= 1e-13 * size).all(), k
    assert net.certificate.rate == pytest.approx(5 / 8)


def test_ista_scales_columns_and_takes_noise(rng):
    A = hadamard_frame(64) * rng.uniform(0.2, 5.0, 128)
    norms = np.linalg.norm(A, axis=0)
    net = homogeneous_ista(A, 2, 30, noise=1e-3)
    x = sparse_signals(rng, 500, 128, 2) / norms
    noise = rng.standard_normal((500, 64))
    y = x @ A.T
    noise *= (
        0.9e-3
        * np.abs(y).sum(axis=1, keepdims=True)
        / np.abs(noise @ (A / norms)).max(1, keepdims=True)
    )
    measured = y + noise
    error = np.abs((net(measured) - x) * norms).sum(axis=1)
    assert (error <= net.certificate.bound(measured) * (1 + 1e-2)).all()
    exact = homogeneous_ista(A, 2, 60)
    np.testing.assert_allclose(exact(y) * norms, x * norms, atol=1e-8)


def test_ista_names_a_sparsity_that_is_too_large(rng):
    with pytest.raises(ValueError, match=r"sparsity: got 6.*here s <= \d"):
        homogeneous_ista(hadamard_frame(64), 6, 3)
    A = rng.standard_normal((4, 6))
    A[:, 5] = 2 * A[:, 1]
    with pytest.raises(ValueError, match="columns 1 and 5; they are parallel"):
        homogeneous_ista(A, 1, 3)


def test_ista_refuses_parallel_columns_whatever_their_cosine_rounds_to(rng, dtype):
    given = np.array([[1, 2, 0], [1, 2, 1], [0, 0, 1]], dtype)  # cosine 1 - 2^-52
    with pytest.raises(ValueError, match=r"here s <= 0.*columns 0 and 1; they are parallel"):
        homogeneous_ista(given, 1, 3)
    for _ in range(200):
        column = rng.standard_normal(5)
        A = np.stack([column, rng.uniform(-3, 3) * column], axis=1).astype(dtype)
        with pytest.raises(ValueError, match="columns 0 and 1; they are parallel"):
            homogeneous_ista(A, 1, 3)
    apart = np.array([[1.0, 1.0], [0.0, 1e-2]], dtype)
    net = homogeneous_ista(apart, 1, 3)
    assert net.certificate.rate < 1


@pytest.mark.parametrize(("m", "s", "iterations"), [(16, 2, 157), (64, 1, 22), (64, 3, 96)])
def test_ista_rounding_is_as_documented(rng, m, s, iterations, dtype):
    A = hadamard_frame(m).astype(dtype)
    net = homogeneous_ista(A, s, iterations)
    x = sparse_signals(rng, 300, 2 * m, s).astype(dtype).astype(np.float64)
    y = (x @ A.T.astype(np.float64)).astype(dtype)
    certificate, unit = net.certificate, np.finfo(dtype).eps / 2
    assert certificate.factors[-1] < unit / 100
    rounding = np.abs(net(y) - x).sum(axis=1) - certificate.bound(y)
    size = np.abs(y).sum(axis=1, dtype=np.float64)
    allowed = 8 * 2 * m * unit * size / (1 - certificate.rate)
    assert 1e-2 < (rounding / allowed).max() <= 1


# Bad input ----------------------------------------------------------------------------------------


def with_columns(matrix, j, k, factor):
    matrix = matrix.copy()
    matrix[:, k] = factor * matrix[:, j]
    return matrix


BAD = gaussian(5, 9, 0)


@pytest.mark.parametrize(
    ("A", "build", "error", "words"),
    [
        (with_columns(BAD, 2, 7, -3.0), one_sparse_decoder, ValueError, "columns 2 and 7 are para"),
        (with_columns(BAD, 2, 7, 0.0), one_sparse_decoder, ValueError, "column 7 is zero"),
        (with_columns(BAD, 0, 4, np.nan), one_sparse_decoder, ValueError, r"nan at \(0, 4\)"),
        (BAD[0], one_sparse_decoder, ValueError, "two axes"),
        (BAD[:0], one_sparse_decoder, ValueError, "at least one row"),
        (BAD.astype(int), one_sparse_decoder, TypeError, "int64"),
        (BAD.tolist(), one_sparse_decoder, TypeError, "list"),
        (BAD[:3], lambda A: two_sparse_decoder(A, 10.0), ValueError, "m >= 4"),
        (np.vstack([BAD[:3], BAD[:2]]), lambda A: two_sparse_decoder(A, 10.0), ValueError,
         r"columns \d, \d, \d, \d are dependent"),
        (with_columns(BAD, 2, 7, 2.0), lambda A: two_sparse_decoder(A, 10.0), ValueError,
         "columns 2, 7 are dependent"),
        (BAD, lambda A: two_sparse_decoder(A, 0.5), ValueError, "sharpness: got 0.5.*>= 1"),
        (gaussian(10, 300, 0), lambda A: two_sparse_decoder(A, 10.0), MemoryError, "300 columns"),
    ],
)  # fmt: skip
def test_what_cannot_be_decoded_is_named(A, build, error, words):
    with pytest.raises(error, match=words):
        build(A)
