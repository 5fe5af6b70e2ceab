"""What the scripts of reliability/ rely on is still there."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "reliability"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="not a checkout")


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def load(name):
    spec = importlib.util.spec_from_file_location(f"reliability_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_mutant_can_be_made():
    mutants = load("mutants").MUTANTS
    assert len(mutants) >= 40
    assert len({m.name for m in mutants}) == len(mutants)
    for mutant in mutants:
        text = (ROOT / mutant.file).read_text()
        for old, new in mutant.edits:
            assert text.count(old) == 1, (mutant.name, old)
            assert new != old
        for name in mutant.tests:
            assert (ROOT / "tests" / f"test_{name}.py").is_file(), (mutant.name, name)


def test_damaged_files_of_networks_load_or_are_refused():
    pytest.importorskip("safetensors")
    verdicts = [verdict for _, verdict in load("loader_fuzz").run(count=400, seed=1)]
    assert not [verdict for verdict in verdicts if verdict.startswith("WRONG")]
    assert {"loaded", "refused"} <= set(verdicts)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ for the library that is preloaded")
def test_allocations_that_fail_are_memory_errors():
    """pybind11 frees, or ends the process, where it has no memory to register an object."""
    found = load("memory").run_failing("vjp,fit,SparseSign forward")
    assert not found["wrong"]
    assert len(found["failures"]) > 50


def test_a_run_of_few_cases_does_not_hold():
    scores = load("scores")
    assert scores.Score("S15", "0 of 100,000", True, 100_000).holds
    assert not scores.Score("S15", "0 of 10", True, 10).holds
    assert not scores.Score("S15", "1 of 100,000", False, 100_000).holds
    assert not scores.Score("S29", "0", True, 0).holds
