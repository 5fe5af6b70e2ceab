"""The ideas by name, in the order in which they are run and reported."""

from __future__ import annotations

import importlib
from typing import Any

IDEAS = (
    "exact_integers",
    "bounds",
    "network_bounds",
    "special_values",
    "scaling",
    "batches",
    "threads",
    "callers",
    "layouts",
    "agreement",
    "entries",
    "operators",
    "process",
    "input_kinds",
    "refusals",
)


def load(name: str) -> Any:
    """The module of an idea; ValueError for a name that is not in the list."""
    if name not in IDEAS:
        raise ValueError(f"idea: got {name!r}, wanted one of {', '.join(IDEAS)}")
    return importlib.import_module(f"homfast.selftesting.{name}")
