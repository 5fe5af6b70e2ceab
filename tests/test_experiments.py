"""``homfast experiment``: verdicts that hold, verdicts that fail, bad input, files."""

import json
import math
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import homfast
from homfast.cli import main

pytest.importorskip("matplotlib", reason="needs homfast[demo]")
pytest.importorskip("scipy", reason="needs homfast[demo]")
pytest.importorskip("sklearn", reason="needs homfast[demo]")
pytest.importorskip("pywt", reason="needs homfast[demo]")
pytest.importorskip("tensorly", reason="needs homfast[demo]")

from homfast.experiments import EXPERIMENTS, registry, rip, runner, signals
from homfast.experiments.claims import Claim
from homfast.experiments.injective_networks import separation
from homfast.experiments.lab import Lab, always
from homfast.injectivity import make_injective
from homfast.network import ReLUNetwork

QUICK = ("one-layer-bound", "rip", "activation", "injective-networks", "digits-not-injective")


def check(name, folder, seconds, seed=0):
    report = runner.run(name, folder, seconds=seconds, seed=seed)
    assert report.holds, "\n".join(map(str, report.verdicts))
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((folder / f"{name}.json").read_text())
    assert found["name"] == name and found["holds"] is True and found["seed"] == seed
    assert len(found["claims"]) == len(registry.load(name).CLAIMS) >= 3
    assert found["numbers"] and found["config"]["homfast"]


