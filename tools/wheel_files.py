"""What a wheel of homfast may hold, and must: `python wheel_files.py WHEEL`, exit status 0 if so.

Whoever adds a kind of file to the package adds it here.
"""

from __future__ import annotations

import sys
import zipfile
from fnmatch import fnmatchcase

ALLOWED = [
    "homfast/*.py",
    "homfast/*.pyi",
    "homfast/py.typed",
    "homfast/_backends/*.cu",
    "homfast/_native.*.so",
    "homfast/_cuda.*.so",
    "homfast-*.dist-info/METADATA",
    "homfast-*.dist-info/WHEEL",
    "homfast-*.dist-info/RECORD",
    "homfast-*.dist-info/top_level.txt",
    "homfast-*.dist-info/entry_points.txt",
    "homfast-*.dist-info/licenses/*",
    "homfast-*.dist-info/sboms/auditwheel.cdx.json",
]
NEEDED = ["homfast/__init__.py", "homfast/_native.*.so", "homfast-*.dist-info/licenses/LICENSE"]


def main(wheel: str) -> str | None:
    """What is wrong, or None."""
    names = [name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")]
    strangers = [n for n in names if not any(fnmatchcase(n, pattern) for pattern in ALLOWED)]
    if strangers:
        return f"{wheel}: not on the list of what a wheel holds: {', '.join(strangers)}"
    lacking = [p for p in NEEDED if not any(fnmatchcase(name, p) for name in names)]
    return f"{wheel}: lacks {', '.join(lacking)}" if lacking else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
