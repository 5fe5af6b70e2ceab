"""``homfast bench``: the measuring loop with a clock of its own, and what is counted."""

import contextlib
import functools
import itertools
import math

import pytest

from homfast.bench import cases, interleaved, peak
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
        return {"roof": 1e9}

    contenders = [clock.contender(name, [0.5]) for name in "abc"]
    found = clock.measure(contenders, rounds=4, burst=0.01, pause=0.06, between=peak)
    assert found.peaks == {"roof": [1e9] * 4}
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
    peaks = {"roof": [8.0, 4.0, 2.0], "higher": [16.0, 16.0, 16.0]}
    found = interleaved.Measured({"a": [1.0, 2.0, 4.0]}, {"a": 1}, peaks)
    assert found.share_of_peak("a", 4.0, "roof") == pytest.approx(0.5)
    assert found.share_of_peak("a", 4.0, "higher") == pytest.approx(0.125)
    assert found.peak("roof") == pytest.approx(4.0)
    assert found.share_of_peak("a", 1.0, "none") is None and found.peak("none") is None


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


def test_a_matrix_unit_rests_below_sixteen_rows_and_terms():
    assert cases.LayerCase(16, 16, 3).on_matrix_unit("forward")
    assert not cases.LayerCase(16, 16, 3).on_matrix_unit("backward")
    assert not cases.LayerCase(15, 300, 77).on_matrix_unit("forward")
    assert not cases.LayerCase(16, 15, 77).on_matrix_unit("forward")
    network = cases.NetworkCase(1, (16, 16, 3))
    assert network.on_matrix_unit("forward")
    assert not network.on_matrix_unit("gradients")


# Roofs --------------------------------------------------------------------------------------------


def test_peaks_are_measured(native_engine):
    """A matrix unit's where there is one; multiply-adds' everywhere."""
    found = [peak.measured_peak(dtype, seconds=0.001) for dtype in ("float32", "float64")]
    assert all(0 < value < math.inf for value in found)
    unit = peak.matrix_unit_peak(seconds=0.001)
    assert (unit is None) == (native_engine.target != "amx")
    assert unit is None or 0 < unit < math.inf
    names = ["multiply-adds", *(["matrix unit"] if unit else [])]
    assert list(peak.roofs("float32")) == list(peak.roofs("bfloat16")) == names
    assert list(peak.roofs("float64")) == ["multiply-adds"]


def test_peaks_of_other_dtypes_are_refused(native_engine):
    with pytest.raises(TypeError, match="dtype"):
        peak.measured_peak("int32")
