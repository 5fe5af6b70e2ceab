"""``homfast bench``: measure layers, networks, training or operators beside other libraries."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

KINDS = ("layers", "networks", "training", "operators")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``homfast bench`` to its parser. Imports nothing heavy."""
    parser.add_argument("kind", choices=KINDS, help="what to measure")
    parser.add_argument(
        "--shapes",
        nargs="+",
        metavar="SHAPE",
        help="layers: batch,in,out; networks and training: batch,width,width,...",
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--threads", type=int, metavar="N", help="for all libraries")
    parser.add_argument("--target", metavar="NAME", help="instruction set of the native kernels")
    parser.add_argument("--peers", nargs="*", metavar="NAME", help="instead of the usual ones")
    parser.add_argument("--rounds", type=int, metavar="N", help="bursts each runs (default 9)")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop rounds to end about then")
    parser.add_argument("--scale", type=int, metavar="N", help="operators: divide their sizes by N")
    parser.add_argument("--json", metavar="FILE", help="write the results")
    parser.add_argument("--plot", metavar="FILE", help="draw a roofline plot")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 0 on success, 1 for a wrong result, 2 for arguments, 130 for Ctrl-C."""
    from homfast.bench.expected import WrongResult

    try:
        plan = _plan(args)
    except (ValueError, TypeError, RuntimeError, ImportError, OSError) as error:
        print(f"homfast bench: {error}", file=sys.stderr)
        return 2
    try:
        return plan.run()
    except WrongResult as error:
        print(f"homfast bench: stopped at a wrong result: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"homfast bench: --shapes: too large for this machine: {error}", file=sys.stderr)
        return 2


def _plan(args: argparse.Namespace) -> Any:
    if args.kind == "operators":
        from homfast.bench.operators import Plan

        return Plan(args)
    if args.scale is not None:
        raise ValueError("--scale: is for operators; --shapes sets those of the other kinds")
    return _Plan(args)


class _Plan:
    """Checked arguments and what follows from them."""

    def __init__(self, args: argparse.Namespace):
        from homfast._backends import automatic
        from homfast.bench import peers, roofline, threads
        from homfast.bench.compare import Settings
        from homfast.bench.machine import target

        self.kind: Any = importlib.import_module(f"homfast.bench.{args.kind}")
        self.args = args
        self.cases = [self.kind.parse(s) for s in args.shapes] if args.shapes else self.kind.CASES
        self.threads = args.threads if args.threads is not None else threads.default_threads()
        if not 1 <= self.threads <= 4096:
            raise ValueError(f"--threads: got {self.threads}, wanted 1 to 4096")
        rounds = args.rounds if args.rounds is not None else Settings().rounds
        if rounds < 3:
            raise ValueError(f"--rounds: got {rounds}, wanted at least 3 for a median")
        if args.seconds is not None and not args.seconds > 0:
            raise ValueError(f"--seconds: got {args.seconds}, wanted more than 0")
        self.settings = Settings(rounds=rounds, seconds=args.seconds)
        names = args.peers if args.peers is not None else self.kind.PEERS
        self.peers, self.absent = peers.load_all(names)
        for path in filter(None, (args.json, args.plot)):
            if not Path(path).absolute().parent.is_dir():
                raise FileNotFoundError(f"{path}: its folder does not exist")
        if args.plot:
            roofline.figure_class()
        automatic()  # complains of HOMFAST_BACKEND
        target()  # and of HOMFAST_TARGET
        self.target_before = _set_target(args.target)

    def run(self) -> int:
        import homfast
        from homfast.bench import threads

        try:
            with threads.same_threads(self.threads) as unset:
                for complaint in unset:
                    print(f"NOTE: {complaint}")
                return self._measure(unset)
        finally:
            if self.target_before is not None:
                homfast.set_target(self.target_before)

    def _measure(self, unset: list[str]) -> int:
        from homfast.bench import compare, machine, peak, table

        description = machine.describe(self.threads, self.peers)
        _print_backend_note(description["backend"])
        print(machine.line(description))
        bandwidth = peak.copy_bandwidth(self.threads)
        print(_roofs(peak.measured_peak(self.args.dtype), bandwidth, self.args.dtype))
        for name, reason in self.absent.items():
            print(f"absent: {name}: {reason}")
        print(table.header(self.kind.COLUMN), flush=True)
        rows: list[Any] = []
        code = 0
        try:
            for row in compare.run(
                self.kind, self.cases, self.args.dtype, self.peers, self.settings
            ):
                rows.append(row)
                print(table.text(row), flush=True)
                for name, reason in row.absent.items():
                    print(f"    absent: {name}: {reason}")
        except KeyboardInterrupt:
            print("interrupted: the rows so far follow from whole measurements")
            code = 130
        for line in table.summary(rows):
            print(line)
        if rows and code == 0:
            self._write(description, rows, bandwidth, unset)
        return code

    def _write(
        self, description: dict[str, Any], rows: list[Any], bandwidth: float, unset: list[str]
    ) -> None:
        from homfast.bench import compare, machine, roofline

        report = {
            "kind": self.args.kind,
            "dtype": self.args.dtype,
            "machine": description,
            "absent": self.absent,
            "threads_not_set": unset,
            "copy_gigabytes_per_second": bandwidth / 1e9,
            "settings": vars(self.settings),
            "geometric_mean": compare.geometric_means(rows),
            "rows": [row.as_dict() for row in rows],
        }
        if self.args.json:
            text = json.dumps(_rounded(report), indent=1)
            Path(self.args.json).write_text(text + "\n", encoding="utf-8")
        if self.args.plot:
            title = f"{self.args.kind}, {self.args.dtype}: {machine.line(description)}"
            roofline.draw(self.args.plot, report["rows"], bandwidth, title)


def _set_target(name: str | None) -> str | None:
    """Set the target; the one before, or None if nothing was set."""
    import homfast

    if name is None:
        return None
    before = homfast.get_target()
    homfast.set_target(name)
    return before


def _print_backend_note(backend: str) -> None:
    from homfast._backends import native

    if native.is_available() and backend == "native":
        return
    reason = native.why_unavailable() or "HOMFAST_BACKEND asks for it"
    print(
        "*" * 100 + "\n"
        f"* homfast's calls below run on the {backend} backend, NOT on the compiled kernels:\n"
        f"* {reason}\n"
        "* These figures say nothing about the speed of homfast.\n" + "*" * 100
    )


def _roofs(peak: float | None, bandwidth: float, dtype: str) -> str:
    roof = "no peak without homfast._native"
    if peak is not None:
        roof = f"{peak / 1e9:.1f} GFLOP/s {dtype}"
    return f"measured: {roof}, {bandwidth / 1e9:.1f} GB/s copied (read and written)"


def _rounded(value: Any) -> Any:
    """`value` with floats to six digits: more is noise, and makes diffs of committed files long."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(entry) for entry in value]
    return value
