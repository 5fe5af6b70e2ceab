"""Damaged files for `ReLUNetwork.load`: each must load as a network, or be refused with ValueError.

    python reliability/loader_fuzz.py [--count N] [--seed S] [--json FILE]

A file is a good one with a few bytes, or its header's words, changed, so that no good one has its
bytes; a repeat of an earlier file is left out, and another comes in its place. What counts: crashes
(the run breaks off), other exceptions, networks that do not compute, and memory that Python gives
out beyond twice the file's size and 1 MiB. The good files must load with the bits that were saved,
and of a hundred files or more some must load and some be refused; then those of large_files.py are
read, too, where a whole process may take what SECURITY.md says: four times the size of a network's
file. Exit status 0 if all that is so. The seed and the number of a file make it.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import sys
import tempfile
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import homfast
import large_files
import required
import scores

ALLOWANCE = 1 << 20  # bytes: what the parser and the exceptions take
ENOUGH = 100  # files of which some load and some are refused; fewer repeat a failure
WORDS = [
    "F32",
    "F64",
    "BF16",
    "I64",
    "BOOL",
    "F8_E5M2",
    "X",
    "",
    "layers.0.bias",
    "layers.7.weight",
]
NUMBERS = [0, 1, -1, 2, 3, 7, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, 1e300, None, "4", [], {}]


def good_files() -> list[bytes]:
    """Networks of both dtypes, of one layer and of three, with and without a slope.

    RuntimeError if one does not load with its own bits.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.safetensors"
        for dtype in (np.float32, np.float64):
            for widths in ([3, 2], [4, 5, 6, 3]):
                for slope in (0.0, 0.25):
                    net = homfast.ReLUNetwork.random(
                        widths, seed=1, dtype=dtype, negative_slope=slope
                    )
                    net.save(path)
                    path.write_bytes(ordered(path.read_bytes()))
                    if not same(net, homfast.ReLUNetwork.load(path)):
                        raise RuntimeError(f"a good file of {net!r} loads as another network")
                    found.append(path.read_bytes())
    return found


def ordered(data: bytes) -> bytes:
    """A file with its header's names in order: safetensors writes them in another each time."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    words = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    words += b" " * (-len(words) % 8)
    return len(words).to_bytes(8, "little") + words + data[8 + size :]


def same(net: Any, loaded: Any) -> bool:
    """Whether two networks have the same weights, to the bit, and options."""
    pairs = zip(net.weights, loaded.weights, strict=True)
    return (
        net.widths == loaded.widths
        and net.dtype == loaded.dtype
        and (net.negative_slope, net.precision) == (loaded.negative_slope, loaded.precision)
        and all(mine.tobytes() == other.tobytes() for mine, other in pairs)
    )


def with_header(data: bytes, rng: np.random.Generator) -> bytes:
    """A header that is JSON still, with a value, a name or a length changed."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    name = str(rng.choice(sorted(header)))
    entry = header[name]
    what = int(rng.integers(6))
    if what == 0:
        header[str(rng.choice(WORDS))] = header.pop(name)
    elif what == 1:
        header.pop(name)
    elif what == 2 and name != "__metadata__":
        entry["dtype"] = str(rng.choice(WORDS))
    elif what == 3 and name != "__metadata__":
        key = str(rng.choice(["shape", "data_offsets"]))
        entry[key][int(rng.integers(2))] = NUMBERS[int(rng.integers(len(NUMBERS)))]
    elif name == "__metadata__":
        key = str(rng.choice(["negative_slope", "precision", "format", "more"]))
        values = ["nan", "inf", "-1e400", "", "0x1p3", "high", "lowest", "1_0", "٣"]
        entry[key] = str(rng.choice(values))
    else:
        header["__metadata__"] = NUMBERS[int(rng.integers(len(NUMBERS)))]
    words = json.dumps(header).encode()
    words += b" " * (-len(words) % 8)
    return len(words).to_bytes(8, "little") + words + data[8 + size :]


def damaged(seed: int, number: int, good: list[bytes]) -> bytes:
    """File `number` of a run, which is none of the good ones."""
    rng = np.random.default_rng((seed, number))
    while (data := damage(rng, good)) in good:
        pass
    return data


