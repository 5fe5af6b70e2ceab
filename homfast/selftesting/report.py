"""The report of a run, for people."""

from __future__ import annotations

from collections.abc import Iterable

from homfast.selftesting.cases import FAILED, NOT_RUN, Outcome
from homfast.selftesting.ideas import load

MOST_SHOWN = 5  # failures of an idea


class Tally:
    """Counts of an idea's cases as they are done."""

    def __init__(self, idea: str) -> None:
        self.idea = idea
        self.count = 0
        self.engines: set[str] = set()
        self.ratio: float | None = None
        self.failures: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """Count one, if it was run."""
        if outcome.status == NOT_RUN:
            return
        self.count += 1
        self.engines.add(outcome.case.engine)
        if outcome.status == FAILED:
            self.failures.append(outcome)
        elif outcome.ratio is not None:
            self.ratio = max(self.ratio or 0.0, outcome.ratio)

    def lines(self) -> Iterable[str]:
        """One line, and below it the first failures with what repeats them."""
        said = "ok" if self.count else "not run"
        if self.failures:
            said = f"{len(self.failures)} FAILED"
        worst = f" (largest error {self.ratio:.2g} of its bound)" if self.ratio is not None else ""
        yield f"{said:>10} {self.count:6,} {load(self.idea).TITLE}{worst}"
        for outcome in self.failures[:MOST_SHOWN]:
            yield f"           {outcome.message}"
            yield f"           homfast selftest --repro '{outcome.case.line()}'"
        if len(self.failures) > MOST_SHOWN:
            yield f"           and {len(self.failures) - MOST_SHOWN} more"
