"""What a run found as a table for people and as an object for programs."""

from __future__ import annotations

import math
from typing import Any

import homfast.config
from homfast.recovery import training
from homfast.recovery.job import LABELS, NAMES, Outcome
from homfast.recovery.settings import Settings


def setting(settings: Settings) -> str:
    """The measurement in words."""
    side = settings.block
    return (
        f"{side} x {side} blocks, {settings.measurements} of {settings.pixels} numbers measured of "
        f"each ({settings.operator}, seed {settings.seed}){_where(settings)}"
    )


def _where(settings: Settings) -> str:
    return "" if settings.device == "cpu" else f", on {settings.device}"


def table(outcome: Outcome) -> str:
    """Quality and speed, ready to print."""
    lines = [f"{'':26}{'PSNR':>9}{'gain':>12}{'SSIM':>9}"]
    for name in NAMES:
        gain = outcome.psnr[name] - outcome.psnr["linear"]
        # inf - inf: both are exact
        gain_text = f"{gain:+.2f} dB" if math.isfinite(gain) else ""
        lines.append(
            f"{LABELS[name]:26}{outcome.psnr[name]:6.2f} dB{gain_text:>12}{outcome.ssim[name]:9.4f}"
        )
    lines.append("")
    if outcome.interrupted:
        lines.append(f"{'interrupted':16}{_what_was_trained(outcome)}")
    two = outcome.runs["two_hidden"]
    peak = outcome.peak_gflops
    share = f"{two.gflops / peak:.0%} of the measured peak {peak:.0f}" if peak else "peak n/a"
    lines.append(
        f"{'training':16}{two.samples_per_second:,.0f} samples/s, {two.gflops:.1f} GFLOP/s, "
        f"{share} (two hidden layers)"
    )
    per_second = outcome.blocks_per_second
    lines.append(
        f"{'reconstruction':16}{per_second:,.0f} blocks/s, "
        f"{per_second / outcome.blocks:,.1f} images/s of this size"
    )
    yes = "yes, each network and the whole image" if outcome.homogeneous else "NO"
    lines.append(f"{'homogeneous':16}f(2y) == 2 f(y) to the bit: {yes}")
    return "\n".join(lines)


def _what_was_trained(outcome: Outcome) -> str:
    parts = []
    for name, run in outcome.runs.items():
        label = LABELS[name]
        if run.steps:
            parts.append(f"{label} trained for {run.seconds:.1f} of {outcome.settings.seconds:g} s")
        else:
            parts.append(f"{label} not trained, it is the linear estimator that it starts from")
    return "; ".join(parts)


def json_object(outcome: Outcome) -> dict[str, Any]:
    """The same as an object; numbers that JSON lacks (inf, nan) are None."""
    settings = outcome.settings
    two = outcome.runs["two_hidden"]
    peak = outcome.peak_gflops
    return {
        "psnr": {name: _number(outcome.psnr[name]) for name in NAMES},
        "ssim": {name: _number(outcome.ssim[name]) for name in NAMES},
        "training_samples_per_second": two.samples_per_second,
        "reconstruction_blocks_per_second": outcome.blocks_per_second,
        "reconstruction_images_per_second": outcome.blocks_per_second / outcome.blocks,
        "gflops": two.gflops,
        "measured_peak_gflops": peak,
        "share_of_peak": two.gflops / peak if peak else None,
        "homogeneous_to_the_bit": outcome.homogeneous,
        "seconds": settings.seconds,
        "interrupted": outcome.interrupted,
        "training": {
            name: {"hidden": outcome.widths[name], "steps": run.steps, "seconds": run.seconds}
            for name, run in outcome.runs.items()
        },
        "config": {
            "image": outcome.name,
            "shape": outcome.original.shape,
            "ratio": settings.ratio,
            "block": settings.block,
            "measurements": settings.measurements,
            "operator": settings.operator,
            "device": settings.device,
            "seed": settings.seed,
            "batch": training.BATCH,
            "learning_rate": training.LEARNING_RATE,
            "training_images": outcome.training_images,
            "homfast": homfast.config.config(),
        },
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
