"""What cannot be computed as asked raises an error that names the argument (contract, 7)."""

from __future__ import annotations

import numpy as np

import homfast
from homfast.selftesting.oracles import ensure

TITLE = "bad input raises an error that names the argument"
KEEPS_BITS = False


def _calls(dtype, backend):
    """By name: a call, the error it raises, and the argument that its message begins with."""
    x, weight = np.ones((3, 4), dtype), np.ones((5, 4), dtype)
    other = np.dtype(np.float64 if dtype == np.float32 else np.float32)
    options = {"backend": backend}
    return {
        "features differ": (lambda: homfast.linear(x[:, :3], weight, **options), ValueError, "x"),
        "dtypes differ": (
            lambda: homfast.linear(x, weight.astype(other), **options), TypeError, "weight",
        ),
        "a list": (lambda: homfast.linear(x.tolist(), weight, **options), TypeError, "x"),
        "integers": (lambda: homfast.linear(x.astype(int), weight, **options), TypeError, "x"),
        "masked array": (
            lambda: homfast.linear(np.ma.masked_array(x), weight, **options), TypeError, "x",
        ),
        "out of another shape": (
            lambda: homfast.linear(x, weight, out=np.empty((5, 3), dtype), **options),
            ValueError, "out",
        ),
        "a precision that is none": (
            lambda: homfast.linear(x, weight, precision="exact", **options),
            ValueError, "precision",
        ),
        "more than memory holds": (
            lambda: homfast.linear(np.broadcast_to(x[0], (2**45, 4)), weight, **options),
            MemoryError, "",
        ),
        "an unknown backend": (
            lambda: homfast.linear(x, weight, backend="abacus"), ValueError, "backend",
        ),
    }  # fmt: skip


NAMES = tuple(_calls(np.dtype(np.float32), None))
CORNERS = tuple({"call": name} for name in NAMES)


def draw(rng, largest):
    return None  # the corners are all


def check(engine, dtype, rng, call):
    run, error, word = _calls(dtype, engine.backend)[call]
    start = f"{word}: " if word else ""
    try:
        run()
    except error as raised:
        said = str(raised)
        case = f"{engine} {dtype} {call}"
        ensure(said.startswith(start), f"{case}: {said!r} does not begin with {start!r}")
    else:
        ensure(False, f"{engine} {dtype} {call}: nothing was raised, wanted {error.__name__}")
