"""Rows as text, printed while the measurement runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from homfast.bench import ours
from homfast.bench.compare import Row, geometric_means

_FORMAT = "{:<31} {:<9} {:>11} {:>9} {:>7}  {:<15} {:>11} {:>8}"


def header(column: str) -> str:
    """The table's head, over a rule."""
    head = _FORMAT.format(
        column, "what", "homfast us", "GFLOP/s", "of peak", "best peer", "its us", "ratio"
    )
    return f"{head}\n{'-' * len(head)}"


def text(row: Row) -> str:
    """One row; a ratio below one is marked as a loss."""
    peer = row.best_peer or "none"
    peer_time = f"{row.seconds[row.best_peer] * 1e6:.2f}" if row.best_peer else ""
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    line = _FORMAT.format(
        row.label,
        row.direction,
        f"{row.seconds[ours.name] * 1e6:.2f}",
        f"{row.gflops:.1f}",
        "" if row.share_of_peak is None else f"{row.share_of_peak:.0%}",
        peer,
        peer_time,
        ratio,
    )
    return f"{line}  loss" if row.ratio is not None and row.ratio < 1 else line.rstrip()


def summary(rows: Sequence[Row]) -> Iterable[str]:
    """Geometric means, least ratios and losses, a line a direction."""
    for direction, mean in geometric_means(rows).items():
        ratios = {
            r.label: r.ratio for r in rows if r.direction == direction and r.ratio is not None
        }
        least = min(ratios, key=lambda label: ratios[label])
        losses = sum(ratio < 1 for ratio in ratios.values())
        yield (
            f"{direction}: geometric mean {mean:.2f}x over {len(ratios)} shapes, least "
            f"{ratios[least]:.2f}x at {least}, {losses} below 1"
        )
