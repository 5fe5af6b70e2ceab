"""What a process shares with all that runs in it, and what changed of it between two looks."""

from __future__ import annotations

import gc
import locale
import os
import random
import resource
import signal
import sys
import warnings

import mxcsr
import numpy as np

# The C library has two more for its threads, and sets a handler with the first of them.
_PROGRAMS = sum(1 << (s - 1) for s in signal.valid_signals())


def state():
    """By name. Of this thread where threads have their own."""
    with open("/proc/self/status") as lines:
        status = dict(line.split(":", 1) for line in lines)
    return {
        "signal handlers": [signal.getsignal(s) for s in signal.valid_signals()],
        "signal masks": [int(status[n], 16) & _PROGRAMS for n in ("SigBlk", "SigIgn", "SigCgt")],
        "timers": [signal.getitimer(t) for t in (signal.ITIMER_REAL, signal.ITIMER_PROF)],
        "affinity": os.sched_getaffinity(0),
        "environment": dict(os.environ),
        "directory": os.getcwd(),
        "mxcsr": mxcsr.read() if mxcsr.AVAILABLE else None,
        "denormals": sys.float_info.min / 2 > 0,
        "errors of numpy": np.geterr(),
        "print options of numpy": repr(np.get_printoptions()),
        "random numbers": (hash(random.getstate()), _numpy_random_state()),
        "recursion": sys.getrecursionlimit(),
        "thread switches": sys.getswitchinterval(),
        "garbage collection": (gc.isenabled(), gc.get_threshold()),
        "hooks": (sys.excepthook, sys.meta_path[:], sys.path[:]),
        "tracing": (sys.gettrace(), sys.getprofile()),
        "streams": (sys.stdout, sys.stderr),
        "warnings": warnings.filters[:],
        "locale": locale.setlocale(locale.LC_ALL),
        "limits": [resource.getrlimit(n) for n in (resource.RLIMIT_STACK, resource.RLIMIT_CORE)],
        "open files": os.listdir("/proc/self/fd"),
        "threads": len(os.listdir("/proc/self/task")),
    }


def _numpy_random_state():
    _, key, place, *rest = np.random.get_state()
    return hash(key.tobytes()), place, rest


def changes(first, second, *but):
    """One line for each that differs, except those of these names."""
    lines = []
    for name in first.keys() - set(but):
        if name == "environment":  # names only: values may be secrets
            both = first[name].items() ^ second[name].items()
            if both:
                lines.append(f"environment: {sorted({key for key, _ in both})}")
        elif first[name] != second[name]:
            lines.append(f"{name}: {first[name]}, then {second[name]}")
    return lines
