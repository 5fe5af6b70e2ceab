"""Process-wide settings and the report of what runs here."""

from __future__ import annotations

import platform
import sys
from typing import Any

import numpy as np

from homfast import _backends
from homfast._backends import native, threads
from homfast._version import __version__


def _extension(what: str) -> Any:
    if native._native is None:
        raise RuntimeError(f"{what}: {native.why_unavailable()}")
    return native._native


def set_num_threads(n: int) -> None:
    """Set how many threads kernels use, at least 1. The result's bits do not change.

    They are those of the `native` backend, and of `numba`, where one of these is installed.
    """
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
        raise TypeError(f"n: got {type(n).__name__}, wanted an integer")
    if not 1 <= n <= 4096:
        raise ValueError(f"n: got {n}, wanted 1 to 4096 threads")
    _check_kernels("set_num_threads")
    threads.set_num_threads(int(n))


def get_num_threads() -> int:
    """How many threads kernels use.

    By default ``HOMFAST_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the processors that this
    process may use.
    """
    _check_kernels("get_num_threads")
    return threads.get_num_threads()


def _check_kernels(what: str) -> None:
    """RuntimeError where the reference alone computes, on the threads of NumPy's library."""
    if native._native is not None:
        return
    other = _backends.load("numba").why_unavailable()
    if other:
        raise RuntimeError(f"{what}: {native.why_unavailable()}; nor is there Numba: {other}")


def set_batch_invariant(enabled: bool) -> None:
    """Choose whether layer calls on plain arrays keep a row's bits for every batch size.

    Networks and operators always do, and so does `linear_relu_backward`. `linear` and `linear_relu`
    use another summation order for fewer than 16 rows, which is faster there, unless this is set.
    That is the `native` backend; on `numba` they always keep them.
    """
    if not isinstance(enabled, (bool, np.bool_)):
        raise TypeError(f"enabled: got {type(enabled).__name__}, wanted True or False")
    if native._native is None and not _backends.load("numba").why_unavailable():
        return
    _extension("set_batch_invariant").set_batch_invariant(bool(enabled))


def set_target(name: str | None) -> None:
    """Choose the instruction set of the native kernels; None returns to the default.

    Networks and operators pack their weights again at the next call: not to be called while other
    threads compute with them.

    Raises
    ------
    ValueError
        A name that is unknown, was not compiled, or that this processor does not support.
    """
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name: got {type(name).__name__}, wanted a string or None")
    _extension("set_target").set_target(name)


def get_target() -> str:
    """The instruction set that the native kernels use."""
    return _extension("get_target").get_target()


def config() -> dict[str, Any]:
    """What `show_config` prints, as a dictionary."""
    from homfast import _installation  # what it imports would be half the time of importing homfast

    report: dict[str, Any] = {
        "homfast": __version__,
        "commit": _installation.source_commit(),
        "wheel": _installation.wheel(),
        "python": platform.python_version(),
        "python_build": _installation.python_build(),
        "numpy": np.__version__,
        "numpy_blas": _installation.numpy_blas(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": _installation.cpu_model(),
        "cpu_features": _installation.cpu_features(),
        "processors": _installation.processors(),
        "backends": _backends.backends(),
        "backend": _backends.automatic().name,
        "backend_of_gpu_arrays": next(
            (name for name in _backends.GPU_NAMES if not _backends.load(name).why_unavailable()),
            "none",
        ),
        "environment": _installation.environment(),
        "extras": _installation.extras(),
    }
    if native._native is not None:
        report["native"] = {
            "target": get_target(),
            "targets": native._native.targets(),
            "threads": get_num_threads(),
            "threads_from": native._native.threads_source(),
            "batch_invariant": native._native.get_batch_invariant(),
            "compiler": native._native.compiler,
        }
    elif not _backends.load("numba").why_unavailable():
        report["numba"] = {
            "threads": threads.get_num_threads(),
            "threads_from": threads.source(),
        }
    if report["backends"].get("cuda") == "available":
        report["cuda"] = {"devices": _backends.load("cuda")._cuda.devices()}
    return report


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Report versions, backends and why one is not available, targets and threads.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print, or return a dictionary.
    """
    if mode == "dicts":
        return config()
    if mode != "stdout":
        raise ValueError(f"mode: got {mode!r}, wanted 'stdout' or 'dicts'")
    for key, value in config().items():
        if isinstance(value, dict):
            sys.stdout.write(f"{key}:\n")
            for name, entry in value.items():
                sys.stdout.write(f"  {name}: {_line(entry)}\n")
        else:
            sys.stdout.write(f"{key}: {_line(value)}\n")
    return None


def _line(entry: Any) -> str:
    if isinstance(entry, list):
        return ", ".join(map(str, entry))
    if isinstance(entry, dict):
        return "; ".join(f"{k} {v}" for k, v in entry.items())
    return str(entry)
