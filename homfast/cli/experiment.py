"""``homfast experiment``: the theory, run."""

from __future__ import annotations

import argparse
import math
import os
import time
from importlib.util import find_spec
from pathlib import Path

import homfast.config
from homfast.cli import UsageError
from homfast.experiments.registry import EXPERIMENTS

_EXTRAS = {
    "SciPy": "scipy",
    "Matplotlib": "matplotlib",
    "scikit-learn": "sklearn",
    "PyWavelets": "pywt",
    "TensorLy": "tensorly",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``homfast experiment``."""
    add = parser.add_argument
    add("name", nargs="?", metavar="NAME", help=f"one of {', '.join(EXPERIMENTS)}")
    add("--all", action="store_true", help="run every experiment")
    add(
        "--seconds",
        type=float,
        default=20.0,
        help="time budget of what each trains or searches (%(default)g); a fixed part of some "
        "seconds comes on top",
    )
    add("--seed", type=int, default=0, help="(%(default)s)")
    add(
        "--output",
        type=Path,
        default=Path("experiments"),
        metavar="DIR",
        help="where NAME.png and NAME.json go (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run, print a verdict for each claim; 0 if all hold, 1 if one fails."""
    names = _chosen(args)
    if not (math.isfinite(args.seconds) and args.seconds > 0):
        raise UsageError(f"seconds: got {args.seconds:g}, wanted a finite number above 0")
    if args.seed < 0:
        raise UsageError(f"seed: got {args.seed}, wanted an integer >= 0")
    _check_environment()
    missing = [name for name, module in _EXTRAS.items() if find_spec(module) is None]
    if missing:
        raise UsageError(f"needs {', '.join(missing)}; pip install homfast[demo]")
    _make_folder(args.output)
    from homfast.experiments import runner

    start, reports = time.perf_counter(), []
    for name in names:
        report = runner.run(name, args.output, seconds=args.seconds, seed=args.seed)
        print(f"{name}: {report.title} ({report.seconds:.0f} s)")
        for verdict in report.verdicts:
            print(f"  {verdict}")
        print(f"  written {', '.join(str(path) for path in report.files)}", flush=True)
        reports.append(report)
    failed = [report.name for report in reports if not report.holds]
    if args.all:
        summary = args.output / "verdicts.json"
        runner.summarize(reports, summary, seconds=args.seconds, seed=args.seed)
        took = time.perf_counter() - start
        said = f"failed: {', '.join(failed)}" if failed else "all hold"
        print(f"{len(names)} experiments in {took:.0f} s: {said}; written {summary}")
    return 1 if failed else 0


def _chosen(args: argparse.Namespace) -> tuple[str, ...]:
    if args.all:
        if args.name is not None:
            raise UsageError(f"name: got {args.name!r} beside --all, wanted one of the two")
        return EXPERIMENTS
    if args.name not in EXPERIMENTS:
        got = "none" if args.name is None else repr(args.name)
        raise UsageError(f"name: got {got}, wanted --all or one of {', '.join(EXPERIMENTS)}")
    return (args.name,)


def _check_environment() -> None:
    try:
        homfast.config.config()
    except (ValueError, RuntimeError) as error:
        raise UsageError(str(error)) from error


def _make_folder(path: Path) -> None:
    """Refuse what cannot hold the files, before anything runs."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"output: {path} is a file, wanted a directory; use --output DIR")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"output: cannot make {path}: {error.strerror or error}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise UsageError(f"output: cannot write into {path}; use --output DIR")
