"""What belongs to the process is after calls what it was before: design 3.6."""

from __future__ import annotations

import os
import signal
import threading
import warnings

import numpy as np

import homfast
from homfast.selftesting.oracles import ensure

TITLE = "denormals, rounding, signal handlers, affinity and NumPy's error state as they were"
KEEPS_BITS = False
CORNERS = ({"rows": 300, "features": 257, "columns": 129}, {"rows": 1, "features": 3, "columns": 2})


def draw(rng, largest):
    return {name: int(rng.integers(1, largest)) for name in ("rows", "features", "columns")}


def check(engine, dtype, rng, rows, features, columns):
    x = rng.standard_normal((rows, features)).astype(dtype)
    weight = rng.standard_normal((columns, features)).astype(dtype)
    before = state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # clean data raise no flag that NumPy would warn of
        y, mask = homfast.linear_relu(x, weight, return_mask=True, backend=engine.backend)
        homfast.linear_relu_backward(y, x, weight, mask, backend=engine.backend)
    for name, (was, found) in differences(before, state()).items():
        ensure(False, f"{engine} {dtype} {rows, features, columns}: {name}: {was}, then {found}")


def state():
    """By name; of the calling thread where threads have their own."""
    least, one = np.float64(5e-324), np.float64(1)
    found = {
        "denormals": (float(least + least), float(np.float32(1e-45) * np.float32(1))),
        "rounding": (float(one + 2.0**-53), float(-one - 2.0**-53), float(one / 3)),
        "NumPy's errstate": np.geterr(),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    }
    if threading.current_thread() is threading.main_thread():
        found["signal handlers"] = {int(s): signal.getsignal(s) for s in signal.valid_signals()}
    return found


def differences(before, after):
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}
