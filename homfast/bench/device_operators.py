"""``homfast bench operators --device cuda``: transforms beside a copy, seeded products beside BLAS.

Any implementation of a transform reads and writes its rows once, as a copy does. The products of
seeded matrices are made on the fly here; the peers have the matrix in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from homfast import measure
from homfast.bench import interleaved, operators_seeded
from homfast.bench.device_contenders import Operands, in_turns
from homfast.bench.expected import WrongResult, arrays_of
from homfast.bench.interleaved import Contender
from homfast.bench.operators_cases import Check, Comparison, scaled
from homfast.bench.peers import PeerUnavailable

DTYPE = np.dtype(np.float32)
SIZES = (512, 2048, 8192)
ELEMENTS = 1 << 26  # of the rows that are transformed: 256 MiB, more than an L2 cache
BATCHES = (1, 64)
_CHECKED = 8  # rows of a transform


class Task(NamedTuple):
    """One line to be."""

    operator: str
    size: str
    product: str
    read_bytes: int
    make: Callable[[list[Any]], Comparison]


def tasks(operands: Operands, scale: int = 1) -> Iterator[Task]:
    """All lines; sizes but for batches are divided by `scale`, a power of two."""
    for size in SIZES:
        n = scaled(size, scale, 2)
        rows = max(1, scaled(ELEMENTS, scale * scale) // n)
        make = functools.partial(_transform, operands, rows, n)
        yield Task("walsh_hadamard", f"{rows} rows of {n}", "forward", 4 * rows * n, make)
    m, n = (scaled(s, scale, 2) for s in (operators_seeded.ROWS, operators_seeded.COLUMNS))
    for family in operators_seeded.FAMILIES:
        for batch in BATCHES:
            for product in ("forward", "adjoint"):
                make = functools.partial(_seeded, operands, family, m, n, batch, product)
                read = 4 * batch * (n if product == "forward" else m)
                label = f"{m} x {n}, batch {batch}"
                yield Task(f"{family} on the fly", label, product, read, make)


def copied_bytes_per_second(
    operands: Operands, clock: Callable[[], float], elements: int = ELEMENTS
) -> float:
    """Bytes read and written a second by the library's copy of a large array."""
    at = operands.machine
    source, target = (at.empty((elements,), DTYPE) for _ in range(2))
    contender = Contender("copy", lambda: at.assign(target, source))
    found = interleaved.measure([contender], rounds=3, pause=0.0, clock=clock)
    return 2 * elements * DTYPE.itemsize / found.median("copy")


def _transform(operands: Operands, rows: int, n: int, peers: list[Any]) -> Comparison:
    at = operands.machine
    x = np.random.default_rng(0).standard_normal((rows, n), dtype=np.float32)
    wanted = measure.walsh_hadamard(x[:_CHECKED])  # the host's, whose bits are ours
    sets = [(at.upload(x), at.empty(x.shape, DTYPE)) for _ in range(at.copies(x.nbytes))]

    def own(x: Any, out: Any) -> Any:
        return measure.walsh_hadamard(x, out=out)

    def copy(x: Any, out: Any) -> None:
        at.assign(out, x)

    contenders = [in_turns("homfast", own, sets), in_turns("device copy", copy, sets)]
    (found,) = arrays_of(contenders[0].result())
    if found.shape != x.shape or not np.allclose(found[:_CHECKED], wanted, rtol=1e-5, atol=1e-3):
        raise WrongResult(f"homfast: walsh_hadamard of {rows} rows of {n} differs from the host's")
    return Comparison(contenders, {}, 2 * x.nbytes)


def _seeded(
    operands: Operands,
    family: str,
    m: int,
    n: int,
    batch: int,
    product: str,
    peers: list[Any],
) -> Comparison:
    at = operands.machine
    op = operators_seeded.FAMILIES[family](m, n, seed=operators_seeded.SEED)
    given, size = (n, m) if product == "forward" else (m, n)
    x = np.random.default_rng(0).standard_normal((batch, given), dtype=np.float32)
    sets = [(at.upload(x), at.empty((batch, size), DTYPE)) for _ in range(at.copies(x.nbytes))]
    check: Check = operators_seeded.sample_check(family, m, n, x, product)
    call = getattr(op, product)
    contenders = [in_turns("homfast", lambda x, out: call(x, out=out), sets)]
    absent: dict[str, str] = {}
    for peer in peers:
        method = getattr(peer, "stored_product", None)
        if method is None:
            continue
        try:
            matrix = _stored(operands, family, m, n)
            contenders.append(method(matrix, product == "adjoint", sets))
        except PeerUnavailable as reason:
            absent[peer.name] = str(reason)
    for contender in contenders:
        (result,) = arrays_of(contender.result())
        check(contender.name, result)
    return Comparison(contenders, absent)


# The one matrix that is on the device for the peers, by family and shape.
_matrix: dict[tuple[str, int, int], Any] = {}


def _stored(operands: Operands, family: str, m: int, n: int) -> Any:
    if (family, m, n) not in _matrix:
        forget()
        host = operators_seeded.stored_matrix(family, m, n)
        try:
            _matrix[family, m, n] = operands.machine.upload(host)
        except MemoryError as error:
            raise PeerUnavailable(str(error)) from error
        finally:
            operators_seeded.forget()
    return _matrix[family, m, n]


def forget() -> None:
    """Free it."""
    _matrix.clear()
