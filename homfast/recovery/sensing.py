"""How a block is measured: its mean, and products of an operator with the block less its mean."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from homfast.recovery.devices import CPU, Cpu
from homfast.recovery.settings import Settings

Estimator = Callable[[np.ndarray], np.ndarray]  # rows (blocks, m - 1) -> (blocks, pixels)


class Measurements(NamedTuple):
    """What was measured of each block."""

    mean: np.ndarray  # (blocks, 1)
    detail: np.ndarray  # (blocks, m - 1)

    def scaled(self, factor: float) -> Measurements:
        """The measurements of the image times `factor`."""
        return Measurements(self.mean * np.float32(factor), self.detail * np.float32(factor))


class Sensor:
    """Measures blocks, and turns estimates back into blocks.

    Attributes
    ----------
    operator : a `homfast.measure` operator, shape (m - 1, pixels)
    """

    def __init__(self, settings: Settings, device: Cpu = CPU):
        from homfast import measure

        m, n = settings.measurements - 1, settings.pixels
        constructor: dict[str, Callable[..., measure.Operator]] = {
            "gaussian": measure.Gaussian,
            "rademacher": measure.Rademacher,
            "hadamard": measure.Hadamard,
            "sparse": functools.partial(measure.SparseSign, nonzeros_per_column=min(m, 8)),
            "cosine": measure.Cosine,
        }
        self.operator = constructor[settings.operator](m, n, seed=settings.seed)
        self._device = device
        try:  # before a network is trained
            self.measure(np.zeros((1, n), np.float32))
        except TypeError as error:
            raise RuntimeError(
                f"operator: {settings.operator} cannot be had on device {device.name} ({error}); "
                "use another operator, or --device cpu"
            ) from error

    def measure(self, blocks: np.ndarray) -> Measurements:
        """Measure rows of pixels, float32 (blocks, pixels)."""
        mean = blocks.mean(axis=1, keepdims=True, dtype=np.float32)
        detail = self.operator.forward(self._device.upload(blocks - mean))
        return Measurements(mean, self._device.download(detail))

    def recover(self, measurements: Measurements, estimator: Estimator) -> np.ndarray:
        """Blocks (blocks, pixels) from measurements: the mean plus the estimate of the rest.

        Nothing is clipped, so this map is as homogeneous as the estimator is.
        """
        return estimator(measurements.detail) + measurements.mean
