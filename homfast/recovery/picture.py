"""The picture: the image, what each estimator recovers, a detail of each, and where they err."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from homfast.recovery.job import LABELS, NAMES, Outcome
from homfast.recovery.report import setting

_COLUMN, _GAP, _LEFT, _RIGHT, _TOP = 2.9, 0.11, 0.45, 0.15, 1.35  # inches
_INK, _SOFT, _ACCENT = "#1b1f24", "#5b6570", "#d9480f"


def supported_formats() -> tuple[str, ...]:
    """File name extensions that the picture can be written as."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    return tuple(sorted(FigureCanvasAgg(Figure()).get_supported_filetypes()))


def write_picture(outcome: Outcome, path: Path) -> None:
    """Draw the outcome and write it to `path` in the format of its extension (PNG without one)."""
    # A figure of its own, without pyplot: no window system is asked, no global state is touched.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = outcome.original.shape
    image_row = float(np.clip(height / width, 0.4, 1.6)) * _COLUMN
    rows = (image_row, _COLUMN, image_row)
    size = (_LEFT + 5 * _COLUMN + 4 * _GAP + _RIGHT, _TOP + sum(rows) + 2 * _GAP + _RIGHT)
    figure = Figure(figsize=size, dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        3,
        5,
        height_ratios=rows,
        left=_LEFT / size[0],
        right=1 - _RIGHT / size[0],
        top=1 - _TOP / size[1],
        bottom=_RIGHT / size[1],
        wspace=_GAP / _COLUMN,
        hspace=3 * _GAP / sum(rows),
    )
    axes = [[figure.add_subplot(grid[row, column]) for column in range(5)] for row in range(3)]
    for axis in (axis for row in axes for axis in row):
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_visible(False)
    _heading(figure, outcome, size)
    _images(axes, outcome)
    _errors(figure, axes[2], outcome)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower() or "png")
    path.write_bytes(buffer.getvalue())


def _heading(figure, outcome: Outcome, size: tuple[float, float]) -> None:
    settings = outcome.settings
    title = (
        f"{outcome.name}: {settings.measurements} measurements for {settings.pixels} pixels, "
        "recovered by bias-free ReLU networks"
    )
    text = (
        f"{setting(settings)}. Each network trained for {settings.seconds:g} s on "
        f"{len(outcome.training_images)} other images"
    )
    if outcome.interrupted:
        trained = [f"{outcome.runs[n].seconds:.0f} s" for n in NAMES[2:]]
        text += f", interrupted (one hidden layer: {trained[0]}, two: {trained[1]})"
    left = _LEFT / size[0]
    for below, line, style in (
        (0.38, title, {"fontsize": 16, "weight": "bold", "color": _INK}),
        (0.70, text, {"fontsize": 10.5, "color": _SOFT}),
    ):
        figure.text(left, 1 - below / size[1], line, va="center", **style)


def _images(axes, outcome: Outcome) -> None:
    from matplotlib.patches import Rectangle

    window = _detail_window(outcome)
    shown = {"original": outcome.original, **outcome.recovered}
    best = max(NAMES, key=lambda name: outcome.psnr[name])
    for column, (name, image) in enumerate(shown.items()):
        levels = {"cmap": "gray", "vmin": 0, "vmax": 255}
        axes[0][column].imshow(image, interpolation="antialiased", **levels)
        axes[1][column].imshow(image[window], interpolation="nearest", **levels)
        if name == "original":
            title = f"original, {image.shape[1]} x {image.shape[0]}"
        else:
            quality = f"{outcome.psnr[name]:.2f} dB, SSIM {outcome.ssim[name]:.3f}"
            title = f"{LABELS[name]}\n{quality}"
        axes[0][column].set_title(
            title,
            fontsize=11,
            linespacing=1.35,
            color=_ACCENT if name == best else _INK,
            weight="bold" if name == best else "normal",
        )
    vertical, horizontal = window
    frame = Rectangle(
        (horizontal.start - 0.5, vertical.start - 0.5),
        horizontal.stop - horizontal.start,
        vertical.stop - vertical.start,
        fill=False,
        edgecolor=_ACCENT,
        linewidth=1.6,
    )
    axes[0][0].add_patch(frame)
    axes[0][0].set_ylabel("image", fontsize=11, color=_SOFT)
    axes[1][0].set_ylabel("detail", fontsize=11, color=_SOFT)


def _errors(figure, axes, outcome: Outcome) -> None:
    errors = {name: np.abs(outcome.recovered[name] - outcome.original) for name in NAMES}
    # One scale for all, at a percentile: a single bright pixel should not turn the rest black.
    limit = max(1.0, float(np.percentile(errors["linear"], 99.5)))
    for axis, error in zip(axes[1:], errors.values(), strict=True):
        drawn = axis.imshow(error, cmap="inferno", vmin=0, vmax=limit, interpolation="antialiased")
        axis.text(
            0.02,
            0.975,
            f"mean {error.mean():.2f}",
            transform=axis.transAxes,
            va="top",
            fontsize=10,
            color="white",
            bbox={"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 2.5},
        )
    first = axes[0]
    place = first.inset_axes((0.10, 0.30, 0.80, 0.07))
    bar = figure.colorbar(drawn, cax=place, orientation="horizontal", extend="max")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9, colors=_SOFT, length=2)
    bar.set_label("absolute error, gray levels of 255", fontsize=9.5, color=_SOFT)
    verdict = "f(2y) = 2 f(y), to the bit" if outcome.homogeneous else "f(2y) differs from 2 f(y)"
    gain = outcome.psnr["two_hidden"] - outcome.psnr["linear"]
    lines = [verdict]
    if np.isfinite(gain):
        lines.insert(0, f"two hidden layers: {gain:+.2f} dB\nover the linear estimator")
    first.text(
        0.5,
        0.72,
        "\n\n".join(lines),
        transform=first.transAxes,
        ha="center",
        va="center",
        fontsize=11,
        color=_INK,
        linespacing=1.35,
    )


def _detail_window(outcome: Outcome) -> tuple[slice, slice]:
    """The square with the steepest edges in the original, a quarter of the shorter side wide."""
    image = outcome.original
    shorter = min(image.shape)
    side = min(shorter, max(16, shorter // 4))
    # Squares: edges, where estimators differ, count more than grass.
    steep = np.diff(image, axis=0, append=image[-1:]) ** 2
    steep += np.diff(image, axis=1, append=image[:, -1:]) ** 2
    sums = np.pad(steep, ((1, 0), (1, 0))).cumsum(0, np.float64).cumsum(1)
    within = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    y, x = np.unravel_index(int(within.argmax()), within.shape)
    return slice(int(y), int(y) + side), slice(int(x), int(x) + side)
