"""``homfast bench --device cuda`` on devices that are not there: a clock instead of events."""

import json
import sys
import time

import numpy as np
import pytest
from test_bench_command import bench, quick  # noqa: F401
from test_bench_report import report  # noqa: F401

from homfast.bench import device_contenders, device_machine, device_operators, device_plan
from homfast.bench.cases import NetworkCase
from homfast.bench.data import network_data

pytest_plugins = ("cuda_device", "device_libraries")

PROPERTIES = {
    "device": "a card", "compute_capability": "9.0", "l2_bytes": 1000, "memory_bytes": 1 << 30,
}  # fmt: skip


class Machine(device_machine.Machine):
    def event(self):
        return time.perf_counter()

    def seconds(self, first, last):
        return last - first

    def properties(self):
        return PROPERTIES


@pytest.fixture
def at(device, monkeypatch, quick):  # noqa: F811
    """The machine of a library of arrays, which the command finds."""
    machine = Machine(device.array(np.zeros(0, np.float32)))
    monkeypatch.setattr(device_machine, "find", lambda: machine)
    monkeypatch.setattr(device_operators, "ELEMENTS", 1 << 10)
    monkeypatch.setattr(device_operators, "copied_bytes_per_second", lambda *a: 1e9)
    if device.name == "cupy":
        monkeypatch.setattr(sys.modules["cupy"], "is_available", lambda: True, raising=False)
    return machine


def in_block_of_its_own(tables, path):
    """README's table of devices is made of it, by a command that says where it ran."""
    found = tables.read_results(path.parent)
    assert [name for name in found if found[name]] == ["device"]
    text = tables.block("device", found["device"])
    assert (
        "a card, driver unknown" in text and "--device cuda" in text and "of the target" not in text
    )


PEERS = {"standard": [], "torch": ["torch", "torch.cublaslt"], "cupy": ["cupy"]}


@pytest.mark.parametrize(
    ("kind", "shapes", "directions"),
    [
        ("layers", ("20,24,17",), ("forward", "backward")),
        ("networks", ("18,12,16,5",), ("forward", "gradients")),
    ],
)
def test_layers_and_networks(
    report,  # noqa: F811
    device,
    at,
    tmp_path,
    capsys,
    kind,
    shapes,
    directions,
):
    path, peers = tmp_path / "there.json", PEERS[device.name]
    words = ["--device", "cuda", "--rounds", "3", "--json", str(path), "--peers", *peers]
    assert bench(kind, "--shapes", *shapes, *words) == 0
    printed = capsys.readouterr().out
    assert "a card, compute capability 9.0" in printed and "homfast us" in printed
    result = json.loads(path.read_text())
    assert result["machine"]["device"] == "a card"
    assert {"driver", "commit", "versions", "backend", "l2_bytes"} <= set(result["machine"])
    assert result["machine"]["backend"] == device.backend
    assert result["settings"]["clock"] == "CUDA events"
    assert [row["direction"] for row in result["rows"]] == list(directions) * len(shapes)
    for row in result["rows"]:
        offered = {
            name for name in peers
            if hasattr(device_contenders._PEERS[name], f"{kind}_{row['direction']}")
        }  # fmt: skip
        assert set(row["seconds"]) == {"homfast", *offered}
        assert row["copies"] >= 1
        assert row["ratio"] is None or row["ratio"] > 0
    in_block_of_its_own(report, path)


def test_operators(report, device, at, tmp_path, capsys):  # noqa: F811
    path = tmp_path / "there.json"
    words = ["--device", "cuda", "--scale", "1024", "--rounds", "3", "--json", str(path)]
    assert bench("operators", *words, "--peers", *PEERS[device.name]) == 0
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) == 3 + 2 * 2 * 2
    for row in rows[:3]:
        assert (row["operator"], row["best_peer"]) == ("walsh_hadamard", "device copy")
        assert row["share_of_copy"] > 0
    stored = {"standard": set(), "torch": {"torch"}, "cupy": {"cupy"}}[device.name]
    assert all(set(row["seconds"]) == {"homfast", *stored} for row in rows[3:])
    assert not device_operators._matrix
    in_block_of_its_own(report, path)


def test_bfloat16_and_a_compiler(device, at, tmp_path, monkeypatch, capsys):
    if device.name != "torch":
        pytest.skip("bfloat16 of torch tensors only: the other fakes have none")
    pytest.importorskip("ml_dtypes")
    calls = pytest.importorskip("homfast.bench.torch_peers")
    compiled = []
    monkeypatch.setattr(calls, "compile_function", lambda f: compiled.append(f) or f)
    path = tmp_path / "there.json"
    words = ["--device", "cuda", "--dtype", "bfloat16", "--rounds", "3", "--json", str(path)]
    assert bench("layers", "--shapes", "16,24,17", *words, "--peers", "torch.compile") == 0
    result = json.loads(path.read_text())
    assert (result["dtype"], result["precision"]) == ("bfloat16", "medium")
    assert all("torch.compile" in row["seconds"] for row in result["rows"])
    assert len(compiled) == 4  # once for each data of each direction, not for each copy

    def broken(function):
        raise RuntimeError("no Triton\nat all")

    monkeypatch.setattr(calls, "compile_function", lambda f: lambda *a: broken(f))
    assert bench("layers", "--shapes", "16,24,17", *words, "--peers", "torch.compile") == 0
    rows = json.loads(path.read_text())["rows"]
    assert all("no Triton" in row["absent"]["torch.compile"] for row in rows)


