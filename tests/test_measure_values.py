"""Seeded operators as values: nested, rebuilt by repr and pickle, compared."""

import copy
import pickle

import numpy as np
import pytest
from operators import ALL, M, N, dense
from oracles import assert_same_bits

from homfast import measure
from homfast.measure import Dense, Gaussian
from homfast.measure.seeded import SeededOperator


def test_gaussian_is_nested(dtype):
    """Unscaled rows and columns of one seed agree whatever the shape; the scale is 1/sqrt(m)."""
    wide = Gaussian(30, 50, seed=4, dtype=dtype, normalize=False).to_dense()
    for m, n in ((1, 1), (7, 50), (30, 9), (29, 49)):
        part = Gaussian(m, n, seed=4, dtype=dtype, normalize=False).to_dense()
        assert_same_bits(part, np.ascontiguousarray(wide[:m, :n]), f"{m} x {n}")
        scaled = Gaussian(m, n, seed=4, dtype=dtype).to_dense()
        assert_same_bits(scaled, part * dtype.type(1 / np.sqrt(m)), f"{m} x {n} scaled")


def test_rows_of_a_large_operator_cost_only_themselves(dtype):
    """Its whole matrix would not fit the address space."""
    part = Gaussian(2**62, 4000, seed=3, dtype=dtype, normalize=False).rows(2**61, 2**61 + 2)
    assert part.shape == (2, 4000)
    x = np.ones(4000, dtype)
    np.testing.assert_allclose(part(x), part.to_dense().sum(axis=1), rtol=1e-3)


def test_too_large_to_store():
    op = Gaussian(2**61, 2**20)
    with pytest.raises(MemoryError, match=r"store: .* GiB.*; pass store=False"):
        op._stored()  # a product asks for its result first
    with pytest.raises(MemoryError, match=r"to_dense: .* GiB.*; take rows\(i0, i1\)"):
        op.to_dense()


SEEDED = {
    "default": {},
    "float64": {"seed": 2**64 - 1, "dtype": np.float64},
    "not scaled": {"seed": 12345, "normalize": False},
    "not stored": {"seed": 1, "store": False},
    "stored": {"seed": 1, "store": True},
}


@pytest.mark.parametrize("options", SEEDED.values(), ids=SEEDED)
def test_repr_pickle_and_copy_rebuild(options):
    whole = Gaussian(M, N, **options)
    whole(np.ones(N, whole.dtype))  # the matrix is in memory now
    for op in (whole, whole.rows(3, 9), whole.rows(3, 9).rows(1, 2), whole.H, whole.H.rows(2, 5)):
        assert_rebuilds(op)
        assert len(pickle.dumps(op)) < 350


def assert_rebuilds(op):
    rebuilt = eval(repr(op), vars(measure))
    unpickled = pickle.loads(pickle.dumps(op))
    for other in (rebuilt, unpickled, copy.deepcopy(op)):
        assert other == op and hash(other) == hash(op) and repr(other) == repr(op)
        assert_same_bits(other.to_dense(), op.to_dense(), repr(op))


@pytest.mark.parametrize("name", [n for n in ALL if "dense" not in n and "generic" not in n])
def test_every_seeded_operator_rebuilds(name, dtype):
    op = ALL[name](dtype)
    if "Dense" in repr(op) or "<" in repr(op):
        assert pickle.loads(pickle.dumps(op)) == op
        return
    assert_rebuilds(op)
    state = pickle.dumps(op.__reduce__()[1][1:]) if isinstance(op, SeededOperator) else b""
    assert len(state) < 110


def test_a_pickle_holds_the_state_alone():
    _, state = Gaussian(1000, 1000, seed=2**64 - 1).__reduce__()
    assert len(pickle.dumps(state[1:])) < 100


def test_a_pickle_of_another_stream_is_refused(monkeypatch):
    saved = pickle.dumps(Gaussian(3, 4))
    monkeypatch.setattr(Gaussian, "version", 2)
    with pytest.raises(ValueError, match="got version 1 of the Gaussian stream, wanted 2"):
        pickle.loads(saved)


def test_dense_pickles_and_compares(dtype):
    op = dense(dtype)
    assert pickle.loads(pickle.dumps(op)) == op == Dense(op.to_dense())
    assert hash(op) == hash(Dense(op.to_dense()))
    assert op != dense(dtype, m=M - 1) and op != Dense(-op.to_dense()) and op != "Dense"
    other = np.float64 if dtype == np.float32 else np.float32
    assert op != Dense(op.to_dense().astype(other))
    assert repr(op) == f"Dense(shape=(23, 37), dtype={dtype})"


def test_equality_of_seeded_operators():
    op = Gaussian(M, N, seed=1)
    assert op == Gaussian(M, N, seed=1, store=False) == Gaussian(M, N, seed=np.int64(1))
    different = [
        Gaussian(M, N, seed=2),
        Gaussian(M, N + 1, seed=1),
        Gaussian(M, N, seed=1, dtype=np.float64),
        Gaussian(M, N, seed=1, normalize=False),
        op.rows(0, M - 1),
        op.H,
        Dense(op.to_dense()),
    ]
    assert all(op != other for other in different)
    assert Gaussian(M + 1, N, seed=1).rows(0, M) != op  # another scale
