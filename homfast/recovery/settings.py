"""What one run of the job is asked to do, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

OPERATORS = ("gaussian", "rademacher", "hadamard", "sparse", "cosine")
DEVICES = ("cpu", "cuda")
LARGEST_BLOCK = 32  # 1024 pixels a block; training beyond takes minutes to be of any use


@dataclass(frozen=True)
class Settings:
    """The arguments of ``homfast recover``.

    Attributes
    ----------
    image : Path or None
        None is the camera image of scikit-image.
    ratio : float
        Measurements a pixel, 0 < ratio <= 1.
    block : int
        Side of the blocks in pixels.
    seconds : float
        Training time of each network.
    seed : int
        Of the operator, the networks' start and the training patches.
    operator : str
        One of `OPERATORS`.
    device : str
        Where measurements, training and recovery are computed: one of `DEVICES`.

    Raises
    ------
    ValueError
        A value outside its range; the message names the argument.
    """

    image: Path | None = None
    ratio: float = 0.25
    block: int = 8
    seconds: float = 40.0
    seed: int = 0
    operator: str = "gaussian"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 2 <= self.block <= LARGEST_BLOCK:
            raise ValueError(
                f"block: got {self.block}, wanted a side of 2 to {LARGEST_BLOCK} pixels"
            )
        if not 0 < self.ratio <= 1:  # also refuses nan
            raise ValueError(f"ratio: got {self.ratio}, wanted a number above 0 and at most 1")
        if self.measurements < 2:
            raise ValueError(
                f"ratio: {self.ratio} of {self.pixels} pixels rounds to {self.measurements} "
                f"measurements a block, wanted at least 2; use a ratio of {2 / self.pixels:.3g} "
                "or more, or larger blocks"
            )
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ValueError(f"seconds: got {self.seconds}, wanted a finite number above 0")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"seed: got {self.seed}, wanted an integer from 0 to 2^64 - 1")
        if self.operator not in OPERATORS:
            raise ValueError(f"operator: got {self.operator!r}, wanted one of {OPERATORS}")
        if self.device not in DEVICES:
            raise ValueError(f"device: got {self.device!r}, wanted one of {DEVICES}")

    @property
    def pixels(self) -> int:
        """Pixels of a block."""
        return self.block * self.block

    @property
    def measurements(self) -> int:
        """Numbers measured of each block, its mean among them."""
        return round(self.ratio * self.pixels)