def test_a_wrong_result_stops(device, at, monkeypatch, capsys):
    import homfast

    right = homfast.linear_relu
    monkeypatch.setattr(homfast, "linear_relu", lambda x, w, **k: right(x, w + w, **k))
    if device.name == "standard":
        pytest.skip("an array that cannot be added")
    words = ["--device", "cuda", "--rounds", "3", "--peers"]
    assert bench("layers", "--shapes", "8,8,8", *words) == 1
    assert "wrong result: homfast" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.parametrize(
    "words",
    [
        ("layers", "--shapes", "512,256,128"),
        ("layers", "--shapes", "512,256,128", "--dtype", "bfloat16"),
        ("networks", "--shapes", "512,64,64,64"),
        ("operators", "--scale", "16"),
    ],
    ids=" ".join,
)
def test_a_card_is_measured(words, tmp_path):
    """With all peers that are there, checked, by the events and properties of the library."""
    from homfast.recovery import devices

    if reason := devices.why_not_cuda():
        pytest.skip(reason)
    path = tmp_path / "card.json"
    assert bench(*words, "--device", "cuda", "--rounds", "3", "--json", str(path)) == 0
    result = json.loads(path.read_text())
    assert result["machine"]["l2_bytes"] > 0 and result["machine"]["driver"] != "unknown"
    assert all(row["seconds"]["homfast"] > 0 for row in result["rows"])


# Turns and time ----------------------------------------------------------------------------------


def test_operands_are_out_of_the_cache_when_their_turn_comes_again(device, at):
    for read, wanted in ((4000, 2), (1000, 2), (999, 3), (100, 11), (0, 512)):
        assert at.copies(read) == wanted
        assert wanted == 512 or (wanted - 1) * read >= PROPERTIES["l2_bytes"]
    operands = device_contenders.Operands(at)
    data = network_data(NetworkCase(3, (4, 5, 2)), "float32")
    sets = operands.of(data)
    assert len(sets) == operands.count == at.copies(4 * (12 + 20 + 10)) == 7
    assert operands.of(data) is sets
    assert len({id(s.x) for s in sets}) == len({id(s.weights[0]) for s in sets}) == 7
    seen = []
    contender = device_contenders.in_turns("a", seen.append, [(i,) for i in range(3)])
    contender.repeat(7)
    assert seen == [0, 1, 2, 0, 1, 2, 0]


def test_the_clock_adds_what_lies_between_events():
    """A day in float32 milliseconds has steps of 8 ms; a difference of neighbours has not."""

    class Events:
        now = 0.0

        def event(self):
            return Events.now

        def seconds(self, first, last):
            return float(np.float32((last - first) * 1e3)) / 1e3

    clock = device_machine.EventClock(Events())
    Events.now = 86400.0
    before = clock()
    Events.now += 1e-5
    assert clock() - before == pytest.approx(1e-5, rel=1e-4)


def test_the_driver_is_told(tmp_path):
    path = tmp_path / "version"
    assert device_machine.driver(str(path)) == "unknown"
    lines = {
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12": "535.183.01",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release": "570.86.15",
        "something else": "unknown",
    }
    for text, wanted in lines.items():
        path.write_text(f"{text}\nGCC version:  gcc version 12.2.0\n")
        assert device_machine.driver(str(path)) == wanted


def test_the_shapes_that_were_promised_a_ratio():
    layers = {case[:] for case in device_plan.LAYERS["bfloat16"]}
    assert layers == {(8192, 4096, 4096), (16384, 2048, 2048)}
    assert {case.widths[0] for case in device_plan.NETWORKS["bfloat16"]} == {64, 128}
    assert {case.batch for case in device_plan.NETWORKS["bfloat16"]} == {1 << 20}


# Refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["training"], "got 'cuda' for training, wanted it for layers, networks, operators"),
        (["layers", "--threads", "2"], "--threads: is for the CPU"),
        (["layers", "--plot", "x.png"], "--plot: is for the CPU"),
        (["networks", "--target", "avx2"], "--target: is for the CPU"),
        (["layers", "--peers", "numpy"], "wanted some of torch, torch.cublaslt"),
        (["layers", "--scale", "2"], "--scale: is for operators"),
        (["operators", "--shapes", "1,2,3"], "--shapes: operators are measured without it"),
        (["operators", "--scale", "3"], "wanted a power of two"),
        (["operators", "--dtype", "float64"], "--dtype: operators"),
        (["layers", "--rounds", "2"], "--rounds"),
    ],
)
def test_arguments_that_a_device_has_not(device, at, words, message, capsys):
    assert bench(*words, "--device", "cuda") == 2
    complaint = capsys.readouterr().err
    assert message in complaint and complaint.count("\n") == 1


def test_peers_that_have_no_device_are_absent(device, at, capsys):
    if device.name != "cupy":
        pytest.skip("torch has the device")
    pytest.importorskip("torch")
    words = ["--device", "cuda", "--rounds", "3", "--peers", "torch"]
    assert bench("layers", "--shapes", "8,8,8", *words) == 0
    assert "absent: torch: finds no CUDA device; install it" in capsys.readouterr().out
