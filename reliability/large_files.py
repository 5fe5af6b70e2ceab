"""Files that ask for memory: what reading them takes, beside what SECURITY.md promises.

    python reliability/large_files.py

A part of loader_fuzz.py (S26). Each file is read in a process of its own, whose largest size is
looked at before and after.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import homfast

OF_SIZE = 4  # times a network's file: what it may take
OF_PIXEL = 32  # bytes an image may take for each
ALLOWANCE = 16 << 20
READ = """
import sys
from pathlib import Path
import numpy, homfast
if sys.argv[2] == "network":
    import safetensors.numpy
    read = homfast.ReLUNetwork.load
else:
    from PIL import Image
    from homfast.recovery.images import read_gray as read
    Image.init()

def told(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024

Path("/proc/self/clear_refs").write_text("5")  # the largest size is the present one
before, length = told("VmRSS"), 0
try:
    found, verdict = read(Path(sys.argv[1])), "loaded"
except ValueError as error:
    verdict, length = "refused", len(str(error))
if length > 4000:
    verdict = f"refused with {length:,} characters"
print(told("VmHWM") - before, verdict)
"""


class File(NamedTuple):
    """What is written, how reading it must end, and the bytes that may take."""

    name: str
    kind: str
    path: Path
    verdict: str
    most: int


def with_header(header: bytes, data: bytes = b"") -> bytes:
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


def networks(folder: Path) -> Iterator[tuple[str, Path]]:
    """Of megabytes: of weights, of names, of words, of one name, of blanks."""
    path = folder / "weights.safetensors"
    homfast.ReLUNetwork([np.ones((1500, 1500), np.float32)] * 2).save(path)
    yield "18 MB of weights", path
    empty = {"dtype": "F32", "shape": [0, 0], "data_offsets": [0, 0]}
    headers = {
        "names": {f"layers.{i}.weight": empty for i in range(120_000)},
        "few names": {f"layers.{i}.weight": empty for i in range(10_000)},
        "biases": {f"layers.{i}.bias": empty for i in range(120_000)},
        "one name": {"x" * 11_000_000: empty},
        "words": {"__metadata__": {"precision": "x" * 11_000_000}, "layers.0.weight": empty},
    }
    for name, header in headers.items():
        data = with_header(json.dumps(header).encode())
        path = folder / f"{name}.safetensors"
        path.write_bytes(data)
        yield f"{len(data) / 1e6:.1f} MB of {name}", path
    path = folder / "blanks.safetensors"
    path.write_bytes(with_header(b"{}" + b" " * 11_000_000))
    yield "11 MB of blanks", path


def images(folder: Path) -> Iterator[tuple[str, Path, int]]:
    """As many pixels as are read, in several modes, and more."""
    from PIL import Image

    from homfast.recovery.images import MOST_PIXELS

    for mode, side in (("1", 8192), ("RGBA", 8192), ("1", 13_000)):
        path = folder / f"{mode}-{side}.png"
        Image.new(mode, (side, side)).save(path, compress_level=1)
        kept = side * side if side * side <= MOST_PIXELS else 0
        yield f"{side} x {side} pixels of {mode}", path, kept


def files(folder: Path) -> Iterator[File]:
    for name, path in networks(folder):
        verdict = "loaded" if "weights" in name else "refused"
        yield File(name, "network", path, verdict, OF_SIZE * path.stat().st_size + ALLOWANCE)
    for name, path, pixels in images(folder):
        verdict = "loaded" if pixels else "refused"
        yield File(name, "image", path, verdict, OF_PIXEL * pixels + ALLOWANCE)


def peak(file: File) -> tuple[int, str]:
    """Bytes that reading it took, and how it ended."""
    here = str(Path(homfast.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-c", READ, str(file.path), file.kind]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    if done.returncode:
        return 0, f"exit {done.returncode}: {done.stderr.strip()[-500:]}"
    taken, _, verdict = done.stdout.strip().partition(" ")
    return int(taken), verdict


def run() -> Iterator[tuple[str, bool]]:
    """What reading each file took, and whether it ended as it must, within what it may take."""
    with tempfile.TemporaryDirectory() as name:
        for file in files(Path(name)):
            taken, verdict = peak(file)
            told = f"{taken / 1e6:.0f} MB more, {file.most / 1e6:.0f} MB at most"
            right = verdict == file.verdict and taken <= file.most
            yield f"{file.name}: {verdict}, {told}", right
            file.path.unlink()


if __name__ == "__main__":
    for line, right in run():
        print(line if right else f"WRONG {line}", flush=True)
