"""What a run must have to count for anything: the kernels, and something to do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

import homfast
from homfast import _backends
from homfast.selftesting.engines import engines

ROOT = Path(__file__).parent.parent


def this_checkout() -> None:
    """End the script with status 2 if homfast is another's: a result names this one's commit."""
    place = Path(homfast.__file__).resolve().parent.parent
    if place != ROOT.resolve():
        refuse(f"homfast: got that of {place}, wanted that of {ROOT}: pip install -e . there")


def native_extension() -> None:
    """End the script with status 2 unless this checkout's `native` computes arrays on the CPU."""
    chosen = _backends.automatic().name
    if chosen != "native":
        why = _backends.backends()["native"]
        if why == "available":
            why = f"HOMFAST_BACKEND chooses {chosen}"
        refuse(
            f"homfast._native: got {why}; wanted it to compute, for its kernels are what is looked"
            " at: python setup.py build_ext --inplace, and no other backend in HOMFAST_BACKEND"
        )
    this_checkout()


def refuse(words: str) -> NoReturn:
    print(words, file=sys.stderr)
    raise SystemExit(2)


def native_targets() -> list[str]:
    """The targets of this checkout's `native` that compute here, best first; else status 2."""
    native_extension()
    return [engine.target for engine in engines() if engine.target]


def at_least_one(text: str) -> int:
    """A whole number from 1, of a command line."""
    return whole_number(text, 1)


def seed(text: str) -> int:
    """A whole number from 0, of a command line: what generators take."""
    return whole_number(text, 0)


def whole_number(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number from {least}")
    return number
