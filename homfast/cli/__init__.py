"""The command line: ``homfast`` and ``python -m homfast``.

A command is a module with ``add_arguments(parser)`` and ``run(args) -> int``. Only the module of
the command that was asked for is imported, so that ``homfast info`` and
``homfast selftest`` need nothing but NumPy.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from homfast._version import __version__


class Command(NamedTuple):
    """A command: its module, what it does, and the extra that brings what it needs."""

    module: str
    summary: str
    extra: str


COMMANDS = {
    "recover": Command(
        "homfast.cli.recover", "recover a photograph from a quarter of its measurements", "demo"
    ),
    "experiment": Command(
        "homfast.cli.experiment", "run what the theory claims, with verdicts and figures", "demo"
    ),
    "bench": Command("homfast.bench.cli", "time the kernels beside NumPy and PyTorch", "bench"),
    "info": Command("homfast.cli.info", "versions, backends, targets and threads", "demo"),
    "selftest": Command("homfast.cli.selftest", "check the promises on this machine", "demo"),
}

USAGE_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, what shells report


class UsageError(Exception):
    """Something the user asked for cannot be done; the message is the one line to print."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and exit code 2; argparse itself would print the whole usage before it."""
        raise UsageError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        0; 2 for what cannot be done as asked, after one line on standard error; 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments and arguments[0] in COMMANDS else None
    name = f"homfast {command}" if command else "homfast"
    try:
        if sys.stdout is None:  # Python has none where its descriptor is closed (>&-)
            raise UsageError(f"standard output is closed; send it to a file, or to {os.devnull}")
        status = _run(arguments, command)
        sys.stdout.flush()
        return status
    except UsageError as error:
        return _complain(name, str(error))
    except ImportError as error:
        if command is None or error.name is None or error.name.partition(".")[0] == "homfast":
            raise
        return _complain(name, f"{error}; pip install homfast[{COMMANDS[command].extra}]")
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            _silence_output()
            return _complain(name, str(error))
        # The reader has gone (homfast info | head -1). Standard output must not be flushed at exit.
        _silence_output()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(arguments: list[str], command: str | None) -> int:
    parser = _Parser(
        prog="homfast",
        description="Bias-free ReLU networks and measurement operators for linear inverse problems",
    )
    parser.add_argument("--version", action="version", version=f"homfast {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    run = None
    for each, entry in COMMANDS.items():
        subparser = subparsers.add_parser(each, help=entry.summary, description=entry.summary)
        if each == command:
            module = importlib.import_module(entry.module)
            module.add_arguments(subparser)
            run = module.run
    try:
        args = parser.parse_args(arguments)
    except SystemExit as finished:  # --help and --version have printed
        return int(finished.code or 0)
    if run is None:
        parser.error(f"the command comes first: homfast {args.command} ...")
    return run(args)


def _silence_output() -> None:
    """What standard output still holds can no longer be written, and is not tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(name: str, message: str) -> int:
    if sys.stderr is not None:  # closed (2>&-)
        sys.stderr.write(f"{name}: {' '.join(message.split())}\n")
    return USAGE_ERROR
