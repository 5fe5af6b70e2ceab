"""Sizes that find errors: small ones often, and the neighbours of vectors and tiles."""

from __future__ import annotations

import numpy as np

NEAR = (8, 16, 32, 64, 128, 256)


def size(rng: np.random.Generator, largest: int, least: int = 1) -> int:
    """From `least` to `largest`: of any order of magnitude alike, or near a power of two."""
    if rng.random() < 0.3:
        chosen = int(rng.choice(NEAR)) + int(rng.integers(-1, 2))
    else:
        chosen = round(2 ** rng.uniform(0, np.log2(largest + 1))) - 1
    return int(min(max(chosen, least), largest))


def layer(rng: np.random.Generator, largest: int, least: int = 1) -> dict[str, int]:
    """Rows, features and columns of a layer."""
    return {name: size(rng, largest, least) for name in ("rows", "features", "columns")}


def widths(rng: np.random.Generator, largest: int, layers: int = 4) -> list[int]:
    """Of a network of 1 to `layers` layers."""
    return [size(rng, largest) for _ in range(int(rng.integers(2, layers + 2)))]
