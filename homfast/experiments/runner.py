"""Run an experiment: judge its claims, write its figure and its numbers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import homfast.config
from homfast.experiments import registry, style
from homfast.experiments.claims import Verdict
from homfast.experiments.lab import Lab


class Report(NamedTuple):
    """What a run left: verdicts, the files, the seconds it took."""

    name: str
    title: str
    verdicts: tuple[Verdict, ...]
    files: tuple[Path, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether every claim does."""
        return all(verdict.holds for verdict in self.verdicts)


def run(name: str, output: Path, *, seconds: float = 20.0, seed: int = 0) -> Report:
    """Run one experiment and write ``NAME.png`` and ``NAME.json`` into `output`, which exists.

    Parameters
    ----------
    name : str
        One of `EXPERIMENTS`.
    output : Path
    seconds : float
        Its time budget, above 0; what is not trained or searched comes on top, a few seconds.
    seed : int

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        An unknown name, seconds that are not positive, a negative seed.
    ImportError
        Without the extra ``demo``.
    """
    module = registry.load(name)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"seconds: got {seconds}, wanted a finite number above 0")
    if seed < 0:
        raise ValueError(f"seed: got {seed}, wanted an integer >= 0")
    start = time.perf_counter()
    lab = Lab(name, seconds, seed)
    try:
        outcome = module.run(lab)
    finally:
        lab.clear()
    if set(outcome.measured) != set(module.CLAIMS):
        raise AssertionError(f"{name}: measured {set(outcome.measured)}, not what it claims")
    verdicts = tuple(claim.judge(outcome.measured[key]) for key, claim in module.CLAIMS.items())
    picture, numbers = output / f"{name}.png", output / f"{name}.json"
    style.write(picture, module.TITLE, outcome.draw)
    took = time.perf_counter() - start
    record = {
        "kind": "experiment",
        "name": name,
        "title": module.TITLE,
        "seed": seed,
        "budget": seconds,
        "seconds": took,
        "holds": all(verdict.holds for verdict in verdicts),
        "claims": _claims(verdicts),
        "numbers": outcome.numbers,
        "config": homfast.config.config(),
    }
    _write(numbers, record)
    return Report(name, module.TITLE, verdicts, (picture, numbers), took)


def summarize(reports: Sequence[Report], path: Path, *, seconds: float, seed: int) -> None:
    """Write the verdicts of several experiments into one JSON file."""
    record = {
        "kind": "experiments",
        "budget": seconds,
        "seed": seed,
        "seconds": sum(report.seconds for report in reports),
        "experiments": [
            {"name": r.name, "title": r.title, "holds": r.holds, "claims": _claims(r.verdicts)}
            for r in reports
        ],
        "config": homfast.config.config(),
    }
    _write(path, record)


def _claims(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    return [
        {
            "text": v.claim.text,
            "value": v.value,
            "relation": "<=" if v.claim.at_least is None else ">=",
            "bound": v.claim.bound,
            "holds": v.holds,
        }
        for v in verdicts
    ]


def _write(path: Path, record: dict[str, Any]) -> None:
    text = json.dumps(_plain(record), indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Arrays as lists, numbers as Python's, what is not finite as None."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
