"""The backends, best first, and the one place where one of them is chosen.

An explicit name works or raises. Else the array decides: where its memory is says which backends
come into question, and the first of them that is available is taken, for the life of the process.
That choice is logged once at DEBUG, and shows in ``homfast.show_config()``. Nothing is moved
between devices.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from homfast._backends.device_library import is_on_device

_logger = logging.getLogger("homfast")

# Best first, reference last. A new backend is a module of this package and a name in this list; a
# name whose module a build leaves out is skipped.
_ORDER = ("native", "cuda", "numba", "cupy", "reference")
NAMES = tuple(name for name in _ORDER if importlib.util.find_spec(f"{__name__}.{name}"))
GPU_NAMES = tuple(name for name in NAMES if name in ("cuda", "cupy"))
CPU_NAMES = tuple(name for name in NAMES if name not in GPU_NAMES)

_loaded: dict[str, ModuleType] = {}
_automatic: ModuleType | None = None
_automatic_on_gpu: ModuleType | None = None


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
    """The backend for ``array``: the one named, else the first that is available and takes it.

    Raises
    ------
    ValueError, RuntimeError
        A name that is unknown, or a backend that is not available.
    TypeError
        An array that the named backend does not take, or on a device for which there is none.
    """
    if name is None:
        if type(array) is np.ndarray or (device := device_of(array)) == "the CPU":
            return _automatic or _choose()
        if _automatic_on_gpu is not None and _automatic_on_gpu.accepts(array):
            return _automatic_on_gpu
        return _choose_for(device, array)
    module = load(name)
    if not module.is_available():
        raise RuntimeError(f"backend: {name!r} is not available: {module.why_unavailable()}")
    if not module.accepts(array):
        kind = type(array)
        raise TypeError(
            f"backend: {name!r} does not take a {kind.__module__}.{kind.__qualname__} on "
            f"{device_of(array)}; wanted an array on {'a GPU' if name in GPU_NAMES else 'the CPU'}"
            "; move it there yourself, homfast never does"
        )
    return module


def device_of(array: Any) -> str:
    """Where the memory of an array is: "the CPU", "GPU 0" and so on, or what DLPack calls it."""
    if isinstance(array, np.ndarray) and not is_on_device(array):
        return "the CPU"
    if hasattr(array, "__dlpack_device__"):
        kind, number = array.__dlpack_device__()
        if int(kind) in (2, 13):  # CUDA's own and managed memory
            return f"GPU {int(number)}"
        if int(kind) in (1, 3):  # 3: host memory that CUDA has pinned
            return "the CPU"
        return f"a device of DLPack's type {int(kind)}"
    return "a GPU" if hasattr(array, "__cuda_array_interface__") else "the CPU"


def _choose_for(device: str, array: Any) -> Any:
    """Choose for arrays in the memory of a GPU, once a process."""
    global _automatic_on_gpu
    reasons = []
    if "GPU" in device:
        for module in map(load, GPU_NAMES):
            if module.is_available() and module.accepts(array):
                _logger.debug("GPU arrays go to the %s backend", module.name)
                _automatic_on_gpu = module
                return module
            reasons.append(f"{module.name}: {module.why_unavailable() or 'takes other arrays'}")
    kind = type(array)
    raise TypeError(
        f"got a {kind.__module__}.{kind.__qualname__} on {device}, for which no backend is "
        f"available ({'; '.join(reasons) or 'there is none for such devices'}); install what is "
        "missing, or move the array to the CPU yourself, homfast never does"
    )


def _choose() -> Any:
    """Choose for CPU arrays, once a process."""
    global _automatic, short_way, short_way_back
    forced = os.environ.get("HOMFAST_BACKEND")
    if forced:
        if forced not in CPU_NAMES:
            raise ValueError(
                f"HOMFAST_BACKEND: got {forced!r}, wanted a backend of CPU arrays, one of "
                f"{', '.join(CPU_NAMES)}"
            )
        module = load(forced)
        if not module.is_available():
            raise RuntimeError(
                f"HOMFAST_BACKEND: {forced!r} is not available: {module.why_unavailable()}"
            )
    else:
        module = next(m for m in map(load, CPU_NAMES) if m.is_available())
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
