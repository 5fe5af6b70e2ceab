"""``homfast bench operators``: measurement operators beside what people use instead."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from homfast.bench import (
    interleaved,
    machine,
    operators_memory,
    operators_seeded,
    operators_structured,
    operators_table,
    operators_transforms,
    peak,
)
from homfast.bench.machine import OtherWork
from homfast.bench.operators_cases import LIBRARIES, Libraries, Task
from homfast.bench.operators_table import Row
from homfast.bench.plan import Plan, print_backend_note

DTYPE = "float32"
_PARTS = (operators_seeded, operators_transforms, operators_structured)


def tasks(scale: int = 1) -> list[Task]:
    """All lines, in the order of the table.

    Parameters
    ----------
    scale : int
        Sizes but for batches are divided by it, a power of two: 64 takes milliseconds a line.
    """
    return [task for part in _PARTS for task in part.tasks(scale)]


def forget() -> None:
    """Free what lines keep for the next one: a stored matrix, an inverted one."""
    operators_seeded.forget()
    operators_structured.forget()


class OperatorsPlan(Plan):
    """Arguments of ``homfast bench operators``, which `homfast.bench.cli` makes and runs."""

    def __init__(self, args: argparse.Namespace):
        for option, default in (
            ("shapes", None),
            ("plot", None),
            ("dtype", DTYPE),
            ("precision", None),
        ):
            if getattr(args, option) != default:
                raise ValueError(
                    f"--{option}: operators are measured without it, in {DTYPE} at fixed sizes; "
                    "--scale N divides them"
                )
        self.scale = 1 if args.scale is None else args.scale
        if self.scale < 1 or self.scale & (self.scale - 1):
            raise ValueError(f"--scale: got {self.scale}, wanted a power of two")
        super().__init__(args)
        self.libraries = Libraries(tuple(LIBRARIES) if args.peers is None else args.peers)

    def measure(self, unset: list[str]) -> int:
        """The rows as they are done, then how many are won."""
        try:
            return self._measure(unset)
        finally:
            forget()

    def _measure(self, unset: list[str]) -> int:
        versions = self.libraries.versions
        present = [SimpleNamespace(name=name, version=versions[name]) for name in versions]
        description = machine.describe(self.threads, present)
        print_backend_note(description["backend"])
        print(machine.line(description))
        bandwidth = peak.copy_bandwidth(self.threads)
        print(f"measured: {bandwidth / 1e9:.1f} GB/s copied (read and written)")
        for name, reason in self.libraries.absent.items():
            print(f"absent: {name}: {reason}")
        print(operators_table.header(), flush=True)
        rows: list[Row] = []
        try:
            for row in self._rows(bandwidth):
                rows.append(row)
                print(operators_table.text(row), flush=True)
                for name, reason in row.absent.items():
                    if name not in self.libraries.absent:
                        print(f"    absent: {name}: {reason}")
        except KeyboardInterrupt:
            print("interrupted: the rows so far follow from whole measurements")
            return 130
        for line in operators_table.summary(rows):
            print(line)
        if rows:
            self._write(description, rows, bandwidth, unset)
        return 0

    def _rows(self, bandwidth: float) -> Iterator[Row]:
        settings = self.settings
        chosen = tasks(self.scale)
        clock = interleaved.Clock(settings.seconds, len(chosen))
        for task in chosen:
            comparison = task.make(self.libraries)
            deadline = clock.next_deadline()
            others = OtherWork()
            measured = interleaved.measure(
                comparison.contenders,
                rounds=settings.rounds,
                burst=settings.burst,
                pause=settings.pause,
                deadline=deadline,
            )
            share = others.share()
            extra = None
            if task.memory is not None:
                extra = operators_memory.extra_bytes(task.memory, self.threads)
            yield operators_table.row(
                task,
                comparison,
                measured,
                bandwidth=bandwidth,
                extra_bytes=extra,
                share_of_others=share,
            )

    def _write(
        self, description: dict[str, Any], rows: list[Row], bandwidth: float, unset: list[str]
    ) -> None:
        report = {
            "kind": "operators",
            "dtype": DTYPE,
            "scale": self.scale,
            "machine": description,
            "absent": self.libraries.absent,
            "threads_not_set": unset,
            "copy_gigabytes_per_second": bandwidth / 1e9,
            "settings": vars(self.settings),
            "rows": [row.as_dict() for row in rows],
        }
        self.write(report)
