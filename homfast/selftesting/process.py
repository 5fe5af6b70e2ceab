"""What belongs to the process is after calls what it was before, and is nothing to results.

Kernels of the native extension compute in the default floating-point mode whatever the caller's;
those of Numba in the caller's, on every thread, and so does NumPy for `reference`, which promises
no bits and is asked for none. What Python rounds itself is the caller's affair: a slope to float32,
the scale of a normalized operator. So the slope here is exact and the operator unscaled.
"""

from __future__ import annotations

import os
import signal
import threading
import warnings

import numpy as np

import homfast
from homfast.selftesting.float_modes import MODES, available, computing_in, control
from homfast.selftesting.oracles import NothingToCheck, assert_same_bits, ensure, pack

TITLE = "rounding, denormals, signal handlers, NumPy's errors as they were; no promised bit on them"
KEEPS_BITS = False
CORNERS = (
    {"rows": 300, "features": 257, "columns": 129, "mode": "default"},
    {"rows": 1, "features": 3, "columns": 2, "mode": "default"},
    *({"rows": 130, "features": 129, "columns": 67, "mode": mode} for mode in MODES[1:]),
)
CHOICES = {"mode": MODES}
THREADS = 3
SLOPE = 0.25


def draw(rng, largest):
    shape = {name: int(rng.integers(1, 2 * largest)) for name in ("rows", "features", "columns")}
    return shape | {"mode": str(rng.choice(MODES))}


def check(engine, dtype, rng, rows, features, columns, mode):
    if not available(mode):
        raise NothingToCheck(f"mode: {mode!r} cannot be set on this system")
    case = f"{engine} {dtype} {rows, features, columns} in mode {mode!r}"
    x = rng.standard_normal((rows, features)).astype(dtype)
    weight = rng.standard_normal((columns, features)).astype(dtype)
    with computing_in(mode):
        before = state()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # clean data raise no flag that NumPy would warn of
            y, mask = homfast.linear_relu(x, weight, return_mask=True, backend=engine.backend)
            homfast.linear_relu_backward(y, x, weight, mask, backend=engine.backend)
        after = state()
    for name, (was, found) in differences(before, after).items():
        ensure(False, f"{case}: {name}: {was}, then {found}")
    if engine.keeps_bits:
        check_bits(engine, dtype, rng, rows, features, columns, mode, case)


def check_bits(engine, dtype, rng, rows, features, columns, mode, case):
    """On data whose products are denormal in part, so that flushing shows."""
    scale = float(np.sqrt(np.finfo(dtype).tiny))
    x, weight, grad = (
        (scale * rng.standard_normal(shape)).astype(dtype)
        for shape in ((rows, features), (columns, features), (rows, columns))
    )
    mask = pack(rng.random((rows, columns)) < 0.5)
    weights = [weight, np.ascontiguousarray(weight.T) / dtype.type(scale)]
    net = homfast.ReLUNetwork(weights, negative_slope=SLOPE, backend=engine.backend)
    op = homfast.measure.Gaussian(
        columns, features, seed=1, dtype=dtype, normalize=False, store=False
    )
    options = {"negative_slope": SLOPE, "backend": engine.backend}

    def results(mode, threads):
        homfast.set_num_threads(threads)
        with computing_in(mode):
            forward = homfast.linear_relu(x, weight, return_mask=True, **options)
            gradients = homfast.linear_relu_backward(grad, x, weight, mask, **options)
            output, vjp = net.vjp(x)
            grad_input, grad_weights = vjp(x)
            found = *forward, *gradients, output, grad_input, *grad_weights
            # Numba's on-the-fly products make entries in the caller's mode.
            return (*found, op(x), op.adjoint(grad)) if engine.backend == "native" else found

    wanted = results("default" if engine.backend == "native" else mode, 1)
    for threads in (1, THREADS):
        for number, (result, other) in enumerate(zip(results(mode, threads), wanted, strict=True)):
            assert_same_bits(result, other, f"{case}, result {number}, {threads} threads")


def state():
    """By name; of the calling thread where threads have their own."""
    least, one = np.float64(5e-324), np.float64(1)
    found = {
        "denormals": (float(least + least), float(np.float32(1e-45) * np.float32(1))),
        "rounding": (float(one + 2.0**-53), float(-one - 2.0**-53), float(one / 3)),
        "control bits": control(),
        "NumPy's errstate": np.geterr(),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
    }
    if threading.current_thread() is threading.main_thread():
        found["signal handlers"] = {int(s): signal.getsignal(s) for s in signal.valid_signals()}
    return found


def differences(before, after):
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}
