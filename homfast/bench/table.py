"""Rows as text, printed while the measurement runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from homfast.bench import ours
from homfast.bench.compare import Row, geometric_means

DISTURBED = 0.1  # share of the machine used by others beyond which figures are doubtful


class Column(NamedTuple):
    """A column of the printed table; a negative `width` aligns to the left."""

    title: str
    width: int
    cell: Callable[[Row], str]


def columns(first: str, *, matrix_unit: bool = False) -> list[Column]:
    """The usual columns; `first` is the title of the shapes."""
    unit = [Column("of unit", 7, lambda row: share(row.share_of_matrix_unit))]
    return [
        Column(first, -31, lambda row: row.label),
        Column("what", -9, lambda row: row.direction),
        Column("homfast us", 11, lambda row: microseconds(row, ours.name)),
        Column("GFLOP/s", 9, lambda row: f"{row.gflops:.1f}"),
        Column("of peak", 7, lambda row: share(row.share_of_peak)),
        *(unit if matrix_unit else []),
        Column(" best peer", -16, lambda row: f" {row.best_peer or 'none'}"),
        Column("its us", 11, lambda row: microseconds(row, row.best_peer)),
        Column("ratio", 8, lambda row: "" if row.ratio is None else f"{row.ratio:.2f}x"),
        Column(" ", -4, lambda row: " loss" if row.ratio is not None and row.ratio < 1 else ""),
    ]


def microseconds(row: Row, name: str | None) -> str:
    """The time of the contender `name`; nothing where it is not there."""
    return "" if name not in row.seconds else f"{row.seconds[name] * 1e6:.2f}"


def share(value: float | None) -> str:
    """A share in per cent."""
    return "" if value is None else f"{value:.0%}"


def header(chosen: Sequence[Column]) -> str:
    """The table's head, over a rule."""
    head = _line(chosen, [column.title for column in chosen])
    return f"{head}\n{'-' * len(head)}"


def text(chosen: Sequence[Column], row: Row) -> str:
    """One row, and whether other work disturbed it."""
    line = _line(chosen, [column.cell(row) for column in chosen])
    if row.share_of_others is not None and row.share_of_others > DISTURBED:
        line += f"  disturbed: others used {row.share_of_others:.0%} of the machine"
    return line


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


def disturbances(rows: Sequence[Row]) -> Iterable[str]:
    """A note if other work took part in the measurement."""
    disturbed = sum((row.share_of_others or 0) > DISTURBED for row in rows)
    if disturbed:
        yield f"NOTE: other work disturbed {disturbed} of {len(rows)} lines; measure again alone"


def _line(chosen: Sequence[Column], cells: Sequence[str]) -> str:
    aligned = (
        cell.ljust(-column.width) if column.width < 0 else cell.rjust(column.width)
        for column, cell in zip(chosen, cells, strict=True)
    )
    return " ".join(aligned).rstrip()
