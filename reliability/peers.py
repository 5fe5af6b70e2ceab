"""The same layers by the others: how often a row's bits change, and an error passes the bound.

    python reliability/peers.py [--cases N] [--json FILE]

Each library computes x W^T (float32) for the same data in one process. A case counts against it if
any row changes a bit with the batch (1 to 257 rows, another position), with the number of threads
(1, 2, 3, 5), if any element is beyond the componentwise bound of homfast's contract, if a NaN
leaves its row, or if f(2^k x) is not 2^k f(x) to the bit. None of them promises any of that. What
is not here is named below the table: a peer that is not installed, oneDNN where PyTorch does not
enter it, and CuPy, for these arrays are on the CPU.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import homfast
import required
import scores
from homfast.selftesting import sizes
from homfast.selftesting.oracles import KINDS, operands, product, same_bits

THREADS = (1, 2, 3, 5)
WHOLE = 257
CHECKS = ("batch", "threads", "bound", "NaN", "scale")


class Library:
    """One way to compute a layer, and to say on how many threads."""

    def __init__(self, name: str, linear: Callable[..., np.ndarray], threads: Callable[[int], Any]):
        self.name, self.linear, self.threads = name, linear, threads


def of_homfast(invariant: bool) -> Library:
    """On plain arrays; with the setting that few rows need, or without it."""

    def linear(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        homfast.set_batch_invariant(invariant)
        return homfast.linear(x, weight)

    words = "homfast, batch-invariant" if invariant else "homfast"
    return Library(words, linear, homfast.set_num_threads)


def of_numpy() -> Library:
    """Its matrix product, by the BLAS it was built with."""
    limits = importlib.import_module("threadpoolctl")
    controller = limits.ThreadpoolController().select(user_api="blas")
    held: list[Any] = []

    def threads(count: int) -> None:
        held[:] = [controller.limit(limits=count)]

    return Library(f"NumPy {np.__version__}", lambda x, weight: x @ weight.T, threads)


def of_torch() -> Library:
    """PyTorch's linear, without oneDNN."""
    torch = importlib.import_module("torch")

    def linear(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
            layer = torch.nn.functional.linear(torch.from_numpy(x), torch.from_numpy(weight))
        return np.asarray(layer)

    return Library(f"PyTorch {torch.__version__}", linear, torch.set_num_threads)


def of_onednn() -> Library:
    """PyTorch's linear of a tensor in oneDNN's layout; of a plain one it is another library's."""
    torch = importlib.import_module("torch")
    name = f"PyTorch {torch.__version__}, oneDNN"
    told = enters_onednn()
    if told:
        raise ImportError(f"{name}: {told}")
    return Library(name, onednn_linear, torch.set_num_threads)


def onednn_linear(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    torch = importlib.import_module("torch")
    with torch.no_grad():
        layout = torch.from_numpy(x).to_mkldnn()
        layer = torch.nn.functional.linear(layout, torch.from_numpy(weight))
        return np.asarray(layer.to_dense())


def enters_onednn(call: str = "onednn_linear") -> str:
    """Why a product by a function of this file is none of oneDNN's, by what it prints, or ""."""
    code = f"import numpy, peers; x = numpy.ones((40, 64), 'f4'); peers.{call}(x, x[:30].copy())"
    places = [str(Path(__file__).parent), str(Path(homfast.__file__).parent.parent)]
    path = os.pathsep.join(filter(None, [*places, os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path, "ONEDNN_VERBOSE": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    printed = re.search(r"^onednn_verbose.*,exec,cpu,(inner_product|matmul),", done.stdout, re.M)
    return "" if printed else "a linear of float32 calls no product of oneDNN"


def libraries() -> tuple[list[Library], list[str]]:
    """Those that are here, and a line for each other."""
    makers: list[Callable[[], Library]] = [
        lambda: of_homfast(True),
        lambda: of_homfast(False),
        of_numpy,
        of_torch,
        of_onednn,
    ]
    found, absent = [], []
    for make in makers:
        try:
            found.append(make())
        except ImportError as error:
            absent.append(f"not run: {error}")
    return found, [*absent, "CuPy: not run"]


def judge(library: Library, number: int) -> dict[str, bool]:
    """Whether case `number` counts against a library, by check."""
    rng = np.random.default_rng((7, number))
    shape = sizes.layer(rng, WHOLE)
    features, columns = shape["features"], shape["columns"]
    kind = KINDS[number % len(KINDS)]
    x, weight = operands(rng, kind, WHOLE, features, columns, np.float32)
    batch = int(rng.integers(1, WHOLE + 1))
    start = int(rng.integers(0, WHOLE - batch + 1))
    library.threads(2)
    whole = library.linear(x, weight)
    part = library.linear(x[start : start + batch].copy(), weight)
    wrong = {"batch": not same_bits(part, whole[start : start + batch])}
    wrong["threads"] = False
    for threads in THREADS:
        library.threads(threads)
        wrong["threads"] |= not same_bits(library.linear(x, weight), whole)
    library.threads(2)
    value, bound = product(x, weight.T)
    with np.errstate(invalid="ignore"):
        wrong["bound"] = not bool((np.abs(whole.astype(np.float64) - value) <= bound).all())
    poisoned = x.copy()
    row = int(rng.integers(WHOLE))
    poisoned[row] = np.nan
    left = np.arange(WHOLE) != row
    wrong["NaN"] = not bool(np.isfinite(library.linear(poisoned, weight)[left]).all())
    k = int(rng.integers(-12, 13))
    scaled = library.linear(np.ldexp(x, k), weight)
    wrong["scale"] = not same_bits(scaled, np.ldexp(whole, k))
    return wrong


def table(counts: dict[str, dict[str, int]], cases: int, absent: list[str]) -> str:
    """For people, and for the page."""
    head = "| of " + f"{cases:,} layers, wrong by | " + " | ".join(CHECKS) + " |"
    rows = [f"| {name} | {' | '.join(str(c[k]) for k in CHECKS)} |" for name, c in counts.items()]
    ruled = "\n".join([head, "| --- |" + " ---: |" * len(CHECKS), *rows])
    return "\n\n".join([ruled, *absent])  # a line right below would be a row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=required.at_least_one, default=2000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    required.native_extension()
    scores.begin(arguments.json, [])
    counts: dict[str, dict[str, int]] = {}
    found, absent = libraries()
    for library in found:
        counts[library.name] = dict.fromkeys(CHECKS, 0)
        for number in range(arguments.cases):
            for check, wrong in judge(library, number).items():
                counts[library.name][check] += wrong
        print(library.name, counts[library.name], flush=True)
    told = table(counts, arguments.cases, absent)
    print(told)
    if arguments.json:
        scores.save(arguments.json, [], {"peers": told})
    return 1 if any(counts["homfast, batch-invariant"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
