"""A roofline plot: what each shape reaches under the measured roofs of the machine."""

from __future__ import annotations

import importlib
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any


def figure_class() -> Any:
    """Matplotlib's figure class, drawing to files; ImportError names the extra."""
    try:
        return importlib.import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise ImportError("--plot needs matplotlib; install homfast[bench]") from error


def draw(path: str, rows: Sequence[Mapping[str, Any]], bandwidth: float, title: str) -> None:
    """Write the plot.

    Parameters
    ----------
    path : str
        Its suffix chooses the format.
    rows : sequence of mapping
        As in the JSON file: `flops`, `bytes`, `gflops`, `direction`, `label`, `peak_gflops`,
        `matrix_peak_gflops`, `seconds`, `best_peer`.
    bandwidth : float
        Bytes a second of the copy roof.
    title : str
    """
    figure = figure_class()(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    intensities = [row["flops"] / row["bytes"] for row in rows]
    peaks = [row["peak_gflops"] for row in rows if row["peak_gflops"]]
    low, high = min(intensities) / 2, max(intensities) * 2
    gigabytes = bandwidth / 1e9
    if peaks:
        peak = statistics.median(peaks)
        ridge = peak / gigabytes
        axes.plot(
            [low, ridge, max(high, 2 * ridge)],
            [low * gigabytes, peak, peak],
            color="black",
            label=f"roofs: {peak:.0f} GFLOP/s, {gigabytes:.0f} GB/s of memory (caches give more)",
        )
    units = [row["matrix_peak_gflops"] for row in rows if row.get("matrix_peak_gflops")]
    if units:
        unit = statistics.median(units)
        axes.axhline(
            unit, color="gray", linestyle="--", label=f"matrix unit: {unit:.0f} GFLOP/s in bf16"
        )
    directions = dict.fromkeys(row["direction"] for row in rows)
    for direction, color in zip(directions, ("C0", "C1"), strict=False):
        chosen = [r for r in rows if r["direction"] == direction]
        x = [r["flops"] / r["bytes"] for r in chosen]
        axes.plot(x, [r["gflops"] for r in chosen], "o", color=color, label=f"homfast {direction}")
        with_peer = [r for r in chosen if r["best_peer"]]
        axes.plot(
            [r["flops"] / r["bytes"] for r in with_peer],
            [r["flops"] / r["seconds"][r["best_peer"]] / 1e9 for r in with_peer],
            "x",
            color=color,
            label=f"best peer {direction}",
        )
        for row, position in zip(chosen, x, strict=True):
            axes.annotate(
                row["label"],
                (position, row["gflops"]),
                fontsize=6,
                xytext=(3, 3),
                textcoords="offset points",
            )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="operations a byte of operands and results",
        ylabel="GFLOP/s",
    )
    axes.set_title(textwrap.fill(title, 110), fontsize=8)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    figure.savefig(path, dpi=150)
