"""Sizes that find errors: small ones often, and the neighbours of vectors and tiles."""

from __future__ import annotations

import numpy as np

NEAR = (8, 16, 32, 64, 128, 256)
WORK_OF_A_THREAD = 400_000  # multiply-adds: kMultiplyAddsPerThread of csrc/core/parallel.cpp
MOST = 4096
SHORT = 200  # largest sizes up to this are those of the short form


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


def busy_layer(
    rng: np.random.Generator, largest: int, threads: int, scale: int = 1
) -> dict[str, int]:
    """Of a layer with work for so many threads, in four of five draws; else `layer`.

    Each size is of any order of magnitude alike: few rows of wide layers too. In the short form,
    which has seconds, there is work for two threads in one draw of three.
    """
    short, largest = largest <= SHORT, scale * largest
    if rng.random() < (2 / 3 if short else 1 / 5):
        return layer(rng, largest)
    threads = 2 if short else threads
    work = threads * WORK_OF_A_THREAD * 2 ** rng.uniform(0, 1.5)
    first, second = (2 ** rng.uniform(0, np.log2(largest)) for _ in range(2))
    second = max(second, work / (first * MOST))
    shape = [int(np.ceil(n)) for n in (first, second, work / (first * second))]
    names = rng.permutation(["rows", "features", "columns"]).tolist()
    return dict(zip(names, shape, strict=True))


def threads_worth(rows: int, features: int, columns: int) -> int:
    """How many threads the native extension takes for a product, if it may."""
    return rows * features * columns // WORK_OF_A_THREAD
