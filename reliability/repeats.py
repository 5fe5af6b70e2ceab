"""The same bits in every run, in every process, and whatever was in memory before.

    python reliability/repeats.py [--shapes N] [--seed S] [--json FILE]

Every op of operations.py, of N shapes that are drawn, is computed twice in each of five processes,
in another order each time. In four of them all memory that is given out, to results and to new
workspaces, holds zeros, the bytes of NaN, of a huge number, or noise; so do the arrays given as
`out`. What a thread keeps between calls holds what the call before, another op, left there.
Exit status 0 if each op gave one hash; else the lines that repeat those that did not.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import homfast
import required
import scores
from homfast.selftesting import sizes
from homfast.selftesting.engines import Engine, computing_on, engines
from operations import DTYPES, corpus, digest

POISONS = {"as it is": None, "zeros": 0x00, "NaN": 0xFF, "huge": 0x7F, "noise": None}
LARGEST = 200
CACHED = range(1, 1024)  # bytes: NumPy keeps arrays below 1 KiB, up to seven of a size, and gives
KEPT = 7  # them out again as they are
M_PERTURB = -6  # of mallopt: memory is filled as it is given out, and as it is given back
Cases = dict[str, tuple[Engine, Callable[[], Any]]]


def poison_memory(byte: int) -> np.ndarray:
    """Fill what the C library gives out from now on; RuntimeError if it does not.

    Returns what `refill_cache` takes for it.
    """
    library = ctypes.CDLL(None)
    # The library fills with the complement, and not at all if the whole number is 0.
    if not library.mallopt(M_PERTURB, (byte ^ 0xFF) | 0x100):
        raise RuntimeError("mallopt took no M_PERTURB")
    library.aligned_alloc.restype = ctypes.c_void_p
    library.aligned_alloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    for size in (1 << 12, 1 << 16, 1 << 20):
        place = library.aligned_alloc(64, size)  # as workspaces do
        found = set(ctypes.string_at(place, size)) | set(np.empty(size, np.uint8).tobytes())
        library.free(place)
        if found != {byte}:
            raise RuntimeError(f"new memory of {size} bytes does not hold the poison")
    content = np.full(CACHED.stop, byte, np.uint8)
    refill_cache(content)
    for size in (1, 300, 1023):
        if set(np.empty(size, np.uint8).tobytes()) != {byte}:
            raise RuntimeError(f"a new array of {size} bytes does not hold the poison")
    return content


def refill_cache(content: np.ndarray) -> None:
    """Let the small arrays that NumPy gives out from now on begin with these bytes."""
    for size in CACHED:
        kept = [np.empty(size, np.uint8) for _ in range(KEPT)]
        for array in kept:
            array[...] = content[:size]


def leave_noise(noise: bytes) -> None:
    """Blocks of many sizes that held noise, given back."""
    blocks = [np.frombuffer(noise, np.uint8, 1 << k).copy() for k in range(5, 21) for _ in range(2)]
    blocks.clear()


def with_out(poison: str, rng: np.random.Generator, rows: int, width: int, dtype: str) -> Cases:
    """Calls that write into an array that is there, with the poison in it."""
    data = np.random.default_rng(7)
    x = data.standard_normal((rows, width)).astype(dtype)
    weight = data.standard_normal((width, width)).astype(dtype)
    net = homfast.ReLUNetwork([weight, weight])
    calls = {"linear": homfast.linear, "linear_relu": homfast.linear_relu}

    def out() -> np.ndarray:
        made = np.empty((rows, width), dtype)
        raw = made.view(np.uint8)
        byte = POISONS[poison]
        raw[...] = rng.integers(0, 256, raw.shape, np.uint8) if byte is None else byte
        return made

    found: dict[str, Callable[[], Any]] = {
        name: lambda call=call: call(x, weight, out=out()) for name, call in calls.items()
    }
    return {**found, "network": lambda: net(x, out=out())}


def cases(poison: str, rng: np.random.Generator, shapes: int, seed: int, only: str) -> Cases:
    """All whose names hold some words, by name, for every process alike."""
    drawn = np.random.default_rng(seed)
    chosen = [(sizes.size(drawn, LARGEST), sizes.size(drawn, LARGEST)) for _ in range(shapes)]
    here = [engine for engine in engines() if engine.keeps_bits]
    # Names end in the engine: the others need not be made.
    here = [engine for engine in here if f"on {engine}" in only] or here
    found: Cases = {name: (engine, call) for name, engine, call in corpus(here, chosen)}
    for engine in here:
        with computing_on(engine):
            for rows, width in chosen:
                for dtype in DTYPES:
                    calls = with_out(poison, rng, rows, width, dtype)
                    where = f"of {rows} x {width} {dtype} on {engine}"
                    found |= {f"{n} into out {where}": (engine, c) for n, c in calls.items()}
    return {name: case for name, case in found.items() if only in name}


def hashes(poison: str, shapes: int, seed: int, only: str) -> Iterator[tuple[str, str]]:
    """In this process: each case twice, in an order of its own, with the hash of its result."""
    rng = np.random.default_rng([seed, *poison.encode()])
    byte, noise = POISONS[poison], rng.bytes(1 << 20)
    small = None  # what small arrays begin with
    if byte is not None:
        small = poison_memory(byte)
    elif poison == "noise":
        small = np.frombuffer(noise, np.uint8, CACHED.stop)
    made = cases(poison, rng, shapes, seed, only)
    for _ in range(2):
        for name in rng.permutation(list(made)).tolist():
            engine, call = made[name]
            if poison == "noise":
                leave_noise(noise)
            with computing_on(engine):
                if small is not None:
                    refill_cache(small)
                yield name, digest(call())


def run_process(poison: str, shapes: int, seed: int, only: str) -> list[tuple[str, str]]:
    """`hashes`, in a process of its own; RuntimeError if that ends otherwise."""
    this = str(Path(homfast.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [this, os.environ.get("PYTHONPATH", "")]))
    # The C library's cache of small blocks gives them out as they are.
    tunables = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
    command = [sys.executable, __file__, f"--in-child={poison}", f"--shapes={shapes}"]
    done = subprocess.run(
        [*command, f"--seed={seed}", f"--only={only}"],
        env={**os.environ, **tunables, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"memory {poison}: exit {done.returncode}: {done.stderr[-3000:]}")
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def compare(shapes: int, seed: int, only: str = "") -> tuple[int, list[str], int]:
    """How many cases, which gave several hashes, and how many results were compared."""
    first: dict[str, str] = {}
    wrong: list[str] = []
    compared = 0
    for poison in POISONS:
        for name, found in run_process(poison, shapes, seed, only):
            if first.setdefault(name, found) != found:
                line = f"--shapes {shapes} --seed {seed} --only '{name}'"
                wrong.append(f"memory {poison}: python reliability/repeats.py {line}")
            compared += 1
    return len(first), wrong, compared - len(first)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", type=required.at_least_one, default=12)
    parser.add_argument("--seed", type=required.seed, default=0)
    parser.add_argument("--only", default="", help="cases whose names hold these words")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--in-child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    chosen = arguments.shapes, arguments.seed, arguments.only
    if arguments.in_child is not None:
        for pair in hashes(arguments.in_child, *chosen):
            print(json.dumps(pair))
        return 0
    required.native_extension()
    scores.begin(arguments.json, ["S10"])
    count, wrong, compared = compare(*chosen)
    for line in wrong:
        print(line)
    words = f"{len(wrong)} of {compared:,} repetitions of {count:,} cases"
    found = scores.Score("S10", words, not wrong and count > 0, 0 if arguments.only else compared)
    return scores.conclude([found], arguments.json, wrong[:50])


if __name__ == "__main__":
    sys.exit(main())
