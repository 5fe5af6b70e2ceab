"""One plain style for all figures."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

INK, SOFT = "#1b1f24", "#5b6570"
BLUE, ORANGE, GREEN, PURPLE, GRAY = "#1c6dd0", "#d9480f", "#2b8a3e", "#7048a8", "#8a939c"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, "#b08800", GRAY)

_RULES: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "normal",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6e9",
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "text.color": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "legend.fontsize": 8,
    "axes.axisbelow": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "figure.facecolor": "white",
}


def write(path: Path, title: str, draw: Callable[[Any], None]) -> None:
    """Draw and write a PNG. A figure of its own, without pyplot: no global state is touched."""
    import matplotlib
    from cycler import cycler
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rules: Any = {**_RULES, "axes.prop_cycle": cycler(color=CYCLE)}
    with matplotlib.rc_context(rules):
        figure = Figure(figsize=(9.0, 3.6), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, weight="bold")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    path.write_bytes(buffer.getvalue())


def panels(figure: Any, count: int, **options: Any) -> Any:
    """Panels side by side."""
    figure.set_size_inches(3.0 * max(count, 3), 3.6)
    return figure.subplots(1, count, squeeze=False, **options)[0]


def label(axis: Any, title: str, x: str, y: str, *, log: str = "", legend: bool = True) -> None:
    """Title and labels of an axis, logarithmic along those named in `log`, and its legend."""
    axis.set_title(title, loc="left")
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    if "x" in log:
        axis.set_xscale("log")
    if "y" in log:
        axis.set_yscale("log")
    if legend and axis.get_legend_handles_labels()[0]:
        axis.legend()


def counts(axis: Any, values: Any) -> None:
    """A logarithmic axis along x whose ticks are these numbers and no others."""
    axis.set_xscale("log")
    axis.set_xticks(values, [f"{value:g}" for value in values])
    axis.minorticks_off()


def bound_line(axis: Any, value: float, text: str, **options: Any) -> None:
    """A dashed horizontal line that the theory draws."""
    axis.axhline(
        value, **{"color": INK, "linestyle": "--", "linewidth": 1.1, **options}, label=text
    )
