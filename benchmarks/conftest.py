"""What every benchmark shares: one contender of a comparison, checked, then timed.

Results are checked against the reference before anything is timed, by ``homfast.bench``. With
``--benchmark-disable`` each benchmark runs once, on a shape shrunk to a millisecond.
These figures are for looking at one contender closely (spread, rounds, histograms); contenders are
compared by ``homfast bench``, which lets them take turns.
"""

from __future__ import annotations

import pytest

from homfast._backends import automatic
from homfast.bench import interleaved, machine, peers, threads
from homfast.bench.cases import LayerCase, shrink_layer, shrink_network
from homfast.bench.peak import measured_peak

DTYPE = "float32"
QUICK_FLOPS = 2_000_000


def pytest_benchmark_update_machine_info(config, machine_info):
    """Processor, target, threads and commit into the JSON file, and the host's name out of it."""
    machine_info["node"] = ""
    machine_info["homfast"] = machine.describe(threads.default_threads())


@pytest.fixture(scope="session")
def same_threads():
    """The same number of threads for all libraries that are installed."""
    peers.load_all(peers.NAMES)
    count = threads.default_threads()
    with threads.same_threads(count):
        yield count


@pytest.fixture
def measure(benchmark, request, same_threads):
    """``measure(kind, case, direction, peer)`` checks and times `peer` (or "homfast") there."""

    def measure(kind, case, direction, peer):
        quick = not benchmark.enabled
        if quick and peer == "torch.compile":
            pytest.skip("torch.compile takes seconds a shape; it runs without --benchmark-disable")
        if quick:
            shrink = shrink_layer if isinstance(case, LayerCase) else shrink_network
            case = shrink(case, QUICK_FLOPS)
        contender = _contender(kind, case, direction, peer)
        flops = case.flops(direction)
        benchmark.group = f"{kind.__name__.rpartition('.')[2]} {direction} {case.label}"
        benchmark.extra_info |= {
            "flops": flops,
            "bytes": case.moved_bytes(direction, itemsize=4),
            "dtype": DTYPE,
            "threads": same_threads,
            "backend": automatic().name if peer == "homfast" else peer,
            "target": machine.target() if peer == "homfast" else "",
        }
        call = contender.call if contender.run is None else lambda: contender.run(1)
        if not quick:
            interleaved.wait_until_quiet(interleaved.PAUSE)  # the pools of the check before
        with contender.context():
            benchmark(call)
        if quick:
            return
        rate = flops / benchmark.stats.stats.median
        peak = measured_peak(DTYPE)
        benchmark.extra_info["gflops"] = rate / 1e9
        benchmark.extra_info["share_of_peak"] = rate / peak if peak else None

    return measure


def _contender(kind, case, direction, name):
    """The contender called `name`, after its check; skips where it cannot take part."""
    chosen = []
    if name != "homfast":
        try:
            chosen = [peers.load(name)]
        except peers.PeerUnavailable as reason:
            pytest.skip(f"{name}: {reason}")
    comparison = kind.comparison(case, direction, DTYPE, chosen)
    if name in comparison.absent:
        pytest.skip(f"{name}: {comparison.absent[name]}")
    return {contender.name: contender for contender in comparison.contenders}[name]
