"""The command ``homfast bench``: what it prints, writes and refuses."""

import argparse
import contextlib
import functools
import json

import numpy as np
import pytest

from homfast.bench import cli, compare
from homfast.bench.interleaved import Contender


def bench(*words):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return cli.run(parser.parse_args(words))


@pytest.fixture
def quick(monkeypatch):
    """No copies of large arrays, short bursts, no pauses."""
    monkeypatch.setattr("homfast.bench.peak.copy_bandwidth", lambda threads: 1e9)
    settings = functools.partial(compare.Settings, burst=1e-4, pause=0.0)
    monkeypatch.setattr(compare, "Settings", settings)


def test_json_alone_goes_to_standard_output(capsys, quick):
    assert bench("--shapes", "2,3,5", "--peers", "numpy", "--rounds", "3", "--json") == 0
    printed = capsys.readouterr()
    assert [row["direction"] for row in json.loads(printed.out)["rows"]] == ["forward", "backward"]
    assert "geometric mean" in printed.err


def test_command_measures_and_writes(tmp_path, monkeypatch, capsys, quick):
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
        (["layers", "--device", "cuda"], "--device"),
        (["operators", "--device", "cuda"], "--device"),
        (["layers", "--rounds", "2"], "--rounds"),
        (["layers", "--seconds", "-1"], "--seconds"),
        (["layers", "--peers", "matlab"], "wanted some of numpy"),
        (["layers", "--json", "no/such/folder/x.json"], "folder"),
        (["layers", "--target", "vax"], ""),
        (["layers", "--dtype", "float64", "--precision", "high"], "choice for float32"),
        (["training", "--dtype", "bfloat16"], "float32 or float64 for training"),
        (["training", "--precision", "high"], "wanted none for training"),
        (["invariance", "--peers", "numpy"], "wanted none for invariance"),
    ],
)
def test_command_complains_in_one_line(words, message, capsys):
    assert bench(*words) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("homfast bench: ")
    assert message in complaint
    assert complaint.count("\n") == 1


def test_bfloat16_is_measured(tmp_path, capsys, quick):
    pytest.importorskip("ml_dtypes")
    path = tmp_path / "bfloat16.json"
    words = ["--dtype", "bfloat16", "--peers", "numpy", "--rounds", "3", "--json", str(path)]
    assert bench("layers", "--shapes", "2,3,5", *words) == 0
    result = json.loads(path.read_text())
    assert (result["dtype"], result["precision"]) == ("bfloat16", "medium")
    assert [row["bytes"] for row in result["rows"]][:1] == [2 * (6 + 15 + 10)]
    assert all(row["best_peer"] == "numpy" for row in result["rows"])


ROOFS = {"multiply-adds": 1e11, "matrix unit": 1e12}


@pytest.mark.parametrize("unit", [False, True])
def test_precision_is_written_and_the_unit_shared(tmp_path, monkeypatch, capsys, quick, unit):
    """ "high" takes three products; without a matrix unit it is said what it is computed as."""
    roofs = ROOFS if unit else {"multiply-adds": 1e11}
    monkeypatch.setattr("homfast.bench.peak.roofs", lambda dtype: roofs)
    monkeypatch.setattr(compare, "roofs", lambda dtype: roofs)
    path = tmp_path / "high.json"
    words = ["--precision", "high", "--peers", "--rounds", "3", "--json", str(path)]
    assert bench("layers", "--shapes", "16,32,16", "2,32,16", *words) == 0
    printed, result = capsys.readouterr().out, json.loads(path.read_text())
    assert result["precision"] == "high"
    assert result["computed_as"] == ("high" if unit else "highest")
    assert ("'high' is computed as 'highest'" in printed) != unit
    assert ("of unit" in printed) == unit
    shares = [row["share_of_matrix_unit"] for row in result["rows"]]
    if not unit:
        assert shares == [None] * 4
        return
    wanted = [3 * row["gflops"] * 1e9 / 1e12 for row in result["rows"][:2]]
    assert shares[:2] == pytest.approx(wanted, rel=1e-3)
    assert shares[2:] == [None, None]  # two rows: the unit rests
    assert [row["share_of_peak"] for row in result["rows"]] == pytest.approx(
        [row["gflops"] * 1e9 / 1e11 for row in result["rows"]], rel=1e-3
    )


def test_the_unit_of_a_target_is_measured(native_engine, tmp_path, capsys, quick):
    """Its peak above the table and its share in it, where the target has one."""
    unit, path = native_engine.target == "amx", tmp_path / "target.json"
    words = ["--target", native_engine.target, "--peers", "--rounds", "3", "--json", str(path)]
    assert bench("layers", "--shapes", "16,32,16", *words) == 0
    printed, result = capsys.readouterr().out, json.loads(path.read_text())
    assert ("of the matrix unit" in printed) == ("of unit" in printed) == unit
    for row in result["rows"]:
        assert (row["share_of_matrix_unit"] is not None) == unit
        assert not unit or row["share_of_matrix_unit"] > 0
        assert row["share_of_peak"] > 0


def test_command_stops_at_a_wrong_result(monkeypatch, capsys, quick):
    wrong = Contender("x", lambda: np.zeros(1))
    monkeypatch.setattr("homfast.bench.ours.Homfast.layers_forward", lambda self, data: wrong)
    assert bench("layers", "--shapes", "2,3,5", "--peers") == 1
    assert "wrong result" in capsys.readouterr().err
