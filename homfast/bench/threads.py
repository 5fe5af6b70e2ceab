"""The same number of threads for everyone."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator

import homfast
from homfast._backends import native


def default_threads() -> int:
    """The threads of the native kernels, or without them the processors of this process."""
    if native.is_available():
        return homfast.get_num_threads()
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def same_threads(count: int) -> Iterator[list[str]]:
    """Set `count` threads for homfast, PyTorch and all BLAS and OpenMP libraries, and restore.

    Import the peers before: only libraries that are loaded are set. ONNX Runtime's sessions take
    the number when they are made, JAX once a process. Yields what could not be set.
    """
    unset = []
    with contextlib.ExitStack() as stack:
        if native.is_available():
            stack.callback(homfast.set_num_threads, homfast.get_num_threads())
            homfast.set_num_threads(count)
        torch = sys.modules.get("torch")
        if torch is not None:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(count)
        for name in ("jax_peers", "onnx_peers"):
            peers = sys.modules.get(f"homfast.bench.{name}")
            complaint = peers.set_threads(count) if peers is not None else None
            if complaint:
                unset.append(complaint)
        try:
            threadpoolctl = importlib.import_module("threadpoolctl")
        except ImportError:
            unset.append("NumPy keeps its own number of threads: threadpoolctl is not installed")
        else:
            stack.enter_context(threadpoolctl.threadpool_limits(limits=count))
        yield unset