@pytest.mark.parametrize("name", QUICK)
def test_claims_hold_however_short_the_training(tmp_path, name):
    check(name, tmp_path, 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_claims_hold_for_every_seed(tmp_path, name, seed):
    check(name, tmp_path, 0.02, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_claims_hold_after_some_training(tmp_path, name):
    check(name, tmp_path, 10.0)


def test_every_experiment_has_claims_and_a_title():
    assert len(set(EXPERIMENTS)) == 16
    for name in EXPERIMENTS:
        module = registry.load(name)
        assert module.TITLE and module.__doc__
        assert all(isinstance(claim, Claim) for claim in module.CLAIMS.values())


# Verdicts that fail -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "value", "holds"),
    [
        (Claim("x", at_most=1.0), 1.0, True),
        (Claim("x", at_most=1.0), 1.1, False),
        (Claim("x", at_least=0.0), 0.0, True),
        (Claim("x", at_least=0.0), -1e-9, False),
        (Claim("x", at_most=1.0), math.nan, False),
        (Claim("x", at_least=1.0), math.nan, False),
        (Claim("x", at_least=1.0), math.inf, True),
    ],
)
def test_claims_are_judged(claim, value, holds):
    verdict = claim.judge(value)
    assert verdict.holds is holds
    assert str(verdict).startswith("holds: x" if holds else "fails: x")


def test_a_claim_has_one_bound():
    for bounds in ({}, {"at_least": 0.0, "at_most": 1.0}):
        with pytest.raises(ValueError, match="at_least or at_most"):
            Claim("x", **bounds)


def test_a_wrong_bound_fails_and_the_exit_code_says_so(tmp_path, capsys, monkeypatch):
    module = registry.load("universality")
    wrong = module.CLAIMS | {"slope": Claim("slope", at_most=-3.0)}
    monkeypatch.setattr(module, "CLAIMS", wrong)
    arguments = ["experiment", "universality", "--seconds", "0.02", "--output", str(tmp_path)]
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert out.count("fails: ") == 1 and "fails: slope: -1.99" in out and "<= -3" in out
    assert out.count("holds: ") == len(wrong) - 1
    assert json.loads((tmp_path / "universality.json").read_text())["holds"] is False


def test_a_network_that_collides_is_seen():
    rng = np.random.default_rng(0)
    half = rng.standard_normal((4, 2))
    last = rng.standard_normal((5, 4))
    even = ReLUNetwork([np.vstack([half, -half]), np.hstack([last, last])])
    assert separation(even) < 1e-12
    assert separation(make_injective(even, 0.1)) > 1e-6
    # Linear of rank one: the sectors themselves are folded.
    flat = np.outer(rng.standard_normal(5), [1.0, 2.0])
    assert separation(ReLUNetwork([np.vstack([np.eye(2), -np.eye(2)]),
                                   np.hstack([flat, -flat])])) < 1e-12  # fmt: skip


# The command --------------------------------------------------------------------------------------


def test_all_runs_every_experiment_and_sums_up(tmp_path, capsys, monkeypatch):
    from homfast.cli import experiment

    monkeypatch.setattr(experiment, "EXPERIMENTS", ("structure", "activation"))
    folder = tmp_path / "new" / "folder"
    assert main(["experiment", "--all", "--seconds", "0.02", "--output", str(folder)]) == 0
    printed = capsys.readouterr()
    assert printed.err == "" and "fails" not in printed.out
    assert "2 experiments in" in printed.out and "all hold" in printed.out
    found = json.loads((folder / "verdicts.json").read_text())
    assert [each["name"] for each in found["experiments"]] == ["structure", "activation"]
    assert found["kind"] == "experiments" and found["budget"] == 0.02
    assert {p.suffix for p in folder.iterdir()} == {".png", ".json"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], ("frobnicate", *EXPERIMENTS)),
        ([], ("--all", *EXPERIMENTS)),
        (["rip", "--all"], ("beside --all",)),
        (["rip", "--seconds", "0"], ("seconds", "above 0")),
        (["rip", "--seconds", "-3"], ("seconds", "above 0")),
        (["rip", "--seconds", "nan"], ("seconds", "above 0")),
        (["rip", "--seconds", "soon"], ("--seconds", "soon")),
        (["rip", "--seed", "-1"], ("seed", ">= 0")),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, capsys, arguments, words):
    assert main(["experiment", *arguments, "--output", str(tmp_path / "new")]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("homfast experiment: ")
    assert all(word in printed.err for word in words)
    assert not (tmp_path / "new").exists()


def test_the_help_tells_the_budget_from_the_fixed_part(capsys):
    assert main(["experiment", "--help"]) == 0
    assert "a fixed part of some seconds comes on top" in " ".join(capsys.readouterr().out.split())


def test_output_that_is_a_file_is_refused(tmp_path, capsys):
    path = tmp_path / "taken"
    path.write_text("mine")
    for output in (path, path / "below"):
        assert main(["experiment", "rip", "--output", str(output)]) == 2
        assert "output: " in capsys.readouterr().err
    assert path.read_text() == "mine"


def test_the_function_names_bad_arguments_too(tmp_path):
    with pytest.raises(ValueError, match="wanted one of one-layer-bound, two-layers-recover"):
        runner.run("frobnicate", tmp_path)
    with pytest.raises(ValueError, match="seconds: got 0"):
        runner.run("rip", tmp_path, seconds=0)
    with pytest.raises(ValueError, match="seed: got -1"):
        runner.run("rip", tmp_path, seed=-1)


def start(*arguments, **options):
    command = [sys.executable, "-m", "homfast", "experiment", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def test_progress_is_for_terminals_and_ctrl_c_is_silent(tmp_path):
    terminal, stderr = pty.openpty()
    process = start("activation", "--seconds", 300, "--output", tmp_path, stderr=stderr)
    os.close(stderr)
    shown = b""
    while b"step 9" not in shown:  # training has begun
        shown += os.read(terminal, 65536)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    assert process.returncode == 130 and out == ""
    assert b"activation: beta = -1, step" in shown and b"Traceback" not in shown
    assert shown.endswith(b"\r\x1b[K")  # the line is taken back


def test_a_pipe_has_no_progress(tmp_path):
    process = start("activation", "--seconds", "0.02", "--output", tmp_path, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "") and "holds: " in out


# What is written about them -----------------------------------------------------------------------

ROOT = Path(__file__).resolve().parent.parent


def test_the_theory_names_every_experiment_and_function_there_is():
    path = ROOT / "docs" / "theory.md"
    if not path.exists():
        pytest.skip("no docs beside the tests: not a checkout")
    text = path.read_text(encoding="utf-8")
    for name in EXPERIMENTS:
        assert f"`{name}`" in text, name
    for package in (homfast.construct, homfast.injectivity, homfast.linear_nets):
        for word in package.__all__:
            function = getattr(package, word)
            if callable(function) and not isinstance(function, type):
                assert word in text, word
    figures = re.findall(r"]\((figures/[^)]+)\)", text)
    assert len(figures) == 3
    for figure in figures:
        size = (path.parent / figure).stat().st_size
        assert size < 100_000 and f"docs/{figure}" in (ROOT / "README.md").read_text()


# The lab ------------------------------------------------------------------------------------------


def test_the_floor_of_noise_is_of_the_lower_side_alone():
    """1.2 Q has delta = 0.44, attained from above, and the inverse a gain of 1 / 1.2."""
    rng = np.random.default_rng(0)
    turned = 1.2 * np.linalg.qr(rng.standard_normal((24, 24)))[0]
    assert rip._closest(turned)[0] == pytest.approx(1.44)
    matrix = rng.standard_normal((12, 24))
    least, x, other = rip._closest(matrix)
    pairs = [np.linalg.svd(matrix[:, [i, j]])[1][-1] ** 2 for i in range(24) for j in range(i)]
    assert least == pytest.approx(min(pairs))
    assert np.count_nonzero(x) == np.count_nonzero(other) == 1
    stretch = np.linalg.norm(matrix @ (x - other)) / np.linalg.norm(x - other)
    assert stretch**2 == pytest.approx(least)


def test_training_takes_its_least_steps_and_ends():
    x = np.eye(3, dtype=np.float32)
    for seconds, least, most in ((1e-9, 37, 1000), (100.0, 5, 12)):
        lab = Lab("test", seconds, 0)
        net = ReLUNetwork.random([3, 4, 3])
        losses = lab.train(net, always(x, x), share=0.5, least=least, most=most)
        assert len(losses) == (least if seconds < 1 else most)
        assert np.isfinite(losses).all()


def test_batches_do_not_move_what_is_drawn_later():
    x = np.eye(3, dtype=np.float32)
    drawn = []
    for least in (3, 30):
        lab = Lab("test", 1e-9, 5)

        def batch(generator):
            return x * generator.random(dtype=np.float32), x

        lab.train(ReLUNetwork.random([3, 4, 3]), batch, share=1, least=least)
        drawn.append(lab.generator.random(4))
    np.testing.assert_array_equal(*drawn)


def test_sparse_signals_are_sparse_and_of_norm_one():
    x = signals.sparse(200, 20, 3, np.random.default_rng(0))
    assert ((x != 0).sum(axis=1) == 3).all()
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1)
    frame = signals.incoherent(16)
    gram = np.abs(frame.T @ frame) - np.eye(32)
    np.testing.assert_allclose(gram.max(), 0.25)
