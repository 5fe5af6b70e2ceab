"""What an experiment works with: seed, time budget, training by the clock, progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import homfast


def always(inputs: Any, targets: Any) -> Callable[[np.random.Generator], tuple[Any, Any]]:
    """A `draw` for `Lab.train` that gives the same batch every time."""
    return lambda _: (inputs, targets)


class Lab:
    """One run of one experiment.

    Attributes
    ----------
    seed : int
    seconds : float
        What trainings and searches may take together, by their shares of it.
    generator : numpy.random.Generator
    """

    def __init__(self, name: str, seconds: float, seed: int):
        self.name, self.seconds, self.seed = name, seconds, seed
        self.generator = np.random.default_rng([seed, *name.encode()])
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._shown, self._trained = 0.0, 0

    def note(self, text: str) -> None:
        """Show on a terminal what is being done; nothing elsewhere."""
        now = time.perf_counter()
        if self._terminal and now - self._shown > 0.1:
            self._shown = now
            sys.stderr.write(f"\r\033[K{self.name}: {text}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the note back."""
        if self._terminal:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def clock(self, share: float) -> Callable[[], float]:
        """A function that tells how much of `share` of the budget is spent, 0 at first."""
        start, budget = time.perf_counter(), share * self.seconds
        return lambda: (time.perf_counter() - start) / budget

    def train(
        self,
        net: homfast.ReLUNetwork,
        draw: Callable[[np.random.Generator], tuple[Any, Any]],
        *,
        share: float,
        least: int = 20,
        most: int = 100_000,
        learning_rate: float = 3e-3,
        label: str = "network",
    ) -> np.ndarray:
        """Train in place by `homfast.fit` on batches of `draw` for a share of the budget.

        `draw` gets a generator of its own, so that what is drawn later does not hang on how many
        steps there were. At least `least` steps are taken, which claims may count on however slow
        the machine is. The rate falls to 0 along a cosine by the clock, or by the steps where
        those are fewer.

        Returns
        -------
        array of float64
            The loss of each step.
        """
        spent = self.clock(share)
        taken = 0
        self._trained += 1
        generator = np.random.default_rng([self.seed, *self.name.encode(), self._trained])

        def part(step: int) -> float:
            by_clock = min(spent(), step / least)  # the first `least` steps are always taken
            return min(1.0, max(by_clock, step / most))

        def batches() -> Iterator[tuple[Any, Any]]:
            nonlocal taken
            while part(taken) < 1.0:
                yield draw(generator)
                taken += 1
                self.note(f"{label}, step {taken}, {min(spent(), 1.0):.0%} of its time")

        def rate(step: int) -> float:
            warm = min(1.0, (step + 1) / 20)
            return learning_rate * warm * 0.5 * (1 + np.cos(np.pi * part(step)))

        return homfast.fit(net, batches(), learning_rate=rate).loss
