"""``homfast bench invariance``: what a row's bits that know no batch cost."""

import argparse
import contextlib
import json

import numpy as np
import pytest

import homfast
from homfast.bench import cases, cli, compare, expected, invariance


@pytest.mark.parametrize("case", [(1, 64, 32), (8, 40, 33), (15, 300, 77)])
@pytest.mark.parametrize("precision", [None, "high", "medium"])
def test_contenders_pass_and_are_what_they_say(native_engine, case, precision):
    found = invariance.comparison(cases.LayerCase(*case), "forward", "float32", [], precision)
    before = homfast.show_config("dicts")["native"]["batch_invariant"]
    results = {contender.name: contender.result() for contender in found.contenders}
    assert homfast.show_config("dicts")["native"]["batch_invariant"] == before
    assert np.array_equal(results["invariant"], results["network"])
    assert found.beside == ("network",)


def test_it_measures_another_order_and_not_the_same_twice(native_engine):
    found = invariance.comparison(cases.LayerCase(3, 999, 50), "forward", "float32", [])
    plain, invariant, _ = (contender.result() for contender in found.contenders)
    assert not np.array_equal(plain, invariant)


def test_all_shapes_have_fewer_than_sixteen_rows():
    assert all(case.batch < 16 for case in invariance.CASES)


def test_other_bits_of_the_network_do_not_pass(native_engine, monkeypatch):
    monkeypatch.setattr(invariance, "_batch_invariant", lambda on: contextlib.nullcontext())
    with pytest.raises(expected.WrongResult, match="network"):
        invariance.comparison(cases.LayerCase(3, 999, 50), "forward", "float32", [])


def test_command_writes_the_cost(native_engine, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("homfast.bench.peak.copy_bandwidth", lambda threads: 1e9)
    monkeypatch.setattr(compare.interleaved, "PAUSE", 0.0)
    path = tmp_path / "invariance.json"
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    words = ["invariance", "--shapes", "2,64,32", "--rounds", "3", "--json", str(path)]
    assert cli.run(parser.parse_args(words)) == 0
    printed = capsys.readouterr().out
    result = json.loads(path.read_text())
    (row,) = result["rows"]
    cost = row["seconds"]["invariant"] / row["seconds"]["homfast"]
    assert row["best_peer"] == "invariant"
    assert row["ratio"] == pytest.approx(cost, rel=1e-3)
    assert f"{cost - 1:+.0%}" in printed
    assert set(row["seconds"]) == {"homfast", "invariant", "network"}
