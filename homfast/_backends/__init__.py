"""The backends, best first, and the one place where one of them is chosen.

An explicit name works or raises. An automatic choice takes the first available backend that takes
the array, is logged once at DEBUG, and shows in ``homfast.show_config()``.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

_logger = logging.getLogger("homfast")

# Best first, reference last. A new backend is a module of this package and a name in this list.
NAMES = ("native", "reference")

_loaded: dict[str, ModuleType] = {}
_automatic: ModuleType | None = None


def load(name: str) -> Any:
    """The backend module called ``name``; ValueError for a name that is not in the list."""
    if not isinstance(name, str):
        raise TypeError(f"backend: got {type(name).__name__}, wanted None or a name")
    module = _loaded.get(name)
    if module is None:
        if name not in NAMES:
            raise ValueError(f"backend: got {name!r}, wanted one of {', '.join(NAMES)}")
        module = _loaded[name] = importlib.import_module(f"homfast._backends.{name}")
    return module


def backends() -> dict[str, str]:
    """Each backend by name, best first, with "available" or the reason why it is not.

    Returns
    -------
    dict of str to str
    """
    return {name: load(name).why_unavailable() or "available" for name in NAMES}


def resolve(name: str | None, array: Any) -> Any:
    """The backend for ``array``: the one named, else the first that is available and takes it."""
    if name is None:
        return _automatic or _choose()
    module = load(name)
    if not module.is_available():
        raise RuntimeError(f"backend: {name!r} is not available: {module.why_unavailable()}")
    if not module.accepts(array):
        raise TypeError(f"backend: {name!r} does not take arrays of type {type(array).__name__}")
    return module


def _choose() -> Any:
    """Choose for CPU arrays, once a process."""
    global _automatic, short_way, short_way_back
    forced = os.environ.get("HOMFAST_BACKEND")
    if forced:
        if forced not in NAMES:
            raise ValueError(f"HOMFAST_BACKEND: got {forced!r}, wanted one of {', '.join(NAMES)}")
        module = load(forced)
        if not module.is_available():
            raise RuntimeError(
                f"HOMFAST_BACKEND: {forced!r} is not available: {module.why_unavailable()}"
            )
    else:
        module = next(m for m in map(load, NAMES) if m.is_available())
    _logger.debug("CPU arrays go to the %s backend", module.name)
    _automatic = module
    short_way = getattr(module, "plain_linear", _no_short_way)
    short_way_back = getattr(module, "plain_backward", _no_short_way)
    return module


def _no_short_way(*arguments: Any) -> None:
    """Every call goes the long way."""


def _first_call(*arguments: Any) -> Any:
    _choose()
    return short_way(*arguments)


def _first_call_back(*arguments: Any) -> Any:
    _choose()
    return short_way_back(*arguments)


# The whole of a plain call on the automatic backend, or None for arguments that need checking,
# copying or explaining: plain_linear(x, weight, relu, negative_slope, return_mask, out) and
# plain_backward(grad_output, x, weight, mask, negative_slope).
short_way: Callable[..., Any] = _first_call
short_way_back: Callable[..., Any] = _first_call_back


def automatic() -> Any:
    """The backend that calls without ``backend=`` use for CPU arrays."""
    return _automatic or _choose()
