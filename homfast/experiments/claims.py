"""What an experiment claims before it runs, and what became of the claim."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Claim:
    """A number to be measured and its bound: ``at_least <= value`` or ``value <= at_most``."""

    text: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"claim {self.text!r}: wanted at_least or at_most, one of them")

    @property
    def bound(self) -> float:
        """The number to compare with."""
        bound = self.at_most if self.at_least is None else self.at_least
        assert bound is not None
        return bound

    def judge(self, value: float) -> Verdict:
        """Compare; a value that is not a number fails."""
        holds = value <= self.bound if self.at_least is None else value >= self.bound
        return Verdict(self, float(value), holds and not math.isnan(value))


class Verdict(NamedTuple):
    """A claim, what was measured, and whether it holds."""

    claim: Claim
    value: float
    holds: bool

    def __str__(self) -> str:
        relation = "<=" if self.claim.at_least is None else ">="
        word = "holds" if self.holds else "fails"
        return f"{word}: {self.claim.text}: {self.value:.4g} {relation} {self.claim.bound:.4g}"


class Outcome(NamedTuple):
    """What an experiment returns.

    measured : by the keys of CLAIMS; numbers : what is drawn, for JSON; draw : onto a figure.
    """

    measured: Mapping[str, float]
    numbers: Mapping[str, Any]
    draw: Callable[[Any], None]
