"""``homfast bench``: measure our calls beside those of other libraries."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping
from typing import Any

from homfast.bench import arithmetic
from homfast.bench.plan import Plan, options_of, print_backend_note

KINDS = ("layers", "networks", "training", "operators", "invariance")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``homfast bench`` to its parser. Imports nothing heavy."""
    parser.add_argument(
        "kind",
        nargs="?",
        default="layers",
        choices=KINDS,
        help="what to measure (layers); invariance: what set_batch_invariant costs",
    )
    parser.add_argument(
        "--shapes",
        nargs="+",
        metavar="SHAPE",
        help="layers, invariance: batch,in,out; networks, training: batch,width,width,...",
    )
    parser.add_argument("--dtype", choices=arithmetic.DTYPES, default="float32")
    parser.add_argument(
        "--precision",
        choices=arithmetic.PRECISIONS,
        help='of our float32 products; those of the peers are "highest" (not of training)',
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="cuda: layers, networks, operators on a GPU, timed by its events",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="for all libraries")
    parser.add_argument("--target", metavar="NAME", help="instruction set of the native kernels")
    parser.add_argument(
        "--peers",
        nargs="*",
        metavar="NAME",
        help="instead of all that have the operation and are installed",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="bursts each runs (default 9)")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop rounds to end about then")
    parser.add_argument("--scale", type=int, metavar="N", help="operators: divide their sizes by N")
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the results; without FILE, and as the last argument, to standard output, and "
        "what is printed for people to standard error",
    )
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


def _plan(args: argparse.Namespace) -> Plan:
    if args.device == "cuda":
        from homfast.bench import device_plan

        return device_plan.plan(args)
    if args.kind == "operators":
        from homfast.bench import operators

        return operators.OperatorsPlan(args)
    if args.scale is not None:
        raise ValueError("--scale: is for operators; --shapes sets those of the other kinds")
    return _Plan(args)


class _Plan(Plan):
    """Layers, networks, training steps, invariance: kinds that are modules with the same names."""

    def __init__(self, args: argparse.Namespace):
        from homfast._backends import native
        from homfast.bench import peers, roofline

        super().__init__(args)
        self.kind: Any = importlib.import_module(f"homfast.bench.{args.kind}")
        self.cases = [self.kind.parse(s) for s in args.shapes] if args.shapes else self.kind.CASES
        self.options = options_of(self.kind, args)
        names = args.peers if args.peers is not None else self.kind.PEERS
        if not self.kind.PEERS:  # our kernels beside themselves
            if names:
                raise ValueError(f"--peers: got {' '.join(names)}, wanted none for {args.kind}")
            if not native.is_available():
                raise RuntimeError(f"{args.kind}: {native.why_unavailable()}")
        self.peers, self.absent = peers.load_all(names)
        if args.plot:
            roofline.figure_class()

    def measure(self, unset: list[str]) -> int:
        """The rows as they are done, then the means."""
        from homfast.bench import compare, machine, peak, table

        description = machine.describe(self.threads, self.peers)
        print_backend_note(description["backend"])
        print(machine.line(description))
        bandwidth = peak.copy_bandwidth(self.threads)
        roofs = peak.roofs(self.args.dtype)
        print(_roofs_line(roofs, bandwidth))
        precision = self.options.get("precision", arithmetic.default_precision(self.args.dtype))
        computed_as = precision if "matrix unit" in roofs else "highest"
        if computed_as != precision and self.options:
            print(f"NOTE: no matrix unit on this target: {precision!r} is computed as 'highest'")
        report = {
            "kind": self.args.kind,
            "dtype": self.args.dtype,
            "precision": precision,
            "computed_as": computed_as,
            "machine": description,
            "absent": self.absent,
            "threads_not_set": unset,
            "copy_gigabytes_per_second": bandwidth / 1e9,
            "settings": vars(self.settings),
        }
        columns = getattr(self.kind, "columns", table.columns)(
            self.kind.COLUMN, matrix_unit="matrix unit" in roofs
        )
        for name, reason in self.absent.items():
            print(f"absent: {name}: {reason}")
        print(table.header(columns), flush=True)
        rows: list[Any] = []
        code = 0
        try:
            for row in compare.run(
                self.kind, self.cases, self.args.dtype, self.peers, self.settings, **self.options
            ):
                rows.append(row)
                print(table.text(columns, row), flush=True)
                for name, reason in row.absent.items():
                    print(f"    absent: {name}: {reason}")
        except KeyboardInterrupt:
            print("interrupted: the rows so far follow from whole measurements")
            code = 130
        for line in getattr(self.kind, "summary", table.summary)(rows):
            print(line)
        for line in table.disturbances(rows):
            print(line)
        if rows and code == 0:
            report["geometric_mean"] = compare.geometric_means(rows)
            report["rows"] = [row.as_dict() for row in rows]
            self._draw_and_write(report, bandwidth)
        return code

    def _draw_and_write(self, report: dict[str, Any], bandwidth: float) -> None:
        from homfast.bench import machine, roofline

        self.write(report)
        if self.args.plot:
            title = f"{self.args.kind}, {self.args.dtype}: {machine.line(report['machine'])}"
            roofline.draw(self.args.plot, report["rows"], bandwidth, title)


def _roofs_line(roofs: Mapping[str, float], bandwidth: float) -> str:
    said = [f"{peak / 1e9:.1f} GFLOP/s of the {name}" for name, peak in roofs.items()]
    said = said or ["no peak without homfast._native"]
    return f"measured: {', '.join(said)}; {bandwidth / 1e9:.1f} GB/s copied (read and written)"
