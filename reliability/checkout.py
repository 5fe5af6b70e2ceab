"""Copies of the checkout, to build what would not be wanted in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def copy_checkout(folder: Path, built: bool = True) -> None:
    """The files that git knows, with edits, and what was built of them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    if built and (ROOT / "build").is_dir():
        shutil.copytree(ROOT / "build", folder / "build", symlinks=True)


def keep_targets(folder: Path, names: list[str]) -> None:
    """Builds of the copy compile these targets alone, in less time."""
    path = folder / "csrc/targets/targets.def"
    lines = path.read_text().splitlines(keepends=True)
    rows = [(re.match(r"HF_TARGET\((\w+)", line), line) for line in lines]
    path.write_text("".join(line for row, line in rows if not row or row[1] in names))
