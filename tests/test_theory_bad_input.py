"""Bad matrices, in every function of the theory: named, or undecided, never a wrong yes."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs homfast[theory]")

from homfast import construct, injectivity, linear_nets
from homfast.network import ReLUNetwork

BASE = np.random.default_rng(0).standard_normal((5, 9))
LINEAR = ReLUNetwork([np.ones((9, 5))])


def with_entry(value):
    matrix = BASE.copy()
    matrix[3, 2] = value
    return matrix


TAKE_A_MATRIX = {
    "one_sparse_decoder": construct.one_sparse_decoder,
    "two_sparse_decoder": lambda A: construct.two_sparse_decoder(A, 1e3),
    "homogeneous_ista": lambda A: construct.homogeneous_ista(A, 1, 2),
    "low_rank_decoder": lambda A: construct.low_rank_decoder(A, (3, 3)),
    "phase_retrieval_decoder": construct.phase_retrieval_decoder,
    "one_hidden_layer_bound": construct.one_hidden_layer_bound,
    "one_hidden_layer_witness": lambda A: construct.one_hidden_layer_witness(LINEAR, A),
    "restricted_isometry": lambda A: construct.restricted_isometry(A, 2),
    "is_injective": injectivity.is_injective,
    "stability_bounds": injectivity.stability_bounds,
    "empirical_stability": injectivity.empirical_stability,
    "invert": lambda W: injectivity.invert(W, np.ones((1, 5))),
    "oracle_map": lambda A: linear_nets.oracle_map(A, np.eye(9)[:, :2]),
}


@pytest.mark.parametrize("call", TAKE_A_MATRIX.values(), ids=TAKE_A_MATRIX)
@pytest.mark.parametrize(
    ("matrix", "error", "words"),
    [
        (with_entry(np.nan), ValueError, r"^(A|weight): got nan at \(3, 2\), wanted finite"),
        (with_entry(-np.inf), ValueError, r"^(A|weight): got -inf at \(3, 2\), wanted finite"),
        (BASE * 1e200, ValueError, r"^(A|weight): the largest entry is .*e\+200.*power of two"),
        (BASE * 1e-200, ValueError, r"^(A|weight): the largest entry is .*e-200.*power of two"),
        (BASE[0], ValueError, r"^(A|weight): .*two axes"),
        (BASE[:0], ValueError, r"^(A|weight): .*at least one row"),
        (BASE.astype(np.int32), TypeError, r"^(A|weight): .*int32"),
        (BASE.astype(np.complex128), TypeError, r"^(A|weight): .*complex128"),
        (BASE.tolist(), TypeError, r"^(A|weight): .*list"),
        (np.ma.masked_array(BASE), TypeError, r"^(A|weight): .*[Mm]asked"),
    ],
    ids=["nan", "inf", "huge", "tiny", "vector", "empty", "integer", "complex", "list", "masked"],
)
def test_bad_matrices_are_named(call, matrix, error, words):
    with pytest.raises(error, match=words):
        call(matrix)


def test_tiny_columns_and_rows_are_not_zero():
    A = BASE.copy()
    A[:, 4] *= 1e-250
    net = construct.one_sparse_decoder(A)
    np.testing.assert_allclose(net(A.T)[4], np.eye(9)[4], atol=1e-12)
    weight = injectivity.minimal_weight(3)
    weight[1] *= 1e-250
    assert injectivity.is_injective(weight).decision is True
    assert injectivity.is_injective(weight, np.zeros(6)).decision is True
    with pytest.raises(ValueError, match=r"bias: entry 1 is beyond .* its row of weight"):
        injectivity.is_injective(weight, np.ones(6))


@pytest.mark.parametrize("rank", [1, 2])
def test_rank_deficient_matrices_are_never_said_to_recover(rank):
    rng = np.random.default_rng(rank)
    A = rng.standard_normal((6, rank)) @ rng.standard_normal((rank, 8))
    words = "columns 0 and 1 are parallel" if rank == 1 else r"columns \d.* are dependent"
    decode = construct.one_sparse_decoder if rank == 1 else TAKE_A_MATRIX["two_sparse_decoder"]
    with pytest.raises(ValueError, match=words):
        decode(A)
    with pytest.raises(ValueError, match=f"A: sees {rank} of the 8 dimensions of these matrices"):
        construct.low_rank_decoder(A, (2, 4), max_features=16)
    assert construct.one_hidden_layer_bound(A) == 0.5  # rounded, A has rank 6
    whole = rng.integers(-9, 10, (6, rank)) @ rng.integers(-9, 10, (rank, 8))
    assert construct.one_hidden_layer_bound(whole.astype(float)) == np.sqrt(1 - rank / 8)
    assert construct.restricted_isometry(A, 3).lower >= 1 - 1e-12  # delta < 1 is what recovers
    with pytest.raises(ValueError, match=f"to rank {rank}: signals of the subspace"):
        linear_nets.oracle_map(A, np.eye(8)[:, :3])
    found = injectivity.is_injective(A)
    assert found.decision is False and found.witness is not None
    assert injectivity.stability_bounds(A) == (0.0, 0.0, 0.0, True)
    with pytest.raises(ValueError, match=f"weight: got rank {rank}, wanted 8"):
        injectivity.invert(A, np.ones((1, 6)))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: construct.homogeneous_ista(BASE, 4, 3), ValueError, r"sparsity: got 4.*s <= \d"),
        (lambda: construct.homogeneous_ista(BASE, 10, 3), ValueError, "sparsity: got 10.*to 9"),
        (lambda: construct.homogeneous_ista(BASE, 1, 10**7), MemoryError, "iterations: .*GiB"),
        (lambda: construct.one_sparse_decoder(np.ones((1, 40_000))), MemoryError, "A: .*GiB"),
        (lambda: construct.low_rank_decoder(np.ones((1, 10**6)), (1000, 1000)), MemoryError,
         "A: 20000 test matrices of 1000000 entries.*GiB"),
        (lambda: construct.restricted_isometry(BASE, 10), ValueError, "s: got 10.*from 1 to 9"),
        (lambda: injectivity.is_injective_convolution(np.ones((2, 1, 1)), (99, 99)), ValueError,
         "box: .*would not end"),
    ],
    ids=["coherence", "s > n", "layers", "columns", "rank one", "isometry", "box"],
)  # fmt: skip
def test_sizes_that_cannot_be_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_enumerations_that_would_not_end_say_so():
    rng = np.random.default_rng(3)
    many = rng.standard_normal((60, 200)) / np.sqrt(60)
    found = construct.restricted_isometry(many, 6, samples=500)  # 8e10 supports
    assert not found.exact and found.lower < found.upper
    B = rng.standard_normal((30, 30))
    bounds = injectivity.stability_bounds(np.vstack([B, -B, rng.standard_normal((60, 30))]))
    assert not bounds.exact and bounds.lower <= bounds.upper and bounds.upper > 0
