"""Training for a given time, with a progress bar on a terminal and a way out by Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from types import FrameType, TracebackType
from typing import Any

import numpy as np

import homfast
from homfast.recovery.data import PatchSampler
from homfast.recovery.devices import Cpu
from homfast.recovery.estimators import Statistics, loss_weights

# Gain over the linear estimator after 150 000 samples (camera, seed 0): batches of 256 +0.96 dB,
# 512 +0.93, 1024 +0.68; after 600 000: +1.20, +1.19, +1.14. Smaller ones spend more time on Adam.
BATCH = 512
LEARNING_RATE = 2e-3
# Steps in which the learning rate rises: Adam's first ones are all of the same size and would undo
# the linear start. Without it a training of one second ends below the linear estimator.
_WARM_UP = 100


@dataclass
class Run:
    """How a training went."""

    steps: int
    seconds: float
    flops: float  # of the matrix products, 2 m n k each

    @property
    def samples_per_second(self) -> float:
        return self.steps * BATCH / self.seconds if self.seconds else 0.0

    @property
    def gflops(self) -> float:
        return self.flops / self.seconds * 1e-9 if self.seconds else 0.0


class Interruption:
    """In its context the first Ctrl-C asks training to end; a second one is a KeyboardInterrupt.

    Attributes
    ----------
    requested : bool
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        # Not sys.stderr: the handler may have come in the middle of a write to it.
        os.write(2, b"\nCtrl-C: finishing with what was trained so far; again to leave at once\n")


def train(
    net: homfast.ReLUNetwork,
    operator: Any,
    statistics: Statistics,
    sampler: PatchSampler,
    seconds: float,
    interruption: Interruption,
    label: str,
    device: Cpu,
) -> Run:
    """Train `net`, which takes whitened measurements and is on `device`, in place for `seconds`.

    The learning rate follows the clock: it falls to 0 along a cosine however fast the machine is.
    """
    whitening = statistics.whitening.T.astype(np.float32)
    scale = np.float32(statistics.residual_scale)
    start = time.perf_counter()

    def part() -> float:
        return (time.perf_counter() - start) / seconds

    def batches() -> Iterator[tuple[Any, Any]]:
        with _Bar(label, seconds) as bar:
            while part() < 1 and not interruption.requested:
                patches = sampler.draw(BATCH)
                details = operator.forward(patches)
                weights = loss_weights(details)
                inputs, targets = details @ whitening * weights, patches * (weights * scale)
                yield device.upload(inputs), device.upload(targets)
                bar.show(part() * seconds)

    def learning_rate(step: int) -> float:
        fall = 0.5 * (1 + np.cos(np.pi * min(part(), 1.0)))
        return LEARNING_RATE * min(1.0, (step + 1) / _WARM_UP) * fall

    history = homfast.fit(net, batches(), learning_rate=learning_rate)
    steps = len(history.loss)
    return Run(steps, time.perf_counter() - start, steps * _step_flops(net.widths))


def _step_flops(widths: tuple[int, ...]) -> float:
    """Of one step: forward, the weights' gradients, and the inputs' but for the first layer."""
    products = [2.0 * BATCH * a * b for a, b in pairwise(widths)]
    return 3 * sum(products) - products[0]


class _Bar:
    """A progress bar in seconds on standard error; nothing where that is no terminal."""

    def __init__(self, label: str, seconds: float):
        self._bar: Any = None
        if sys.stderr is not None and sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(
                total=seconds,
                desc=label,
                leave=False,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s",
            )

    def __enter__(self) -> _Bar:
        return self

    def show(self, seconds: float) -> None:
        if self._bar is not None:
            self._bar.update(min(seconds, self._bar.total) - self._bar.n)

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()
