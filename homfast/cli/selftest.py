"""``homfast selftest``: the promises of the contract, checked on this machine."""

from __future__ import annotations

import argparse
import faulthandler
import json
import math
import sys

import homfast.config
from homfast.cli import UsageError

SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``homfast selftest``."""
    add = parser.add_argument
    add("--seconds", type=float, help=f"about how long ({SECONDS:g})")
    add("--seed", type=int, help="of the cases that are drawn (0)")
    add("--full", action="store_true", help="the long form, of hours, whatever --seconds")
    add("--json", action="store_true", help="print one JSON object a line for each case")
    add("--repro", metavar="LINE", help="run the one case of a line that a failure or --json gave")


def run(args: argparse.Namespace) -> int:
    """0 if all held, 1 if a promise was broken; 130 after Ctrl-C, with the counts until then."""
    seconds, seed = (SECONDS if args.seconds is None else args.seconds), args.seed or 0
    if not (math.isfinite(seconds) and seconds >= 0):
        raise UsageError(f"seconds: got {seconds:g}, wanted a finite number >= 0")
    if seed < 0:
        raise UsageError(f"seed: got {seed}, wanted an integer >= 0")
    if args.repro is not None:
        for name in ("seconds", "seed", "full"):
            if getattr(args, name) not in (None, False):
                raise UsageError(f"repro: got --{name} too, wanted the line alone, which has all")
    try:
        homfast.config.config()
    except (ValueError, RuntimeError) as error:  # an environment variable that cannot be honoured
        raise UsageError(str(error)) from error
    if sys.stderr is not None and not faulthandler.is_enabled():
        faulthandler.enable()  # a crash says in which case it was
    from homfast.selftesting import run as selftesting

    if args.repro is not None:
        return _repeat(args.repro, args.json)
    tell = selftesting.print_lines if args.json else selftesting.selftest
    return 0 if tell(seconds=seconds, seed=seed, full=args.full) else 1


def _repeat(line: str, as_json: bool) -> int:
    from homfast.selftesting.cases import FAILED, Case, run

    try:
        case = Case.parse(line)
    except (ValueError, TypeError) as error:
        raise UsageError(f"repro: {error}") from error
    outcome = run(case)
    if as_json:
        print(json.dumps(outcome.as_dict()))
    else:
        print(f"{outcome.status} in {outcome.seconds:.3f} s: {case.line()}")
        if outcome.message:
            print(outcome.message)
    return 1 if outcome.status == FAILED else 0
