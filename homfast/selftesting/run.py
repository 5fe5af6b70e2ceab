"""A run of the cases for a given time."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from homfast._version import __version__
from homfast.selftesting import report
from homfast.selftesting.cases import FAILED, NOT_RUN, Outcome, cases, run
from homfast.selftesting.engines import Engine, absent, engines
from homfast.selftesting.ideas import IDEAS

SECONDS = 10.0
LARGEST = 130
# The long form: cases of an idea, at least, and their sizes.
FULL = {
    "bounds": 200_000,
    "exact_integers": 50_000,
    "network_bounds": 20_000,
    "scaling": 20_000,
    "operators": 5_000,
}
FULL_OF_OTHERS = 2_000
LARGEST_OF_FULL = 257
LEAST_ROUNDS = 3  # of cases that are drawn, also where Numba took the time to compile


def outcomes(seconds: float, seed: int) -> Iterator[Outcome]:
    """Of all corners, and of rounds of drawn cases until `seconds` have passed since the start."""
    end = time.perf_counter() + seconds
    for number, made in enumerate(cases(seed, LARGEST)):
        for case in made:
            if number > LEAST_ROUNDS and time.perf_counter() >= end:
                return
            yield run(case)


def full_outcomes(
    idea: str, seed: int, first: int = 0, on: Sequence[Engine] | None = None
) -> Iterator[Outcome]:
    """Of the long form of one idea, without end, from round `first` on; or of its corners alone."""
    for made in cases(seed, LARGEST_OF_FULL, [idea], on, first):
        if not made:
            return
        yield from map(run, made)


def outcomes_of_full(seed: int) -> Iterator[Outcome]:
    """Of the long form: hours."""
    for idea in IDEAS:
        yield from itertools.islice(full_outcomes(idea, seed), FULL.get(idea, FULL_OF_OTHERS))


def selftest(*, seconds: float = SECONDS, seed: int = 0, full: bool = False) -> bool:
    """Check the promises of the contract on this machine, and print a report.

    Bits, bounds, special values and invariance, on every target and backend that computes here,
    with what NumPy alone needs; ``homfast selftest`` is the same from a shell.

    Parameters
    ----------
    seconds : float
        About how long; a set of fixed cases is run whatever it is. Numba compiles besides, once.
    seed : int
        Decides the cases that are drawn.
    full : bool
        The long form instead, whatever `seconds`: 300,000 cases and more.

    Returns
    -------
    bool
        Whether all held.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, and after the report on what was done until then.
    """
    start, tallies = time.perf_counter(), {idea: report.Tally(idea) for idea in IDEAS}
    _say(f"homfast {__version__} on {', '.join(map(str, engines()))}; seed {seed}")
    told: list[str] = []  # the ideas that are done, in the long form one after the other
    try:
        for outcome in outcomes_of_full(seed) if full else outcomes(seconds, seed):
            idea = outcome.case.idea
            tallies[idea].add(outcome)
            if full and idea not in told:
                _tell(tallies[last] for last in told[-1:])
                told.append(idea)
    except KeyboardInterrupt:
        _tell(tallies[idea] for idea in IDEAS if idea not in told[:-1])
        _say(_summary(tallies, time.perf_counter() - start, ", interrupted"))
        raise
    _tell(tallies[idea] for idea in IDEAS if idea not in told[:-1])
    for name, reason in absent().items():
        _say(f"   not run        {name}: {reason}")
    _say(_summary(tallies, time.perf_counter() - start))
    return not any(tally.failures for tally in tallies.values())


def _tell(tallies: Iterable[report.Tally]) -> None:
    for tally in tallies:
        for line in tally.lines():
            _say(line)


def _summary(tallies: dict[str, report.Tally], seconds: float, how: str = "") -> str:
    """How many cases, on what; a run without the native extension says so."""
    count = sum(tally.count for tally in tallies.values())
    failed = sum(len(tally.failures) for tally in tallies.values())
    ran = {engine for tally in tallies.values() for engine in tally.engines}
    on = ", ".join(str(engine) for engine in engines() if str(engine) in ran) or "no engine"
    if not any(engine.backend == "native" for engine in engines()):
        on += "; native was NOT run"
    verdict = f"{failed:,} FAILED" if failed else "all passed" if count else "nothing was checked"
    return f"{count:,} cases in {seconds:.1f} s on {on}{how}: {verdict}"


def print_lines(seconds: float, seed: int, full: bool = False) -> bool:
    """`selftest`, one line of JSON a case and one for each engine that is not here."""
    import json

    failed = False
    for outcome in outcomes_of_full(seed) if full else outcomes(seconds, seed):
        failed |= outcome.status == FAILED
        _say(json.dumps(outcome.as_dict()))
    for name, reason in absent().items():
        _say(json.dumps({"engine": name, "status": NOT_RUN, "message": reason}))
    return not failed


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # the long form takes hours
