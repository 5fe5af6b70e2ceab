"""From a shape to a row of the table: build the contenders, check them, let them take turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from types import ModuleType
from typing import Any

from homfast.bench import arithmetic, expected, interleaved, ours
from homfast.bench.cases import Case
from homfast.bench.interleaved import Contender, Measured
from homfast.bench.machine import OtherWork
from homfast.bench.peak import roofs
from homfast.bench.peers import PeerUnavailable


@dataclass(frozen=True)
class Comparison:
    """Checked contenders of one operation.

    ``absent`` tells why a peer is not among them. Those named in ``beside`` are timed and are no
    peers: the ratio is not theirs.
    """

    case: Case
    direction: str
    contenders: list[Contender]
    absent: dict[str, str] = field(default_factory=dict)
    beside: Sequence[str] = ()


@dataclass(frozen=True)
class Row:
    """One line of the table. Times are medians over the rounds, in seconds a call.

    ``peak_gflops`` is that of multiply-adds. ``share_of_matrix_unit`` counts all bf16 products that
    the precision takes; None where the unit does not compute, or is not there. ``share_of_others``
    is the part of the machine that other processes used meanwhile.
    """

    label: str
    case: list[Any]
    direction: str
    flops: int
    bytes: int
    rounds: int
    seconds: dict[str, float]
    quartiles: dict[str, list[float]]
    calls: dict[str, int]
    gflops: float
    peak_gflops: float | None
    share_of_peak: float | None
    matrix_peak_gflops: float | None
    share_of_matrix_unit: float | None
    best_peer: str | None
    ratio: float | None
    absent: dict[str, str]
    share_of_others: float | None

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self)


@dataclass(frozen=True)
class Settings:
    """How long to measure: see `interleaved.measure`; `seconds` bounds all comparisons together."""

    rounds: int = interleaved.ROUNDS
    burst: float = interleaved.BURST
    pause: float = interleaved.PAUSE
    seconds: float | None = None


def checked_contenders(
    operation: str,
    peers: Sequence[Any],
    data: Any,
    check: Callable[[str, Any], None],
    *arguments: Any,
    own: Any = None,
) -> tuple[list[Contender], dict[str, str]]:
    """homfast's contender (of `own`) and the peers' for `operation`, each checked on one result.

    Returns
    -------
    contenders : list of Contender
        homfast first. A peer that does not offer the operation is left out.
    absent : dict of str to str
        Why a peer that offers it could not take part.

    Raises
    ------
    WrongResult
        From `check`.
    """
    contenders, absent = [], {}
    for maker in (own or ours.Homfast(), *peers):
        method = getattr(maker, operation, None)
        if method is None:
            continue
        try:
            contender = method(data, *arguments)
        except PeerUnavailable as reason:
            absent[maker.name] = str(reason)
            continue
        check(contender.name, contender.result())
        contenders.append(contender)
    return contenders, absent


def checked_twice(
    operation: str,
    case: Case,
    direction: str,
    peers: Sequence[Any],
    precision: str | None,
    *,
    exact: Any,
    data: Any,
    reference: Callable[[Any], Sequence[Any]],
    check: Callable[[str, Any, Any, str], None] | None,
    own: Callable[[str | None], Any] = ours.Homfast,
) -> Comparison:
    """The contenders on `data`, checked for equality on `exact` and for a bound on `data`.

    Parameters
    ----------
    operation, peers
        As in `checked_contenders`.
    case, direction
        What is compared.
    precision : str or None
        That of our products.
    exact, data
        Integer operands, and those of the clock.
    reference : callable
        What the operation must return on `exact`, to the bit.
    check : callable or None
        ``check(name, result, data, precision)`` raises WrongResult for a result on `data` that is
        farther off than `precision` allows, which is "highest" for peers.
    own : callable
        ``own(precision)`` makes our contenders.
    """
    wanted, mine = reference(exact), own(precision)

    def equal(name: str, result: Any) -> None:
        expected.check_equal(name, result, wanted)

    def bounded(name: str, result: Any) -> None:
        if check is not None:
            check(name, result, data, precision or "highest" if name == ours.name else "highest")

    _, absent = checked_contenders(operation, peers, exact, equal, own=mine)
    present = [peer for peer in peers if peer.name not in absent]
    contenders, _ = checked_contenders(operation, present, data, bounded, own=mine)
    return Comparison(case, direction, contenders, absent)


def run(
    kind: ModuleType,
    cases: Sequence[Case],
    dtype: str,
    peers: Sequence[Any],
    settings: Settings,
    **options: Any,
) -> Iterable[Row]:
    """Measure `cases` in all directions of `kind`, and yield rows as they are done.

    Parameters
    ----------
    kind : module
        ``homfast.bench.layers`` or another: CASES, DIRECTIONS and `comparison`.
    cases : sequence of LayerCase or NetworkCase
    dtype : {"float32", "float64", "bfloat16"}
    peers : sequence
        From ``homfast.bench.peers.load_all``.
    settings : Settings
    **options
        For ``kind.comparison``, of the kinds that take any: `precision`.

    Yields
    ------
    Row
    """
    tasks = [(case, direction) for case in cases for direction in kind.DIRECTIONS]
    clock = interleaved.Clock(settings.seconds, len(tasks))
    for case, direction in tasks:
        comparison = kind.comparison(case, direction, dtype, peers, **options)
        deadline = clock.next_deadline()
        others = OtherWork()
        measured = interleaved.measure(
            comparison.contenders,
            rounds=settings.rounds,
            burst=settings.burst,
            pause=settings.pause,
            deadline=deadline,
            between=lambda: roofs(dtype),
        )
        yield row_of(comparison, measured, dtype, options.get("precision"), others.share())


def geometric_means(rows: Iterable[Row]) -> dict[str, float]:
    """Geometric mean over the shapes of the ratio to the best peer, by direction."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        if row.ratio is not None:
            ratios.setdefault(row.direction, []).append(row.ratio)
    return {direction: statistics.geometric_mean(values) for direction, values in ratios.items()}


