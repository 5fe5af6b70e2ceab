"""``homfast bench``: the measuring loop with a clock of its own, the checks, the command."""

import argparse
import contextlib
import functools
import itertools
import json
import os
import sys

import numpy as np
import pytest
from processes import output

from homfast.bench import (
    cases,
    cli,
    compare,
    data,
    expected,
    interleaved,
    layers,
    networks,
    peers,
    training,
)
from homfast.bench.interleaved import Contender


class Clock:
    """Time that passes only in calls and pauses."""

    def __init__(self):
        self.now = 0.0
        self.log = []

    def read(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.log.append(("pause", seconds))

    def contender(self, name, durations):
        durations = itertools.cycle(durations)

        def call():
            self.now += next(durations)
            self.log.append((name, self.now))

        return Contender(name, call)

    def measure(self, contenders, **options):
        return interleaved.measure(
            contenders, clock=self.read, sleep=self.sleep, used=lambda: 0.0, **options
        )


def test_median_over_rounds_is_seconds_a_call():
    clock = Clock()
    found = clock.measure(
        [clock.contender("a", [0.002]), clock.contender("b", [0.5])], rounds=5, burst=0.01
    )
    assert found.median("a") == pytest.approx(0.002)
    assert found.median("b") == pytest.approx(0.5)
    assert found.counts == {"a": 5, "b": 1}
    assert [len(bursts) for bursts in found.bursts.values()] == [5, 5]


def test_one_slow_burst_does_not_show():
    clock = Clock()
    # Calls longer than a burst: two of calibration, then one a round.
    slow_once = clock.contender("a", [1.0, 1.0, 1.0, 50.0, 1.0, 1.0, 1.0])
    found = clock.measure([slow_once], rounds=5, burst=0.01)
    assert found.median("a") == pytest.approx(1.0)
    assert max(found.bursts["a"]) == pytest.approx(50.0)


def test_a_pause_comes_before_each_burst_and_each_peak():
    clock = Clock()

    def peak():
        clock.log.append(("peak", clock.now))
        return 1e9

    contenders = [clock.contender(name, [0.5]) for name in "abc"]
    found = clock.measure(contenders, rounds=4, burst=0.01, pause=0.06, between=peak)
    assert len(found.peaks) == 4
    for before, entry in itertools.pairwise(clock.log):
        if entry[0] == "peak" or (entry[0] in "abc" and before[0] != entry[0]):
            assert before[0] == "pause"


def test_a_pause_lasts_until_no_thread_of_the_process_runs():
    slept = []
    used = itertools.chain([0.0, 0.01, 0.01, 0.02, 0.02], itertools.repeat(0.0205))
    interleaved.wait_until_quiet(0.06, slept.append, functools.partial(next, used))
    assert slept == [0.06, 0.01, 0.01, 0.01]
    busy = itertools.count()
    slept.clear()
    interleaved.wait_until_quiet(0.06, slept.append, functools.partial(next, busy))
    assert len(slept) == 101  # somebody never stops: measured all the same
    interleaved.wait_until_quiet(0.0, slept.append)
    assert len(slept) == 101


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_turns_give_everyone_every_place_and_several_predecessors(count):
    orders = [interleaved.turn_order(count, number) for number in range(2 * count)]
    for order in orders:
        assert sorted(order) == list(range(count))
    for place in range(count):
        assert {order[place] for order in orders} == set(range(count))
    if count > 2:
        before = {(a, b) for order in orders for a, b in itertools.pairwise(order)}
        assert all(sum(b == who for _, b in before) > 1 for who in range(count))


def test_share_of_peak_is_that_of_each_round():
    found = interleaved.Measured({"a": [1.0, 2.0, 4.0]}, {"a": 1}, [8.0, 4.0, 2.0])
    assert found.share_of_peak("a", 4.0) == pytest.approx(0.5)
    assert interleaved.Measured({"a": [1.0]}).share_of_peak("a", 1.0) is None


def test_a_deadline_ends_the_rounds_after_three():
    clock = Clock()
    contenders = [clock.contender("a", [1.0])]
    assert len(clock.measure(contenders, rounds=9, deadline=0.0).bursts["a"]) == 3


def test_a_burst_runs_in_the_contenders_context():
    clock = Clock()
    inside = []

    @contextlib.contextmanager
    def context():
        inside.append(True)
        yield
        inside.pop()

    def run(count):
        assert inside
        clock.now += count

    contender = Contender("a", lambda: run(1), run=run, context=context)
    assert clock.measure([contender], rounds=3).median("a") == pytest.approx(1.0)
    assert not inside


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [("a", {"rounds": 2}, "rounds"), ("aa", {}, "each once"), ("", {}, "at least one")],
)
def test_measure_refuses(names, options, message):
    clock = Clock()
    with pytest.raises(ValueError, match=message):
        clock.measure([clock.contender(name, [1.0]) for name in names], **options)


