"""Standard normal entries into an array that is there: whole rows, and narrow blocks of adjoints.

The peers draw from a state and in turn; ours are addressed by (seed, row, column), the same to the
bit on every machine. float32 and float64, entries per second in ``extra_info``.
"""

import numpy as np
import pytest

from homfast._backends import automatic, reference
from homfast.bench import machine

SHAPES = [(500, 2000), (1 << 16, 16)]
SEED, STREAM = 7, 1 << 24


def filler(peer, out):
    """A call that fills `out`."""
    if peer == "homfast":
        backend = automatic()
        return lambda: backend.gaussian_block(SEED, STREAM, 0, 0, out)
    if peer == "numpy":
        generator = np.random.default_rng(SEED)
        return lambda: generator.standard_normal(dtype=out.dtype, out=out)
    torch = pytest.importorskip("torch")
    return torch.from_numpy(out).normal_


def check(peer, out):
    """Our entries are those of the reference, and everyone's have about the moments they should."""
    if peer == "homfast":
        wanted = np.empty_like(out[:20])
        reference.gaussian_block(SEED, STREAM, 0, 0, wanted)
        assert wanted.tobytes() == out[:20].tobytes()
    tolerance = 6 / np.sqrt(out.size)
    assert abs(out.mean()) < tolerance and abs(out.var() - 1) < 2 * tolerance


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("peer", ["homfast", "numpy", "torch"])
def test_entries(benchmark, same_threads, shape, dtype, peer):
    if not benchmark.enabled:
        shape = (20, 100)
    out = np.zeros(shape, dtype)
    call = filler(peer, out)
    call()
    check(peer, out)
    benchmark.group = f"gaussian {shape} {dtype}"
    benchmark.extra_info |= {
        "dtype": dtype,
        "threads": same_threads,
        "backend": automatic().name if peer == "homfast" else peer,
        "target": machine.target() if peer == "homfast" else "",
    }
    benchmark(call)
    if benchmark.enabled:
        rate = out.size / benchmark.stats.stats.median
        benchmark.extra_info["entries_per_second"] = rate
