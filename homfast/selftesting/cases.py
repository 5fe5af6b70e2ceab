"""A case, the cases of a run, and how one is run."""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from homfast.selftesting.engines import Engine, computing_on, engines
from homfast.selftesting.ideas import IDEAS, load
from homfast.selftesting.oracles import NothingToCheck

DTYPES = ("float32", "float64")
PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"


class Case(NamedTuple):
    """One check with everything that decides it; `line` and `parse` are inverse."""

    idea: str
    engine: str
    dtype: str
    seed: tuple[int, ...]
    parameters: dict[str, Any]

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(self._asdict(), separators=(",", ":"))

    @classmethod
    def parse(cls, line: str) -> Case:
        """The case that `line` wrote; ValueError for what is none."""
        try:
            found = json.loads(line)
        except ValueError as error:
            raise ValueError(f"got {line!r}, wanted the JSON of a case ({error})") from None
        if not isinstance(found, dict) or not set(cls._fields) <= set(found):
            raise ValueError(f"got {line!r}, wanted an object with {', '.join(cls._fields)}")
        case = cls(**{name: found[name] for name in cls._fields})
        for name in ("idea", "engine", "dtype"):
            if not isinstance(found[name], str):
                raise ValueError(f"{name}: got {found[name]!r}, wanted a name")
        load(case.idea)
        if case.dtype not in DTYPES:
            raise ValueError(f"dtype: got {case.dtype!r}, wanted one of {', '.join(DTYPES)}")
        _check_seed(case.seed)
        _check_parameters(load(case.idea), case.parameters)
        _engine(case.engine)
        return case._replace(seed=tuple(case.seed))


class Outcome(NamedTuple):
    """What came of a case."""

    case: Case
    status: str
    seconds: float
    ratio: float | None  # the largest error over its bound, where the idea has one
    message: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON; a line of it is a line that `Case.parse` takes, too."""
        rest = self._asdict()
        case = rest.pop("case")
        return case._asdict() | rest


def cases(
    seed: int,
    largest: int,
    ideas: Sequence[str] = IDEAS,
    on: Sequence[Engine] | None = None,
    first: int = 0,
) -> Iterator[list[Case]]:
    """Rounds of cases without end: the corners of all ideas, then one of each at a time.

    Parameters
    ----------
    seed : int
        Decides every case. Engines and dtypes get the same parameters and data.
    largest : int
        Of the sizes that are drawn.
    ideas : sequence of str
    on : sequence of Engine, optional
        By default all that compute here.
    first : int
        The number of the round to begin with.
    """
    chosen = engines() if on is None else on
    number = first
    while True:
        made: list[Case] = []
        for name in ideas:
            idea = load(name)
            if number == 0:
                drawn = list(idea.CORNERS)
            else:
                one = idea.draw(np.random.default_rng(_key(seed, name, number)), largest)
                drawn = [] if one is None else [one]
            made += [
                Case(name, str(engine), dtype, (seed, number, index), parameters)
                for engine in chosen
                if engine.keeps_bits or not idea.KEEPS_BITS
                for dtype in DTYPES
                for index, parameters in enumerate(drawn)
            ]
        yield made
        number += 1


def run(case: Case) -> Outcome:
    """Run a case; only KeyboardInterrupt gets out. Settings of the process are put back."""
    idea, engine = load(case.idea), _engine(case.engine)
    rng = np.random.default_rng((*_key(0, case.idea, 0), *case.seed))
    start, ratio, status, message = time.perf_counter(), None, PASSED, ""
    try:
        with computing_on(engine):
            ratio = idea.check(engine, np.dtype(case.dtype), rng, **case.parameters)
    except NothingToCheck as error:
        status, message = NOT_RUN, str(error)
    except AssertionError as error:
        status, message = FAILED, str(error)
    except Exception as error:
        status, message = FAILED, f"{type(error).__name__}: {error}"
    return Outcome(case, status, time.perf_counter() - start, ratio, message)


def _key(seed: int, idea: str, number: int) -> tuple[int, ...]:
    return (seed, number, zlib.crc32(idea.encode()))


def _check_seed(seed: Any) -> None:
    if not isinstance(seed, list) or not seed or not all(_is_count(n) for n in seed):
        raise ValueError(f"seed: got {seed!r}, wanted a list of integers >= 0")


def _check_parameters(idea: Any, parameters: Any) -> None:
    """Those of the idea, of types and signs that its corners have; its `draw` decides the rest."""
    names = set(idea.CORNERS[0])
    if not isinstance(parameters, dict) or set(parameters) != names:
        wanted = f"an object with {', '.join(sorted(names))}"
        raise ValueError(f"parameters: got {parameters!r}, wanted {wanted}")
    for name, value in parameters.items():
        wanted = _unmet(value, [corner[name] for corner in idea.CORNERS], idea, name)
        if wanted:
            raise ValueError(f"{name}: got {value!r}, wanted {wanted}")


def _unmet(value: Any, known: list[Any], idea: Any, name: str) -> str:
    """What was wanted of a value beside the known ones, or nothing."""
    kind = type(known[0])
    if kind is list:
        one, what = value if isinstance(value, list) else [], "a list of two integers >= 1 or more"
        return "" if len(one) > 1 and all(_is_count(n, 1) for n in one) else what
    if kind is str:
        choices = getattr(idea, "CHOICES", {}).get(name) or sorted(set(known))
        return "" if value in choices else f"one of {', '.join(choices)}"
    if kind is float:
        right = type(value) in (int, float) and math.isfinite(value)
        return "" if right else "a finite number"
    least = min(1, *known)
    if kind is int and least >= 0:
        return "" if _is_count(value, least) else f"an integer >= {least}"
    return "" if type(value) is kind else ("true or false" if kind is bool else "an integer")


def _is_count(value: Any, least: int = 0) -> bool:
    return type(value) is int and value >= least


def _engine(name: str) -> Engine:
    found = {str(engine): engine for engine in engines()}
    if name not in found:
        raise ValueError(f"engine: got {name!r}, wanted one that is here: {', '.join(found)}")
    return found[name]
