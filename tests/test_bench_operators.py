"""``homfast bench operators``: every line is right before it is timed, and says what is missing."""

import argparse
import functools
import json

import numpy as np
import pytest

from homfast.bench import cli, compare, operators, operators_memory, operators_seeded
from homfast.bench.expected import WrongResult
from homfast.bench.operators_cases import LIBRARIES, Libraries, MemoryProbe

TASKS = operators.tasks(scale=64)
NAMES = [name for name in LIBRARIES if name != "deepinv"]  # seconds to import


@pytest.fixture(scope="module")
def libraries():
    yield Libraries(NAMES)
    operators.forget()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.label)
def test_every_contender_of_a_line_passes_its_check(task, libraries):
    comparison = task.make(libraries)
    names = [contender.name for contender in comparison.contenders]
    assert names[0] == "homfast" and len(set(names)) == len(names)
    assert set(comparison.absent) <= set(libraries.absent)


def test_every_line_has_a_peer():
    found = Libraries(())
    found.absent = dict.fromkeys(LIBRARIES, "left out")
    for task in TASKS:
        comparison = task.make(found)
        assert comparison.absent or len(comparison.contenders) > 1, task.label


@pytest.mark.parametrize("change", [1.001, np.nan, "first", "last"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.label)
def test_a_wrong_result_is_noticed_in_every_line(task, change):
    class Wrong(Libraries):
        def compared(self, own, peers, check, **facts):
            def spoiled():
                result = own().copy()
                if isinstance(change, float):
                    return result * np.float32(change)
                result[0 if change == "first" else -1] *= np.float32(1.001)
                return result

            return super().compared(spoiled, {}, check, **facts)

    with pytest.raises(WrongResult, match="homfast"):
        task.make(Wrong(()))


def test_peers_that_do_not_fit_into_memory_say_so(monkeypatch, libraries):
    monkeypatch.setattr(operators_seeded, "_available_bytes", lambda: 1000)
    operators.forget()
    comparison = TASKS[0].make(libraries)
    assert [contender.name for contender in comparison.contenders] == ["homfast"]
    assert "GiB" in comparison.absent["numpy"] and "--scale" in comparison.absent["numpy"]


def test_one_matrix_is_stored_at_a_time():
    operators.forget()
    for task in TASKS[:6]:
        task.make(Libraries(["numpy"]))
        assert len(operators_seeded._stored) == 1
    operators.forget()
    assert not operators_seeded._stored


def test_a_library_that_breaks_when_imported_is_listed(monkeypatch, tmp_path):
    (tmp_path / "breaks_when_imported.py").write_text("raise RuntimeError('no such operator')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(LIBRARIES, "deepinv", "breaks_when_imported")
    found = Libraries(["numpy", "deepinv"])
    assert found.absent == {"deepinv": "cannot be imported (no such operator)"}
    assert list(found.versions) == ["numpy"]


@pytest.mark.parametrize("product", ["forward", "adjoint", "gram"])
def test_memory_is_that_of_the_product(product):
    probe = MemoryProbe("Rademacher", 2048, 16384, 1, product)  # 128 MiB stored
    extra = operators_memory.extra_bytes(probe, 1)
    if extra is None:
        pytest.skip("no /proc/self/status here")
    assert 0 <= extra < 50e6


def test_memory_sees_what_is_stored(monkeypatch, capsys):
    from homfast import measure

    if not operators_memory._STATUS.exists():
        pytest.skip("no /proc/self/status here")
    stored = functools.partial(measure.Gaussian, store=True)
    monkeypatch.setattr(measure, "Gaussian", lambda m, n, **_: stored(m, n))
    peak = operators_memory._kilobytes("VmHWM")
    operators_memory.main(["Gaussian", "4096", "32768", "1", "forward", "1"])  # 512 MiB
    if operators_memory._kilobytes("VmHWM") == peak:
        pytest.skip("this process was larger before")
    assert int(capsys.readouterr().out) > 500e6


# The command --------------------------------------------------------------------------------------


def bench(*words):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(words))


def test_command_measures_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("homfast.bench.peak.copy_bandwidth", lambda threads: 1e9)
    quick = functools.partial(compare.Settings, burst=1e-4, pause=0.0)
    monkeypatch.setattr(compare, "Settings", quick)
    monkeypatch.setattr(operators_memory, "extra_bytes", lambda probe, threads: 2_500_000)
    path = tmp_path / "operators.json"
    words = ["--scale", "64", "--rounds", "3", "--peers", "numpy", "--json", str(path)]
    assert bench("operators", *words) == 0
    printed = capsys.readouterr().out
    assert f"{len(TASKS)} lines" in printed and "Rademacher on the fly" in printed
    result = json.loads(path.read_text())
    assert result["kind"] == "operators" and result["scale"] == 64
    labels = [(row["operator"], row["size"], row["product"]) for row in result["rows"]]
    assert labels == [(task.operator, task.size, task.product) for task in TASKS]
    first = result["rows"][0]
    assert first["best_peer"] == "numpy" and first["extra_bytes"] == 2_500_000
    assert first["ratio"] == pytest.approx(
        first["seconds"]["numpy"] / first["seconds"]["homfast"], rel=1e-3
    )
    copied = [row for row in result["rows"] if row["share_of_copy"] is not None]
    assert {row["operator"] for row in copied} == {"Walsh-Hadamard"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["operators", "--scale", "3"], "power of two"),
        (["operators", "--scale", "0"], "power of two"),
        (["operators", "--shapes", "2,3"], "--shapes"),
        (["operators", "--dtype", "float64"], "--dtype"),
        (["operators", "--plot", "x.png"], "--plot"),
        (["operators", "--threads", "0"], "--threads"),
        (["operators", "--rounds", "2"], "--rounds"),
        (["operators", "--seconds", "0"], "--seconds"),
        (["operators", "--peers", "matlab"], "wanted some of numpy"),
        (["operators", "--json", "no/such/folder/x.json"], "folder"),
        (["operators", "--peers", "--target", "vax"], ""),
        (["layers", "--scale", "2"], "--scale"),
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
    monkeypatch.setattr("homfast.measure.Rademacher.forward", lambda op, x, out: out * 0)
    assert bench("operators", "--scale", "64", "--peers") == 1
    assert "wrong result" in capsys.readouterr().err