def damage(rng: np.random.Generator, good: list[bytes]) -> bytes:
    """A good file with a change, which may come to nothing."""
    data = good[int(rng.integers(len(good)))]
    if rng.random() < 0.5:
        data = with_header(data, rng)
    what = int(rng.integers(5))
    changed = bytearray(data)
    if what == 0:  # a few bytes anywhere
        for place in rng.integers(len(changed), size=int(rng.integers(1, 8))):
            changed[place] = int(rng.integers(256))
    elif what == 1:  # a few bits of the header
        for place in rng.integers(min(len(changed), 200), size=int(rng.integers(1, 4))):
            changed[place] ^= 1 << int(rng.integers(8))
    elif what == 2:  # too short, or too long
        cut = int(rng.integers(len(changed) + 1))
        changed = changed[:cut] if rng.random() < 0.7 else changed + bytes(cut)
    elif what == 3:  # another length of the header
        size = [0, 1, 8, len(data), 1 << 20, 1 << 40, (1 << 64) - 1][int(rng.integers(7))]
        changed[:8] = size.to_bytes(8, "little")
    return bytes(changed)


def judge(path: Path, size: int) -> str:
    """What `load` makes of a file; words that begin with "WRONG" are failures."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        net = homfast.ReLUNetwork.load(path)
    except ValueError:
        verdict = "refused"
    except Exception as error:
        return f"WRONG {type(error).__name__}: {error}"
    else:
        y = net(np.ones((2, net.widths[0]), net.dtype))
        if y.shape != (2, net.widths[-1]):
            return f"WRONG shape {y.shape}"
        verdict = "loaded"
    peak = tracemalloc.get_traced_memory()[1] - before
    return f"WRONG {peak} bytes" if peak > 2 * size + ALLOWANCE else verdict


def run(count: int, seed: int, first: int = 0) -> Iterator[tuple[int, str]]:
    """The number of each file, and its verdict: of `count` files that all differ."""
    good = good_files()
    seen: set[bytes] = set()
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    tracemalloc.start()
    try:
        with tempfile.TemporaryDirectory(dir=place) as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # weights may be NaN or overflow
            path = Path(folder) / "net.safetensors"
            for number in itertools.count(first):
                if len(seen) == count:
                    break
                data = damaged(seed, number, good)
                mark = hashlib.blake2b(data, digest_size=16).digest()
                if mark in seen:
                    continue
                seen.add(mark)
                path.write_bytes(data)
                yield number, judge(path, len(data))
    finally:
        tracemalloc.stop()


def score(found: Counter[str], wrong: int, large: list[str]) -> scores.Score:
    """Of files that were all refused, or all taken, nothing was learned."""
    count = found.total()
    words = f"{wrong} of {count:,} distinct files"
    both = count < ENOUGH or bool(found["loaded"] and found["refused"])
    if not both:
        words += f", {found['loaded']:,} loaded, {found['refused']:,} refused"
    if large:
        words += f"; {len(large)} large files took more memory, or ended otherwise"
    return scores.Score("S26", words, not wrong and both and not large, count)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=required.at_least_one, default=1_000_000)
    parser.add_argument("--seed", type=required.seed, default=0)
    parser.add_argument(
        "--first", type=required.seed, default=0, help="the number of the first file"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    required.this_checkout()
    scores.begin(arguments.json, ["S26"])
    found: Counter[str] = Counter()
    wrong: list[dict[str, Any]] = []
    for number, verdict in run(arguments.count, arguments.seed, arguments.first):
        found[verdict.split()[0]] += 1
        if verdict.startswith("WRONG"):
            wrong.append({"seed": arguments.seed, "number": number, "verdict": verdict})
            print(f"--seed {arguments.seed} --first {number} --count 1: {verdict}", flush=True)
    print(", ".join(f"{n} {word}" for word, n in sorted(found.items())))
    large: list[str] = []
    if arguments.count >= ENOUGH:
        for line, right in large_files.run():
            print(line if right else f"WRONG {line}", flush=True)
            large += [] if right else [line]
    details = {"verdicts": dict(found), "wrong": wrong[:100], "large": large}
    return scores.conclude([score(found, len(wrong), large)], arguments.json, details)


if __name__ == "__main__":
    sys.exit(main())
