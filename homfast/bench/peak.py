"""The roofs of the machine, measured: floating-point operations and copied bytes a second."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import homfast
from homfast._backends import native
from homfast.bench.arithmetic import numpy_dtype, wide_dtype
from homfast.bench.threads import default_threads

_COPY_BYTES = 1 << 28  # beyond the caches that a process can count on


def measured_peak(
    dtype: str = "float32", threads: int | None = None, seconds: float = 0.03
) -> float | None:
    """Peak of fused multiply-adds on the current target, by independent chains in registers.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    threads : int, optional
        By default the current number.
    seconds : float
        How long to measure.

    Returns
    -------
    float or None
        Operations a second over all threads, a multiply-add counted as two; None without the
        extension.
    """
    name = np.dtype(dtype).name
    if name not in ("float32", "float64"):
        raise TypeError(f"dtype: got {name}, wanted float32 or float64")
    extension = native._native
    if extension is None:
        return None
    if threads is None:
        return float(extension.measure_peak(name, seconds))
    before = homfast.get_num_threads()
    homfast.set_num_threads(threads)
    try:
        return float(extension.measure_peak(name, seconds))
    finally:
        homfast.set_num_threads(before)


def matrix_unit_peak(seconds: float = 0.03) -> float | None:
    """Peak of bf16 tile products on the current target's matrix unit, in registers alone.

    Returns
    -------
    float or None
        Operations a second over all threads; None where the target has no such unit.
    """
    extension = native._native
    return float(extension.measure_peak("bfloat16", seconds)) or None if extension else None


def roofs(dtype: str) -> dict[str, float]:
    """The peaks that the products of arrays in `dtype` can have: "multiply-adds", "matrix unit"."""
    found = {"multiply-adds": measured_peak(wide_dtype(numpy_dtype(dtype)).name)}
    if dtype != "float64":
        found["matrix unit"] = matrix_unit_peak()
    return {name: peak for name, peak in found.items() if peak is not None}


def copy_bandwidth(threads: int | None = None, repeats: int = 5, size: int = _COPY_BYTES) -> float:
    """Bytes a second, read and written, of copying `size` bytes with NumPy, a part a thread.

    Parameters
    ----------
    threads : int, optional
        By default as many as the kernels use.
    repeats : int
        The median over that many copies is returned.
    size : int
        Bytes to copy.

    Returns
    -------
    float
    """
    threads = threads or default_threads()
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    parts = list(zip(np.array_split(source, threads), np.array_split(target, threads), strict=True))
    times = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repeats):
            start = time.perf_counter()
            list(pool.map(lambda part: np.copyto(part[1], part[0]), parts))
            times.append(time.perf_counter() - start)
    return 2 * size / statistics.median(times)
