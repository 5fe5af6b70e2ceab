"""Measure more signals than fit in memory, with Dask's schedulers and homfast's kernels.

Rows of a Dask array are signals; ``map_blocks`` hands a homfast operator one block at a time. An
operator is no more than its seed, so that it travels to any worker and has the same entries there:

    python examples/dask_measure.py                            # 200,000 signals, 3.05 GiB
    python examples/dask_measure.py --scheduler processes --output measurements

Dask runs as many blocks at a time as it has workers, so that each gets its share of the cores and
no more: homfast's pool is held to it in every process.
"""

from __future__ import annotations

import argparse
import functools
import os
import time

import dask
import dask.array as da
import numpy as np

import homfast


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--signals", type=int, default=200_000)
    parser.add_argument("--size", type=int, default=4096, help="n, the length of a signal")
    parser.add_argument("--measurements", type=int, default=1024, help="m")
    parser.add_argument("--block", type=int, default=4096, help="signals a block")
    parser.add_argument("--scheduler", choices=["threads", "processes"], default="threads")
    parser.add_argument("--workers", type=int, help="blocks at a time, by default one a core")
    parser.add_argument("--output", help="folder for the measurements, a .npy file a block")
    return parser.parse_args()


def hold_threads(workers: int) -> None:
    """Give homfast the share of the cores that one of so many workers has."""
    homfast.set_num_threads(max(1, len(os.sched_getaffinity(0)) // workers))


def draw(block_info=None) -> np.ndarray:
    """Signals of a block, a function of its place; in earnest they would come from files."""
    place = block_info[None]
    generator = np.random.default_rng(place["array-location"][0][0])
    return generator.standard_normal(place["chunk-shape"], dtype=np.float32)


def measure(block: np.ndarray, operator) -> np.ndarray:
    return operator(block)


def main() -> None:
    options = arguments()
    workers = options.workers or len(os.sched_getaffinity(0))
    operator = homfast.measure.Hadamard(options.measurements, options.size, seed=7)
    counts = [options.block] * (options.signals // options.block)
    counts += [options.signals % options.block] if options.signals % options.block else []
    signals = da.map_blocks(draw, chunks=(tuple(counts), (options.size,)), dtype=np.float32)
    measured = signals.map_blocks(
        functools.partial(measure, operator=operator),
        chunks=(tuple(counts), (options.measurements,)),
        dtype=np.float32,
        meta=np.empty((0, 0), np.float32),
    )
    gigabytes = signals.nbytes / 2**30
    print(f"{gigabytes:.3g} GiB of signals in {len(counts)} blocks, {workers} at a time")
    print(f"measured by {operator!r}")

    hold = functools.partial(hold_threads, workers)
    hold()
    start = time.perf_counter()
    with dask.config.set(
        {
            "scheduler": options.scheduler,
            "num_workers": workers,
            "multiprocessing.initializer": hold,
        }
    ):
        if options.output:
            da.to_npy_stack(options.output, measured)
        else:  # nothing but a sum is kept
            energy = da.square(measured, dtype=np.float64).mean().compute()
            print(f"mean energy of a measurement {energy:.4f}")
    seconds = time.perf_counter() - start
    print(f"{options.signals / seconds:,.0f} signals a second, {gigabytes / seconds:.3g} GiB/s")


if __name__ == "__main__":
    main()