# The checks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [(3, 4096, 5), (2048, 7, 5), (5, 7, 2048)])
def test_exact_layers_are_exact_in_any_order(case, dtype):
    exact = data.layer_data(cases.LayerCase(*case), dtype, exact=True)
    wide = [array.astype(np.float64) for array in exact]
    for one, other in zip(
        expected.layer_backward(exact), expected.layer_backward(data.LayerData(*wide)), strict=True
    ):
        assert np.array_equal(one, other)
    assert np.array_equal(exact.y, np.maximum(wide[0] @ wide[1].T, 0))
    assert np.abs(exact.x).max() > 256  # more bits than bf16 has


def test_exact_networks_are_exact_in_any_order():
    case = cases.NetworkCase(64, (128, 512, 512, 256))
    exact = data.network_data(case, "float32", exact=True)
    wide = data.NetworkData(
        exact.x.astype(np.float64),
        [w.astype(np.float64) for w in exact.weights],
        exact.grad_output.astype(np.float64),
    )
    for one, other in zip(
        expected.network_gradients(exact), expected.network_gradients(wide), strict=True
    ):
        assert np.array_equal(one, other)


def test_products_rounded_to_bf16_do_not_pass():
    exact = data.layer_data(cases.LayerCase(8, 64, 16), "float32", exact=True)
    rounded = (exact.x.view(np.uint32) & 0xFFFF0000).view(np.float32) @ exact.weight.T
    with pytest.raises(expected.WrongResult, match="differs from the reference"):
        expected.check_equal("cheat", np.maximum(rounded, 0), [exact.y])
    timed = data.network_data(cases.NetworkCase(8, (64, 32, 16)), "float32")
    cut = [(w.view(np.uint32) & 0xFFFF0000).view(np.float32) for w in timed.weights]
    output = np.maximum(timed.x @ cut[0].T, 0) @ cut[1].T
    with pytest.raises(expected.WrongResult, match="times the bound"):
        expected.check_forward("cheat", output, timed.x, timed.weights, last_linear=True)


