"""What the kinds of ``homfast bench`` share: checked arguments, what they run under, files."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from homfast.bench import arithmetic


class Plan:
    """Checked arguments and what follows from them; a kind adds its own, and ``measure``.

    Raises
    ------
    ValueError, TypeError, RuntimeError, OSError
        An argument or a ``HOMFAST_`` variable that cannot be had, which the message names.
    """

    def __init__(self, args: argparse.Namespace):
        from homfast._backends import automatic
        from homfast.bench import threads
        from homfast.bench.compare import Settings
        from homfast.bench.machine import target

        self.args = args
        self.threads = args.threads if args.threads is not None else threads.default_threads()
        if not 1 <= self.threads <= 4096:
            raise ValueError(f"--threads: got {self.threads}, wanted 1 to 4096")
        rounds = args.rounds if args.rounds is not None else Settings().rounds
        if rounds < 3:
            raise ValueError(f"--rounds: got {rounds}, wanted at least 3 for a median")
        if args.seconds is not None and not args.seconds > 0:
            raise ValueError(f"--seconds: got {args.seconds}, wanted more than 0")
        self.settings = Settings(rounds=rounds, seconds=args.seconds)
        self._stdout = sys.stdout
        for path in (p for p in (args.json, args.plot) if p and p != "-"):
            if not Path(path).absolute().parent.is_dir():
                raise FileNotFoundError(f"{path}: its folder does not exist")
            if Path(path).is_dir():
                raise IsADirectoryError(f"{path}: is a folder, wanted a file")
        if args.plot and Path(args.plot).suffix not in (".png", ".svg", ".pdf"):
            raise ValueError(f"--plot: got {args.plot}, wanted a name in .png, .svg or .pdf")
        automatic()  # complains of HOMFAST_BACKEND
        target()  # and of HOMFAST_TARGET
        with _target(args.target):  # complains of one that cannot be had
            pass

    def measure(self, unset: list[str]) -> int:
        """Measure and print; `unset` names libraries whose threads could not be set."""
        raise NotImplementedError

    def run(self) -> int:
        """`measure` on the threads and the target asked for; 0 on success, 130 for Ctrl-C."""
        from homfast.bench import threads

        to_stderr = contextlib.redirect_stdout(sys.stderr)
        printed = to_stderr if self.args.json == "-" else contextlib.nullcontext()
        with (
            printed,
            _target(self.args.target),
            threads.same_threads(self.threads) as unset,
        ):
            for complaint in unset:
                print(f"NOTE: {complaint}")
            return self.measure(unset)

    def write(self, report: dict[str, Any]) -> None:
        """The JSON, if it is wanted."""
        if not self.args.json:
            return
        text = json.dumps(_rounded(report), indent=1) + "\n"
        if self.args.json == "-":
            self._stdout.write(text)
        else:
            Path(self.args.json).write_text(text, encoding="utf-8")


def options_of(kind: Any, args: argparse.Namespace) -> dict[str, str]:
    """What ``kind.comparison`` is called with besides; ValueError for what `kind` cannot do."""
    if args.dtype not in kind.DTYPES:
        wanted = " or ".join(kind.DTYPES)
        raise ValueError(f"--dtype: got {args.dtype}, wanted {wanted} for {args.kind}")
    arithmetic.numpy_dtype(args.dtype)  # complains of a package that is not there
    if args.precision is None:
        return {}
    if args.precision not in kind.PRECISIONS:
        wanted = " or ".join(kind.PRECISIONS) or "none"
        raise ValueError(f"--precision: got {args.precision}, wanted {wanted} for {args.kind}")
    if args.dtype != "float32":
        raise ValueError(f"--precision: is a choice for float32, got --dtype {args.dtype}")
    return {"precision": args.precision}


@contextlib.contextmanager
def _target(name: str | None) -> Iterator[None]:
    """That target meanwhile; the one in use where `name` is None."""
    if name is None:
        yield
        return
    import homfast

    before = homfast.get_target()
    homfast.set_target(name)
    try:
        yield
    finally:
        homfast.set_target(before)


def print_backend_note(backend: str) -> None:
    """Say it loudly where the compiled kernels are not what is measured."""
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


def _rounded(value: Any) -> Any:
    """`value` with floats to six digits: more is noise, and makes diffs of committed files long."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(entry) for entry in value]
    return value
