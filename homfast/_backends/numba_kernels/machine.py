"""What the processor that Numba compiles for has, and the tile sizes that follow from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba.core.registry import cpu_target


class Machine(NamedTuple):
    """One processor, as the compiler sees it: NUMBA_CPU_NAME and NUMBA_CPU_FEATURES count."""

    vector_bytes: int
    registers: int
    fused: bool  # whether one instruction multiplies and adds


class Tile(NamedTuple):
    """What the innermost loop keeps in registers."""

    rows: int
    vectors: int
    lanes: int

    @property
    def columns(self) -> int:
        """Of a tile, and of a panel: a multiple of 8, so that no two tiles share a mask byte."""
        return self.vectors * self.lanes


def compiled_for() -> Machine:
    """The processor that kernels are compiled for."""
    triple, _, text = cpu_target.target_context.codegen().magic_tuple()
    features = {word[1:] for word in text.split(",") if word.startswith("+")}
    if triple.startswith(("aarch64", "arm64")):
        return Machine(16, 32, True)
    if "avx512f" in features:
        return Machine(64, 32, True)
    if "avx2" in features:
        return Machine(32, 16, "fma" in features)
    return Machine(16, 16, "fma" in features)


def tile_of(machine: Machine, dtype: np.dtype) -> Tile:
    """The tile whose sums, with a row of B and a broadcast element of A, fit the registers."""
    lanes = machine.vector_bytes // dtype.itemsize
    if machine.vector_bytes == 16:
        return Tile(6 if machine.registers == 32 else 3, 4, lanes)
    return Tile(12 if machine.registers == 32 else 6, 2, lanes)
