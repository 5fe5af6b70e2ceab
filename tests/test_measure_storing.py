"""Whether matrices are stored: the rule, the same bits either way, and what does not fit."""

import numpy as np
import pytest
from operators import draw
from oracles import assert_same_bits

from homfast import _backends, _memory
from homfast.measure import (
    Cosine,
    Fourier,
    Gaussian,
    Hadamard,
    Kronecker,
    Rademacher,
    RankOne,
    SparseSign,
)
from homfast.measure.storing import is_stored

MIB = 1 << 20


@pytest.fixture
def memory(monkeypatch):
    """A machine of 1 GiB."""
    monkeypatch.setattr(_memory, "capacity", lambda: 1 << 30)


@pytest.mark.parametrize("fast_signs", [False, True])
def test_the_rule(memory, monkeypatch, fast_signs):
    monkeypatch.setattr(_backends.automatic(), "fast_signs", fast_signs)
    for signs in (False, True):
        assert is_stored(True, 1 << 40, signs) and not is_stored(False, 1, signs)
        assert is_stored("auto", 8 * MIB - 1, signs)
        assert not is_stored("auto", 256 * MIB + 1, signs)
    assert is_stored("auto", 256 * MIB)
    assert is_stored("auto", 8 * MIB, signs=True) is not fast_signs


def test_operators_tell(memory, monkeypatch):
    monkeypatch.setattr(_backends.automatic(), "fast_signs", True)
    assert Gaussian(1024, 2048).stored and not Gaussian(1024, 2048, store=False).stored
    assert Gaussian(8192, 8192).stored and not Gaussian(8193, 8192).stored
    assert Gaussian(8193, 8192, store=True).stored
    assert not Gaussian(8192, 8192, dtype=np.complex64).stored
    assert Rademacher(1023, 2048).stored and not Rademacher(1024, 2048).stored
    assert not Rademacher(1023, 2048, dtype=np.float64).stored
    assert Rademacher(1024, 2048).rows(0, 5).stored
    assert SparseSign(4096, MIB).stored and not SparseSign(4096, 4 * MIB).stored
    assert repr(Gaussian(3, 4)) == "Gaussian(3, 4, seed=0, dtype='float32')"


@pytest.mark.parametrize("shape", [(1023, 2048), (1024, 2048)], ids=["stored", "made"])
def test_auto_has_the_bits_of_both(native_engine, dtype, rng, monkeypatch, shape):
    """On both sides of the crossover."""
    monkeypatch.setattr(_backends, "_automatic", native_engine.module)
    shape = shape[0], shape[1] // (dtype.itemsize // 4)
    auto, stored, made = (
        Rademacher(*shape, seed=3, dtype=dtype, store=s) for s in ("auto", True, False)
    )
    assert auto.stored is (shape[0] == 1023)
    x, y = draw(rng, (3, shape[1]), dtype), draw(rng, (3, shape[0]), dtype)
    for other in (stored, made):
        assert_same_bits(auto(x), other(x), f"{native_engine} {other}")
        assert_same_bits(auto.adjoint(y), other.adjoint(y), f"{native_engine} {other}")
        assert_same_bits(auto.gram(x), other.gram(x), f"{native_engine} {other}")


def test_what_is_made_on_the_fly_keeps_nothing():
    op = Rademacher(1024, 4096, store=False)
    op.gram(np.ones(4096, np.float32))
    assert op._packed is None and not op.stored


# What does not fit ------------------------------------------------------------------------------

ONE = np.ones(8, np.float32)
TALL = 2**40  # measurements: 4 TiB a row
TOO_LARGE = {
    "forward": lambda: Rademacher(TALL, 8, store=False)(ONE),
    "matvec": lambda: Gaussian(TALL, 8, store=False).matvec(ONE),
    "matmat": lambda: Gaussian(TALL, 8, store=False).matmat(ONE[:, None]),
    "gram": lambda: Rademacher(TALL, 8, store=False).gram(ONE),
    "composition": lambda: (Gaussian(3, 2**33) @ Gaussian(8, 2**33).H)(ONE),
    "sparse input": lambda: Gaussian(TALL, 8).forward_sparse(np.array([1]), ONE[:1]),
    "batch": lambda: Gaussian(2, 4)(np.broadcast_to(np.float32(1), (2**44, 4))),
    "adjoint": lambda: Gaussian(8, 2**33, store=False).adjoint(np.broadcast_to(ONE, (2**10, 8))),
    "store": lambda: Gaussian(2**22, 2**22, store=True)(np.ones(2**22, np.float32)),
    "to_dense": lambda: Gaussian(2**22, 2**22, store=False).to_dense(),
    "to_dense of signs": lambda: SparseSign(2**22, 2**22).to_dense(),
    "to_dense of a transform": lambda: Cosine(2**22, 2**22).to_dense(),
    "to_dense of rank one": lambda: RankOne(2**22, (2**11, 2**11)).to_dense(),
    "to_dense of an adjoint": lambda: Hadamard(2**22, 2**22).H.to_dense(),
    "to_dense of a product": lambda: Kronecker(*[Gaussian(2**11, 2**11)] * 2).to_dense(),
    "rows": lambda: Fourier(3, 2**33).row_indices,
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_does_not_fit_is_an_error(name, monkeypatch):
    """MemoryError before anything is written, not a kill."""
    monkeypatch.setattr(_memory, "available", lambda: 1 << 34)
    with pytest.raises(MemoryError, match=r"needs .* GiB, of which this machine has .*; \w+"):
        TOO_LARGE[name]()


def test_the_machine_has_memory():
    assert 1 << 26 < _memory.available() <= _memory.capacity() < 1 << 50
