"""``homfast info``: what runs here, for people and, with --json, for programs."""

from __future__ import annotations

import argparse
import json
import sys

import homfast.config
from homfast.cli import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``homfast info``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print versions, backends and why one is not available, targets and threads."""
    try:
        report = homfast.config.config()
    except (ValueError, RuntimeError) as error:  # an environment variable that cannot be honoured
        raise UsageError(str(error)) from error
    if args.json:
        json.dump(report, sys.stdout, indent=2, default=str)
        sys.stdout.write("\n")
    else:
        homfast.config.show_config()
    return 0