def row_of(
    comparison: Comparison,
    measured: Measured,
    dtype: str,
    precision: str | None,
    share_of_others: float | None,
) -> Row:
    """The line of a measured comparison."""
    case, direction = comparison.case, comparison.direction
    flops = case.flops(direction)
    seconds = {name: measured.median(name) for name in measured.bursts}
    own = seconds[ours.name]
    apart = {ours.name, *comparison.beside}
    rivals = {name: value for name, value in seconds.items() if name not in apart}
    best = min(rivals, key=lambda name: rivals[name]) if rivals else None
    peak, matrix_peak = measured.peak("multiply-adds"), measured.peak("matrix unit")
    share_of_unit = None
    if case.on_matrix_unit(direction):
        products = arithmetic.PRODUCTS[precision or arithmetic.default_precision(dtype)]
        share_of_unit = measured.share_of_peak(ours.name, products * flops, "matrix unit")
    return Row(
        label=case.label,
        case=[list(size) if isinstance(size, tuple) else size for size in case],
        direction=direction,
        flops=flops,
        bytes=case.moved_bytes(direction, arithmetic.numpy_dtype(dtype).itemsize),
        rounds=len(measured.bursts[ours.name]),
        seconds=seconds,
        quartiles={name: list(measured.quartiles(name)) for name in measured.bursts},
        calls=measured.counts,
        gflops=flops / own / 1e9,
        peak_gflops=None if peak is None else peak / 1e9,
        share_of_peak=measured.share_of_peak(ours.name, flops, "multiply-adds"),
        matrix_peak_gflops=None if matrix_peak is None else matrix_peak / 1e9,
        share_of_matrix_unit=share_of_unit,
        best_peer=best,
        ratio=rivals[best] / own if best is not None else None,
        absent=comparison.absent,
        share_of_others=share_of_others,
    )
