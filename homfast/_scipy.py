"""SciPy, which only the theory needs: named where it is absent."""

from __future__ import annotations

import importlib
from typing import Any


def scipy_module(name: str, needed_by: str) -> Any:
    """The module ``scipy.<name>``; ImportError that says what to install where it is absent."""
    try:
        return importlib.import_module(f"scipy.{name}")
    except ImportError as error:
        raise ImportError(
            f"{needed_by} needs the package scipy: pip install homfast[theory]"
        ) from error
