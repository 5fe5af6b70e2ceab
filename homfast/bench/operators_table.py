"""The lines of ``homfast bench operators`` as text, printed while the measurement runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from homfast.bench import ours
from homfast.bench.interleaved import Measured
from homfast.bench.operators_cases import Comparison, Task
from homfast.bench.table import DISTURBED

_FORMAT = "{:<30} {:<38} {:<12} {:>10}  {:<22} {:>9} {:>8} {:>8} {:>9}"


@dataclass(frozen=True)
class Row:
    """One line. Times are medians over the rounds, in seconds a call.

    ``ratio`` is the best peer's time over ours; ``share_of_copy`` the bytes that any
    implementation moves, over the time, over what a copy of large arrays reaches (more than 1 in
    caches); ``extra_bytes`` the memory of our product on the fly; ``share_of_others`` the part of
    the machine that other processes used meanwhile.
    """

    operator: str
    size: str
    product: str
    rounds: int
    seconds: dict[str, float]
    quartiles: dict[str, list[float]]
    calls: dict[str, int]
    best_peer: str | None
    ratio: float | None
    share_of_copy: float | None
    extra_bytes: int | None
    absent: dict[str, str]
    share_of_others: float | None

    def as_dict(self) -> dict[str, Any]:
        """For the JSON file."""
        return asdict(self)


def row(
    task: Task,
    comparison: Comparison,
    measured: Measured,
    *,
    bandwidth: float,
    extra_bytes: int | None,
    share_of_others: float | None,
) -> Row:
    """The line of a measured task; `bandwidth` in bytes a second."""
    seconds = {name: measured.median(name) for name in measured.bursts}
    own = seconds[ours.name]
    rivals = {name: value for name, value in seconds.items() if name != ours.name}
    best = min(rivals, key=lambda name: rivals[name]) if rivals else None
    moved = comparison.moved_bytes
    return Row(
        operator=task.operator,
        size=task.size,
        product=task.product,
        rounds=len(measured.bursts[ours.name]),
        seconds=seconds,
        quartiles={name: list(measured.quartiles(name)) for name in measured.bursts},
        calls=measured.counts,
        best_peer=best,
        ratio=rivals[best] / own if best is not None else None,
        share_of_copy=None if moved is None else moved / own / bandwidth,
        extra_bytes=extra_bytes,
        absent=comparison.absent,
        share_of_others=share_of_others,
    )


def header() -> str:
    """The table's head, over a rule."""
    titles = ("operator", "size", "product", "homfast ms", "best peer", "its ms", "ratio")
    head = _FORMAT.format(*titles, "of copy", "extra MB")
    return f"{head}\n{'-' * len(head)}"


def text(row: Row) -> str:
    """One row; a ratio below one is marked as a loss."""
    line = _FORMAT.format(
        row.operator,
        row.size,
        row.product,
        f"{row.seconds[ours.name] * 1e3:.4g}",
        row.best_peer or "none",
        f"{row.seconds[row.best_peer] * 1e3:.4g}" if row.best_peer else "",
        "" if row.ratio is None else f"{row.ratio:.2f}x",
        "" if row.share_of_copy is None else f"{row.share_of_copy:.0%}",
        "" if row.extra_bytes is None else f"{row.extra_bytes / 1e6:.1f}",
    )
    remarks = ["loss"] if row.ratio is not None and row.ratio < 1 else []
    if row.share_of_others is not None and row.share_of_others > DISTURBED:
        remarks.append(f"disturbed: others used {row.share_of_others:.0%} of the machine")
    return f"{line}  {', '.join(remarks)}".rstrip()


def summary(rows: Sequence[Row]) -> Iterable[str]:
    """How many losses there are, and how many disturbed lines."""
    ratios = [row.ratio for row in rows if row.ratio is not None]
    yield f"{len(rows)} lines, {sum(ratio < 1 for ratio in ratios)} of {len(ratios)} ratios below 1"
    disturbed = sum((row.share_of_others or 0) > DISTURBED for row in rows)
    if disturbed:
        yield f"NOTE: other work disturbed {disturbed} of {len(rows)} lines; measure again alone"
