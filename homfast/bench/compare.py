"""From a shape to a row of the table: build the contenders, check them, let them take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from homfast.bench import interleaved, ours
from homfast.bench.cases import Case
from homfast.bench.interleaved import Contender, Measured
from homfast.bench.machine import OtherWork
from homfast.bench.peak import measured_peak
from homfast.bench.peers import PeerUnavailable


@dataclass(frozen=True)
class Comparison:
    """Checked contenders of one operation; ``absent`` tells why a peer is not among them."""

    case: Case
    direction: str
    contenders: list[Contender]
    absent: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One line of the table. Times are medians over the rounds, in seconds a call.

    ``share_of_others`` is the part of the machine that other processes used meanwhile.
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
) -> tuple[list[Contender], dict[str, str]]:
    """homfast's contender and the peers' for `operation`, each checked on one result.

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
    for maker in (ours, *peers):
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


def run(
    kind: ModuleType,
    cases: Sequence[Case],
    dtype: str,
    peers: Sequence[Any],
    settings: Settings,
) -> Iterable[Row]:
    """Measure `cases` in all directions of `kind`, and yield rows as they are done.

    Parameters
    ----------
    kind : module
        ``homfast.bench.layers``, ``networks`` or ``training``.
    cases : sequence of LayerCase or NetworkCase
    dtype : {"float32", "float64"}
    peers : sequence
        From ``homfast.bench.peers.load_all``.
    settings : Settings

    Yields
    ------
    Row
    """
    end = None if settings.seconds is None else time.perf_counter() + settings.seconds
    tasks = [(case, direction) for case in cases for direction in kind.DIRECTIONS]
    for position, (case, direction) in enumerate(tasks):
        comparison = kind.comparison(case, direction, dtype, peers)
        deadline = None
        if end is not None:
            now = time.perf_counter()
            deadline = now + (end - now) / (len(tasks) - position)
        others = OtherWork()
        measured = interleaved.measure(
            comparison.contenders,
            rounds=settings.rounds,
            burst=settings.burst,
            pause=settings.pause,
            deadline=deadline,
            between=lambda: measured_peak(dtype),
        )
        yield _row(comparison, measured, np.dtype(dtype).itemsize, others.share())


def geometric_means(rows: Iterable[Row]) -> dict[str, float]:
    """Geometric mean over the shapes of the ratio to the best peer, by direction."""
    ratios: dict[str, list[float]] = {}
    for row in rows:
        if row.ratio is not None:
            ratios.setdefault(row.direction, []).append(row.ratio)
    return {direction: statistics.geometric_mean(values) for direction, values in ratios.items()}


def _row(comparison: Comparison, measured: Measured, itemsize: int, others: float | None) -> Row:
    case, direction = comparison.case, comparison.direction
    flops = case.flops(direction)
    seconds = {name: measured.median(name) for name in measured.bursts}
    own = seconds[ours.name]
    rivals = {name: value for name, value in seconds.items() if name != ours.name}
    best = min(rivals, key=lambda name: rivals[name]) if rivals else None
    return Row(
        label=case.label,
        case=[list(size) if isinstance(size, tuple) else size for size in case],
        direction=direction,
        flops=flops,
        bytes=case.moved_bytes(direction, itemsize),
        rounds=len(measured.bursts[ours.name]),
        seconds=seconds,
        quartiles={name: list(measured.quartiles(name)) for name in measured.bursts},
        calls=measured.counts,
        gflops=flops / own / 1e9,
        peak_gflops=statistics.median(measured.peaks) / 1e9 if measured.peaks else None,
        share_of_peak=measured.share_of_peak(ours.name, flops),
        best_peer=best,
        ratio=rivals[best] / own if best is not None else None,
        absent=comparison.absent,
        share_of_others=others,
    )
