"""``homfast bench layers|networks|operators --device cuda``: what is measured there, and how.

As on the CPU contenders take turns in bursts, are checked before and compared by medians; the
clock is CUDA's events, and operands take turns so that none waits in the L2 cache. A burst is a
loop of calls as a program makes them: where the host cannot launch as fast as the device computes,
the time is the host's.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from homfast.bench import arithmetic, compare, device_machine, interleaved, operators_table, table
from homfast.bench import device_operators as operators
from homfast.bench.cases import Case, LayerCase, NetworkCase
from homfast.bench.device_contenders import NAMES, DeviceHomfast, Operands, load_all
from homfast.bench.machine import OtherWork
from homfast.bench.plan import Plan, options_of

_WIDTHS = (512, 1024, 2048, 4096)
# By dtype; others have those of float32.
LAYERS: dict[str, Sequence[Case]] = {
    "bfloat16": (LayerCase(8192, 4096, 4096), LayerCase(16384, 2048, 2048)),
    "float32": tuple(LayerCase(8192, width, width) for width in _WIDTHS),
}
NETWORKS: dict[str, Sequence[Case]] = {
    "bfloat16": tuple(NetworkCase(1 << 20, (width,) * 5) for width in (64, 128)),
    "float32": (
        *(NetworkCase(1 << 20, (width,) * 5) for width in (64, 128)),
        *(NetworkCase(8192, (width,) * 4) for width in _WIDTHS),
    ),
}
_CASES = {"layers": LAYERS, "networks": NETWORKS}
KINDS = (*_CASES, "operators")


def plan(args: argparse.Namespace) -> Plan:
    """Checked arguments; ValueError or RuntimeError for what a device has not."""
    if args.kind not in KINDS:
        raise ValueError(f"--device: got 'cuda' for {args.kind}, wanted it for {', '.join(KINDS)}")
    for option in ("threads", "target", "plot"):
        if getattr(args, option) is not None:
            raise ValueError(f"--{option}: is for the CPU; leave it out with --device cuda")
    return (_OperatorsPlan if args.kind == "operators" else _NetworksPlan)(args)


class DevicePlan(Plan):
    """What the kinds share: the device, its peers, and the loop over lines."""

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        names = args.peers if args.peers is not None else NAMES
        self.operands = Operands(device_machine.find())
        self.peers, self.absent = load_all(names, self.operands)
        self.clock = device_machine.EventClock(self.operands.machine)
        self.copied = 0.0

    def comparisons(self) -> Sequence[Any]:
        """What is measured, each a function that makes its contenders when its turn comes."""
        raise NotImplementedError

    def print_head(self) -> None:
        """Of the table."""
        raise NotImplementedError

    def print_row(self, row: Any) -> None:
        """One line."""
        raise NotImplementedError

    def row(self, task: Any, comparison: Any, measured: Any, others: Any) -> Any:
        """A line of what was measured."""
        raise NotImplementedError

    def summary(self, rows: list[Any]) -> Iterable[str]:
        """Below the table."""
        raise NotImplementedError

    def of_kind(self, rows: list[Any]) -> dict[str, Any]:
        """What the reports of this kind have besides."""
        raise NotImplementedError

    def measure(self, unset: list[str]) -> int:
        """The rows as they are done, then what they come to."""
        try:
            return self._measure()
        finally:
            self.operands.forget()
            operators.forget()

    def _measure(self) -> int:
        description = self.operands.machine.describe(self.peers)
        print(device_machine.line(description))
        self.copied = operators.copied_bytes_per_second(self.operands, self.clock)
        print(f"measured: {self.copied / 1e9:.1f} GB/s copied (read and written)")
        for name, reason in self.absent.items():
            print(f"absent: {name}: {reason}")
        self.print_head()
        rows: list[Any] = []
        entries: list[dict[str, Any]] = []
        try:
            for row, copies in self._rows():
                rows.append(row)
                entries.append({**row.as_dict(), "copies": copies})
                self.print_row(row)
                for name, reason in row.absent.items():
                    print(f"    absent: {name}: {reason}")
        except KeyboardInterrupt:
            print("interrupted: the rows so far follow from whole measurements")
            return 130
        for text in self.summary(rows):
            print(text)
        self.write(
            {
                "kind": self.args.kind,
                **self.of_kind(rows),
                "machine": description,
                "absent": self.absent,
                "copy_gigabytes_per_second": self.copied / 1e9,
                "settings": {**vars(self.settings), "pause": 0.0, "clock": "CUDA events"},
                "rows": entries,
            }
        )
        return 0

    def _rows(self) -> Iterator[tuple[Any, int]]:
        chosen = self.comparisons()
        deadlines = interleaved.Clock(self.settings.seconds, len(chosen))
        for task in chosen:
            comparison = task.make(self.peers)
            deadline, others = deadlines.next_deadline(), OtherWork()
            if deadline is not None:  # a reading of the device's clock, which runs as fast
                deadline += self.clock() - time.perf_counter()
            measured = interleaved.measure(
                comparison.contenders,
                rounds=self.settings.rounds,
                burst=self.settings.burst,
                pause=0.0,  # no threads to wait for, and a device that idles lowers its clock
                deadline=deadline,
                clock=self.clock,
            )
            copies = self.operands.machine.copies(task.read_bytes)
            yield self.row(task, comparison, measured, others.share()), copies


class _Task:
    """A comparison of layers or networks to be."""

    def __init__(self, make: Any, case: Any, dtype: str):
        self.make = make
        first = case.in_features if isinstance(case, LayerCase) else case.widths[0]
        weights = (
            case.in_features * case.out_features
            if isinstance(case, LayerCase)
            else (case.weight_count)
        )
        itemsize = arithmetic.numpy_dtype(dtype).itemsize
        self.read_bytes = itemsize * (case.batch * first + weights)


class _NetworksPlan(DevicePlan):
    """Layers and networks, with the data and the checks of the CPU's."""

    def __init__(self, args: argparse.Namespace):
        if args.scale is not None:
            raise ValueError("--scale: is for operators; --shapes sets those of the other kinds")
        self.kind: Any = importlib.import_module(f"homfast.bench.{args.kind}")
        self.options = options_of(self.kind, args)
        known = _CASES[args.kind]
        usual = known.get(args.dtype, known["float32"])
        self.cases = [self.kind.parse(s) for s in args.shapes] if args.shapes else usual
        super().__init__(args)
        self.columns = [c for c in table.columns(self.kind.COLUMN) if c.title != "of peak"]

    def comparisons(self) -> Sequence[Any]:
        dtype = self.args.dtype
        own = functools.partial(DeviceHomfast, self.operands)

        def make(case: Any, direction: str, peers: list[Any]) -> Any:
            return self.kind.comparison(case, direction, dtype, peers, own=own, **self.options)

        return [
            _Task(functools.partial(make, case, direction), case, dtype)
            for case in self.cases
            for direction in self.kind.DIRECTIONS
        ]

    def print_head(self) -> None:
        print(table.header(self.columns), flush=True)

    def print_row(self, row: Any) -> None:
        print(table.text(self.columns, row), flush=True)

    def row(self, task: Any, comparison: Any, measured: Any, others: Any) -> Any:
        precision = self.options.get("precision")
        return compare.row_of(comparison, measured, self.args.dtype, precision, others)

    def summary(self, rows: list[Any]) -> Iterable[str]:
        yield from table.summary(rows)
        yield from table.disturbances(rows)

    def of_kind(self, rows: list[Any]) -> dict[str, Any]:
        usual = arithmetic.default_precision(self.args.dtype)
        return {
            "dtype": self.args.dtype,
            "precision": self.options.get("precision", usual),
            "geometric_mean": compare.geometric_means(rows),
        }


