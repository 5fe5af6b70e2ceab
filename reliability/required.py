"""What a run must have to count for anything: the kernels, and something to do."""

from __future__ import annotations

import argparse
import sys

from homfast import _backends


def native_extension() -> None:
    """End the script with status 2 unless `native` is what computes arrays on the CPU here."""
    chosen = _backends.automatic().name
    if chosen == "native":
        return
    why = _backends.backends()["native"]
    if why == "available":
        why = f"HOMFAST_BACKEND chooses {chosen}"
    print(
        f"homfast._native: got {why}; wanted it to compute, for its kernels are what is looked at:"
        " python setup.py build_ext --inplace, and no other backend in HOMFAST_BACKEND",
        file=sys.stderr,
    )
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
