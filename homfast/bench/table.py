"""Rows as text, printed while the measurement runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from homfast.bench import ours
from homfast.bench.compare import Row, geometric_means

DISTURBED = 0.1  # share of the machine used by others beyond which figures are doubtful
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
    remarks = ["loss"] if row.ratio is not None and row.ratio < 1 else []
    if row.share_of_others is not None and row.share_of_others > DISTURBED:
        remarks.append(f"disturbed: others used {row.share_of_others:.0%} of the machine")
    return f"{line}  {', '.join(remarks)}".rstrip()


def summary(rows: Sequence[Row]) -> Iterable[str]:
    """Geometric means, least ratios and losses, a line a direction."""
    for direction, mean in geometric_means(rows).items():
        chosen = [row for row in rows if row.direction == direction]
        ratios = {row.label: row.ratio for row in chosen if row.ratio is not None}
        least = min(ratios, key=lambda label: ratios[label])
        losses = sum(ratio < 1 for ratio in ratios.values())
        yield (
            f"{direction}: geometric mean {mean:.2f}x over {len(ratios)} shapes, least "
            f"{ratios[least]:.2f}x at {least}, {losses} below 1"
        )
    disturbed = sum((row.share_of_others or 0) > DISTURBED for row in rows)
    if disturbed:
        yield f"NOTE: other work disturbed {disturbed} of {len(rows)} lines; measure again alone"
