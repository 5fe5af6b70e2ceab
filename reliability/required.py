"""What a run must have to count for anything: the kernels, and something to do."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

import homfast
from homfast import _backends

ROOT = Path(__file__).parent.parent


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
    place = Path(homfast.__file__).parent.parent
    if place != ROOT:  # the commit that a result names would be another one
        refuse(f"homfast: got that of {place}, wanted that of {ROOT}: pip install -e . there")


def refuse(words: str) -> NoReturn:
    print(words, file=sys.stderr)
    raise SystemExit(2)


def at_least_one(text: str) -> int:
    """A whole number from 1, of a command line."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted a whole number from 1")
    return number
