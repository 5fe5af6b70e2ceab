"""Convolutional ReLU layers that lose nothing of an image."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import homfast
from homfast.experiments import data, style
from homfast.experiments.claims import Claim, Outcome
from homfast.experiments.lab import Lab
from homfast.injectivity import injective_filters, is_injective_convolution

TITLE = "Convolutions with filters [C; -DC] can be undone"
CLAIMS = {
    "recovered": Claim("largest relative error of an image from its rectified maps", at_most=1e-10),
    "proved": Claim("share of constructed and printed examples proved injective", at_least=1.0),
    "counted": Claim("proofs for fewer placements than 2 prod(box)", at_most=0.0),
}
_SIZE = (2, 2)


def run(lab: Lab) -> Outcome:
    """Two photographs through one layer and back; random filters of growing number."""
    filters = injective_filters(_SIZE, seed=lab.seed)
    images = {"camera": data.camera()[::2, ::2], "MRI": data.mri()}
    recovered, halved, errors = {}, {}, {}
    for name, image in images.items():
        recovered[name] = _back(image, filters, twins=True)
        halved[name] = _back(image, filters, twins=False)
        errors[name] = [
            float(np.linalg.norm(each[name] - image) / np.linalg.norm(image))
            for each in (recovered, halved)
        ]
    examples = [
        is_injective_convolution(injective_filters(size, seed=lab.seed), size).decision
        for size in ((2,), (3,), (2, 2), (3, 3), (2, 2, 2))
    ]
    wide = np.array([[1.0, 0, -1], [1, 0, 1]])
    examples.append(is_injective_convolution(np.vstack([wide, -wide]), (4,)).decision)
    numbers_of = list(range(2, 21, 2))
    shares: dict[str, list[float]] = {}
    false = 0
    for box in ((2, 2), (2, 3)):
        shares[f"{box[0]} x {box[1]}"] = []
        placements = np.prod([b - s + 1 for b, s in zip(box, _SIZE, strict=True)])
        for count in numbers_of:
            lab.note(f"{count} random filters, box {box}")
            proved = 0
            for _ in range(10):
                drawn = lab.generator.standard_normal((count, *_SIZE))
                decision = is_injective_convolution(drawn, box).decision
                proved += bool(decision)
                false += int(bool(decision) and count * placements < 2 * np.prod(box))
            shares[f"{box[0]} x {box[1]}"].append(proved / 10)
    measured = {
        "recovered": max(error[0] for error in errors.values()),
        "proved": float(np.mean([bool(each) for each in examples])),
        "counted": float(false),
    }
    numbers = {"errors": errors, "filters": numbers_of, "shares": shares}

    def draw(figure: Any) -> None:
        figure.set_size_inches(12.0, 3.6)
        grid = figure.add_gridspec(1, 5, width_ratios=(1.6, 1, 1, 1, 1))
        axis = figure.add_subplot(grid[0])
        for name, values in shares.items():
            axis.plot(numbers_of, values, "o-", label=f"box {name}")
        axis.axvline(8, color=style.INK, ls="--", lw=1.1, label="2 prod(box), box 2 x 2")
        style.label(axis, "Random 2 x 2 filters", "filters", "share proved injective")
        axis.set_ylim(-0.03, 1.03)
        axis.set_xticks(range(0, 21, 4))
        axis.legend(loc="upper left")
        shown = [(recovered[k], f"{k} from [C; -DC]") for k in images]
        shown += [(halved[k], f"{k} from C alone") for k in images]
        wrong = [errors[k][0] for k in images] + [errors[k][1] for k in images]
        for column, ((image, title), error) in enumerate(zip(shown, wrong, strict=True)):
            place = figure.add_subplot(grid[1 + column])
            place.imshow(image, cmap="gray", vmin=0, vmax=1)
            place.set_title(title, loc="left", fontsize=9)
            place.set_xlabel(f"relative error {error:.1e}")
            place.set_xticks([])
            place.set_yticks([])
            place.grid(False)

    return Outcome(measured, numbers, draw)


def _back(image: np.ndarray, filters: np.ndarray, *, twins: bool) -> np.ndarray:
    """Through the layer, with or without the negative twins of the filters, and back."""
    size = filters.shape[1:]
    patches = np.lib.stride_tricks.sliding_window_view(image, size)
    rows = patches.reshape(-1, int(np.prod(size)))
    bank = filters.reshape(len(filters), -1)
    half = len(bank) // 2
    # Patches less the global mean, which no filter of one sign could hide.
    maps = homfast.linear_relu(np.ascontiguousarray(rows) - image.mean(), bank)
    signed = maps[:, :half]
    if twins:
        scale = np.linalg.norm(bank[half:], axis=1)
        signed = signed - maps[:, half:] / scale
    found = (signed @ bank[:half] + image.mean()).reshape(*patches.shape)
    total, count = np.zeros_like(image), np.zeros_like(image)
    for i, j in itertools.product(*map(range, size)):
        window = (slice(i, i + patches.shape[0]), slice(j, j + patches.shape[1]))
        total[window] += found[:, :, i, j]
        count[window] += 1
    return total / count
