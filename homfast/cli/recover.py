"""``homfast recover``: the arguments of the main job, checked before anything is trained."""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

import homfast.config
from homfast.cli import INTERRUPTED, UsageError
from homfast.recovery.settings import DEVICES, OPERATORS, Settings

_EXTRAS = {
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "SciPy": "scipy",
    "Matplotlib": "matplotlib",
    "Pillow": "PIL",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``homfast recover``."""
    default = Settings()
    add = parser.add_argument
    add("image", nargs="?", type=Path, metavar="IMAGE", help="default: scikit-image's camera")
    add("--ratio", type=float, default=default.ratio, help="measurements a pixel (%(default)s)")
    add("--block", type=int, default=default.block, help="side of the blocks (%(default)s)")
    add("--operator", choices=OPERATORS, default=default.operator, help="(%(default)s)")
    add(
        "--seconds",
        type=float,
        default=default.seconds,
        help="training time of each of the two networks (%(default)g)",
    )
    add("--device", choices=DEVICES, default=default.device, help="(%(default)s)")
    add("--seed", type=int, default=default.seed, help="of measurements and training (%(default)s)")
    add(
        "--output",
        type=Path,
        default=Path("recover.png"),
        metavar="FILE",
        help="the picture (%(default)s)",
    )
    add("--json", type=Path, metavar="FILE", help="write the numbers as JSON too")


def run(args: argparse.Namespace) -> int:
    """Do the job, print the table, write the picture."""
    try:
        settings = Settings(
            args.image, args.ratio, args.block, args.seconds, args.seed, args.operator, args.device
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    _check_paths(args)
    _check_environment()
    _check_extras()
    _check_format(args.output)
    _check_device(args.device)
    # Only now: these need the extra.
    from homfast.recovery import job, picture, report

    try:
        outcome, notes = job.load(settings)
    except (OSError, ValueError) as error:
        raise UsageError(str(error)) from error
    height, width = outcome.original.shape
    _print(f"{outcome.name}: {width} x {height} pixels, {outcome.blocks:,} blocks")
    for note in notes:
        _print(note)
    _print(report.setting(settings))
    try:
        job.run(outcome, _print)
    except RuntimeError as error:  # training images that are not installed
        raise UsageError(str(error)) from error
    _print(f"\n{report.table(outcome)}")
    try:
        picture.write_picture(outcome, args.output)
        if args.json:
            text = json.dumps(report.json_object(outcome), indent=2, allow_nan=False)
            args.json.write_text(text + "\n", encoding="utf-8")
    except OSError as error:  # a disk that has filled up since it was checked
        raise UsageError(f"cannot write the result: {error}") from error
    _print(f"{'written':16}{', '.join(str(path) for path in (args.output, args.json) if path)}")
    return INTERRUPTED if outcome.interrupted else 0


def _print(line: str) -> None:
    print(line, flush=True)  # at once, for whoever reads through a pipe


def _check_paths(args: argparse.Namespace) -> None:
    """Refuse what cannot be written, or would overwrite something, before a minute of training."""
    written = {"output": args.output}
    if args.json is not None:
        written["json"] = args.json
    taken = {} if args.image is None else {args.image.resolve(): "the image"}
    for name, path in written.items():
        _check_writable(name, path)
        if path.resolve() in taken:
            raise UsageError(
                f"{name}: {path} is also {taken[path.resolve()]}, wanted a file of its own; "
                f"use --{name} FILE"
            )
        taken[path.resolve()] = f"the file of --{name}"


def _check_writable(name: str, path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{name}: {path} is a directory, wanted a file; use --{name} FILE")
    existed = path.exists()
    if existed and not path.is_file():
        return  # a pipe or a device; opening it to see could block
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise UsageError(f"{name}: cannot write {path}: {error.strerror or error}") from error
    if not existed:
        path.unlink()


def _check_environment() -> None:
    """An environment variable that cannot be honoured is the user's to mend."""
    try:
        homfast.config.config()
    except (ValueError, RuntimeError) as error:
        raise UsageError(str(error)) from error


def _check_extras() -> None:
    """All at once and without importing them, which takes a second."""
    missing = [name for name, module in _EXTRAS.items() if find_spec(module) is None]
    if missing:
        raise UsageError(f"needs {', '.join(missing)}; pip install homfast[demo]")


def _check_device(name: str) -> None:
    """Before the image is read: whether the device is there."""
    from homfast.recovery import devices

    try:
        devices.find(name)
    except RuntimeError as error:
        raise UsageError(str(error)) from error


def _check_format(path: Path) -> None:
    from homfast.recovery.picture import supported_formats

    wanted = path.suffix[1:].lower() or "png"
    if wanted not in supported_formats():
        raise UsageError(
            f"output: cannot write a picture as {wanted!r}, wanted one of "
            f"{', '.join(supported_formats())}"
        )