def test_a_nan_does_not_pass():
    timed = data.layer_data(cases.LayerCase(4, 8, 8), "float32")
    output = timed.y.copy()
    output[0, 0] = np.nan
    with pytest.raises(expected.WrongResult):
        expected.check_forward("bad", output, timed.x, [timed.weight], last_linear=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_contender_passes_its_checks(dtype):
    names = [name for name in peers.NAMES if name != "torch.compile"]  # seconds a shape
    present, _ = peers.load_all(names)
    for direction in layers.DIRECTIONS:
        found = layers.comparison(cases.LayerCase(9, 33, 17), direction, dtype, present)
        assert [c.name for c in found.contenders][:2] == ["homfast", "numpy"]
    for direction in networks.DIRECTIONS:
        networks.comparison(cases.NetworkCase(9, (33, 17, 20, 5)), direction, dtype, present)


def test_every_training_step_passes_its_check():
    present, _ = peers.load_all(training.PEERS)
    case = cases.NetworkCase(9, (33, 17, 20, 5))
    found = training.comparison(case, "step", "float32", present)
    assert [c.name for c in found.contenders] == ["homfast", *(peer.name for peer in present)]


# Threads of the peers -----------------------------------------------------------------------------

JAX_PRODUCTS = """
import os, time
from homfast.bench import cases, data, jax_peers
complaints = [jax_peers.set_threads(threads) for threads in ({first}, {second})]
operands = data.layer_data(cases.LayerCase(1024, 512, 1024), "float32")
contender = jax_peers.JaxPeer().layers_forward(operands)
contender.result()
def ticks():
    found = {{}}
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{{task}}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        found[task] = int(fields[11]) + int(fields[12])
    return found
before, end = ticks(), time.perf_counter() + 20
while time.perf_counter() < end:
    contender.result()
    spent = [n - before.get(task, 0) for task, n in ticks().items()]
    if sum(spent) > 100:
        break
print([complaint is None for complaint in complaints], sum(n > sum(spent) / 8 for n in spent))
print(complaints[1], "NPROC" in os.environ)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/task")
def test_jax_computes_on_as_many_threads_as_are_set():
    pytest.importorskip("jax")
    first, second = output(JAX_PRODUCTS.format(first=1, second=2), NPROC=None).splitlines()
    assert first == "[True, False] 1"
    assert second.startswith("JAX keeps its 1 threads, wanted 2") and second.endswith("False")


def test_jax_says_so_if_its_pool_was_made_before():
    pytest.importorskip("jax")
    code = "import jax; jax.devices()\nfrom homfast.bench import jax_peers\n"
    assert "its own number of threads" in output(code + "print(jax_peers.set_threads(1))")


def test_jax_is_absent_in_float64_with_a_reason():
    pytest.importorskip("jax")
    found = layers.comparison(cases.LayerCase(2, 3, 5), "forward", "float64", [peers.load("jax")])
    assert "float32" in found.absent["jax"]


@pytest.mark.skipif(sys.platform != "linux", reason="counts /proc/self/task")
def test_onnx_runtime_starts_as_many_threads_as_are_set(monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from homfast.bench import onnx_peers

    operands = data.layer_data(cases.LayerCase(2, 3, 5), "float32", exact=True)
    for count in (1, 3):
        monkeypatch.setattr(onnx_peers, "_threads", None)
        onnx_peers.set_threads(count)
        before = len(os.listdir("/proc/self/task"))
        contender = onnx_peers.OnnxRuntimePeer().layers_forward(operands)
        assert len(os.listdir("/proc/self/task")) - before == count - 1
        expected.check_equal("onnxruntime", contender.result(), [operands.y])


def test_a_library_that_is_not_there_is_listed(monkeypatch):
    monkeypatch.setitem(peers._PEERS, "numpy", ("homfast.bench.nowhere", "Peer"))
    present, absent = peers.load_all(["numpy"])
    assert not present
    assert "not installed" in absent["numpy"]


# Costs and shapes ---------------------------------------------------------------------------------


def test_flops_count_each_product_once():
    assert cases.LayerCase(2, 3, 5).flops("forward") == 60
    assert cases.LayerCase(2, 3, 5).flops("backward") == 120
    network = cases.NetworkCase(2, (3, 5, 7))
    assert network.flops("forward") == 2 * 2 * (15 + 35)
    assert network.flops("gradients") == 3 * network.flops("forward")
    assert network.flops("step") == 3 * network.flops("forward") - 60
    assert cases.LayerCase(2, 3, 5).moved_bytes("forward", 4) == 4 * (6 + 15 + 10)


def test_shrinking_ends_below_the_limit():
    for case in cases.LAYERS:
        assert cases.shrink_layer(case, 10_000).flops("forward") <= 10_000
    for network in cases.NETWORKS:
        assert cases.shrink_network(network, 10_000).flops("forward") <= 10_000


# The command --------------------------------------------------------------------------------------


def bench(*words):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(words))


def test_command_measures_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("homfast.bench.peak.copy_bandwidth", lambda threads: 1e9)
    quick = functools.partial(compare.Settings, burst=1e-4, pause=0.0)
    monkeypatch.setattr(compare, "Settings", quick)
    path, plot = tmp_path / "layers.json", tmp_path / "roofline.png"
    unset = ["somebody keeps a thread"]
    monkeypatch.setattr(
        "homfast.bench.threads.same_threads", lambda n: contextlib.nullcontext(unset)
    )
    words = ["--peers", "numpy", "--rounds", "3", "--json", str(path)]
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        pass
    else:
        words += ["--plot", str(plot)]
    assert bench("layers", "--shapes", "2,3,5", "4,8,8", *words) == 0
    printed = capsys.readouterr().out
    assert "(2, 3, 5)" in printed
    assert "geometric mean" in printed
    assert "NOTE: somebody keeps a thread" in printed
    result = json.loads(path.read_text())
    assert [row["direction"] for row in result["rows"]] == ["forward", "backward"] * 2
    assert result["threads_not_set"] == unset
    first = result["rows"][0]
    assert first["best_peer"] == "numpy"
    assert first["ratio"] == pytest.approx(
        first["seconds"]["numpy"] / first["seconds"]["homfast"], rel=1e-3
    )
    assert set(result["geometric_mean"]) == {"forward", "backward"}
    assert plot.exists() == ("--plot" in words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["layers", "--shapes", "2,3"], "batch,in_features,out_features"),
        (["layers", "--shapes", "a,b,c"], "wanted integers"),
        (["networks", "--shapes", "0,2,3"], "at least 1"),
        (["layers", "--threads", "0"], "--threads"),
        (["layers", "--rounds", "2"], "--rounds"),
        (["layers", "--seconds", "-1"], "--seconds"),
        (["layers", "--peers", "matlab"], "wanted some of numpy"),
        (["layers", "--json", "no/such/folder/x.json"], "folder"),
        (["layers", "--target", "vax"], ""),
    ],
)
def test_command_complains_in_one_line(words, message, capsys):
    assert bench(*words) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("homfast bench: ")
    assert message in complaint
    assert complaint.count("\n") == 1


def test_command_stops_at_a_wrong_result(monkeypatch, capsys):
    monkeypatch.setattr("homfast.bench.peak.copy_bandwidth", lambda threads: 1e9)
    monkeypatch.setattr("homfast.bench.ours.layers_forward", lambda d: Contender("x", lambda: d.x))
    assert bench("layers", "--shapes", "2,3,5", "--peers") == 1
    assert "wrong result" in capsys.readouterr().err
