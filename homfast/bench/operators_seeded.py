"""Gaussian and Rademacher matrices: made on the fly here, stored by the peers."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from homfast import measure
from homfast._backends import reference
from homfast._backends.streams import GAUSSIAN, RADEMACHER, stream_word
from homfast.bench.expected import WrongResult
from homfast.bench.operators_cases import (
    Call,
    Check,
    Comparison,
    Libraries,
    MemoryProbe,
    Task,
    check_near,
    gamma,
    scaled,
)
from homfast.bench.peers import PeerUnavailable

SEED = 7
ROWS, COLUMNS, BATCHES = 16384, 65536, (1, 64)  # 4 GiB stored
STORED_ROWS, STORED_COLUMNS = 2048, 8192
FAMILIES: dict[str, Any] = {"Rademacher": measure.Rademacher, "Gaussian": measure.Gaussian}
_BLOCKS: dict[str, Any] = {
    "Rademacher": functools.partial(reference.rademacher_block, SEED, stream_word(RADEMACHER)),
    "Gaussian": functools.partial(reference.gaussian_block, SEED, stream_word(GAUSSIAN, 4)),
}
_SAMPLED = 16  # results at each end that are checked

# The one matrix that is in memory for the peers, by family and shape.
_stored: dict[tuple[str, int, int], np.ndarray] = {}


def tasks(scale: int) -> Iterator[Task]:
    """The lines, with sizes divided by `scale`."""
    m, n = scaled(ROWS, scale, 2), scaled(COLUMNS, scale, 2)
    for family in FAMILIES:
        operator = f"{family} on the fly"
        for batch in BATCHES:
            for product in ("forward", "adjoint"):
                make = functools.partial(_on_the_fly, family, m, n, batch, product)
                probe = MemoryProbe(family, m, n, batch, product)
                yield Task(operator, _size(m, n, batch), product, make, probe)
    for family in FAMILIES:
        make = functools.partial(_gram, family, m, n, 1)
        probe = MemoryProbe(family, m, n, 1, "gram")
        yield Task(f"{family} on the fly", _size(m, n, 1), "gram", make, probe)
    m, n = scaled(STORED_ROWS, scale, 2), scaled(STORED_COLUMNS, scale, 2)
    for product in ("forward", "adjoint"):
        make = functools.partial(_stored_gaussian, m, n, BATCHES[-1], product)
        yield Task("Gaussian stored", _size(m, n, BATCHES[-1]), product, make)


def forget() -> None:
    """Free the stored matrix."""
    _stored.clear()


def _size(m: int, n: int, batch: int) -> str:
    return f"{m} x {n}, batch {batch}"


def _on_the_fly(
    family: str, m: int, n: int, batch: int, product: str, libraries: Libraries
) -> Comparison:
    op = FAMILIES[family](m, n, seed=SEED, store=False)
    x, out = _arrays(m, n, batch, product)
    adjoint, own = product == "adjoint", getattr(op, product)

    def numpy_peer(_: Any) -> Call:
        matrix = stored_matrix(family, m, n)
        right, result = matrix if adjoint else matrix.T, np.empty_like(out)
        return lambda: np.matmul(x, right, out=result)

    def torch_peer(torch: Any) -> Call:
        matrix = torch.from_numpy(stored_matrix(family, m, n))
        left, right = torch.from_numpy(x), matrix if adjoint else matrix.T
        result = torch.empty(out.shape)
        return lambda: torch.mm(left, right, out=result)

    peers = {"numpy": numpy_peer, "torch": torch_peer}
    check = sample_check(family, m, n, x, product)
    return libraries.compared(lambda: own(x, out=out), peers, check)


def _gram(family: str, m: int, n: int, batch: int, libraries: Libraries) -> Comparison:
    """Both halves are checked in lines of their own; here that the bits are those of the two."""
    op = FAMILIES[family](m, n, seed=SEED, store=False)
    x, _ = _arrays(m, n, batch, "forward")
    wanted = op.adjoint(op.forward(x))

    def check(name: str, result: np.ndarray) -> None:
        if result.tobytes() != wanted.tobytes():
            raise WrongResult(f"{name}: gram(x) has not the bits of adjoint(forward(x))")

    def two_calls(_: Any) -> Call:
        return lambda: op.adjoint(op.forward(x))

    return libraries.compared(lambda: op.gram(x), {"homfast, two calls": two_calls}, check)


def _stored_gaussian(m: int, n: int, batch: int, product: str, libraries: Libraries) -> Comparison:
    op = measure.Gaussian(m, n, seed=SEED, store=True)
    dense = getattr(measure.Dense(op.to_dense()), product)
    own = getattr(op, product)
    x, out = _arrays(m, n, batch, product)
    result = np.empty_like(out)
    peers = {"homfast Dense": lambda _: lambda: dense(x, out=result)}
    check = sample_check("Gaussian", m, n, x, product)
    return libraries.compared(lambda: own(x, out=out), peers, check)


def _arrays(m: int, n: int, batch: int, product: str) -> tuple[np.ndarray, np.ndarray]:
    sizes = (n, m) if product == "forward" else (m, n)
    x = np.random.default_rng(0).standard_normal((batch, sizes[0]), dtype=np.float32)
    return x, np.empty((batch, sizes[1]), np.float32)


def sample_check(family: str, m: int, n: int, x: np.ndarray, product: str) -> Check:
    """The first and last results against the reference's entries, within gamma_K |x| |A|."""
    size = n if product == "adjoint" else m
    count = min(_SAMPLED, size)
    parts = [(0, count), (size - count, size)]
    wide, scale = x.astype(np.float64), 1 / np.sqrt(m)
    wanted, error = [], []
    for first, last in parts:
        if product == "adjoint":
            block = np.empty((m, last - first), np.float32)
            _BLOCKS[family](0, first, block)
            matrix = block.astype(np.float64)
        else:
            block = np.empty((last - first, n), np.float32)
            _BLOCKS[family](first, 0, block)
            matrix = block.T.astype(np.float64)
        wanted.append(wide @ matrix * scale)
        error.append(np.abs(wide) @ np.abs(matrix) * scale * gamma(x.shape[1] + 4))

    def check(name: str, result: Any) -> None:
        if tuple(result.shape) != (len(x), size):
            raise WrongResult(f"{name}: got shape {tuple(result.shape)}, wanted {(len(x), size)}")
        for (first, last), exact, bound in zip(parts, wanted, error, strict=True):
            check_near(name, result[:, first:last], exact, bound)

    return check


def stored_matrix(family: str, m: int, n: int) -> np.ndarray:
    """The whole matrix, if there is room for it; the one before is freed."""
    key = family, m, n
    if key not in _stored:
        forget()
        wanted, available = 4 * m * n, _available_bytes()
        if available is not None and wanted * 1.1 > available:
            raise PeerUnavailable(
                f"its matrix takes {wanted / 2**30:.3g} GiB, and {available / 2**30:.3g} GiB of "
                "memory are free; --scale 2 takes a quarter"
            )
        try:
            _stored[key] = FAMILIES[family](m, n, seed=SEED).to_dense()
        except MemoryError as error:
            raise PeerUnavailable(str(error)) from error
    return _stored[key]


def _available_bytes() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None