class _OperatorsPlan(DevicePlan):
    """Transforms and products with seeded matrices, float32 at fixed sizes."""

    def __init__(self, args: argparse.Namespace):
        for option, default in (("shapes", None), ("dtype", "float32"), ("precision", None)):
            if getattr(args, option) != default:
                raise ValueError(
                    f"--{option}: operators are measured without it, in float32 at fixed sizes; "
                    "--scale N divides them"
                )
        self.scale = 1 if args.scale is None else args.scale
        if self.scale < 1 or self.scale & (self.scale - 1):
            raise ValueError(f"--scale: got {self.scale}, wanted a power of two")
        super().__init__(args)

    def comparisons(self) -> Sequence[Any]:
        return list(operators.tasks(self.operands, self.scale))

    def print_head(self) -> None:
        print(operators_table.header(), flush=True)

    def print_row(self, row: Any) -> None:
        print(operators_table.text(row), flush=True)

    def row(self, task: Any, comparison: Any, measured: Any, others: Any) -> Any:
        return operators_table.row(
            task,
            comparison,
            measured,
            bandwidth=self.copied,
            extra_bytes=None,
            share_of_others=others,
        )

    def summary(self, rows: list[Any]) -> Iterable[str]:
        return operators_table.summary(rows)

    def of_kind(self, rows: list[Any]) -> dict[str, Any]:
        return {"dtype": "float32", "scale": self.scale}
