"""The examples in other libraries, at small size: with their operator and ours, one answer."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import environment_of_tests

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module", autouse=True)
def checkout():
    if not EXAMPLES.is_dir():
        pytest.skip("no examples beside the tests: not a checkout")


def run(name, *options):
    variables = {**environment_of_tests(), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(EXAMPLES / name), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=variables)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-3000:]}"
    return done.stdout


def differences(said):
    return [float(number) for number in re.findall(r"differ by (\S+?)[,;\s]", said)]


def test_scipy_solvers():
    pytest.importorskip("scipy")
    said = run("scipy_solvers.py", "--size", 128, "--measurements", 60)
    apart = differences(said)
    assert len(apart) == 2 and max(apart) < 1e-10, said
    largest = re.findall(r"largest (\S+)", said) + re.findall(r"norm\(\): (\S+)", said)
    assert len(set(largest)) == 1 and len(largest) == 3, said


def test_pylops_gives_the_answers_of_its_own_operator():
    pytest.importorskip("pylops")
    small = ("--size", 128, "--measurements", 64, "--nonzeros", 4, "--iterations", 50)
    said = run("pylops_sparse.py", *small)
    apart = differences(said)
    assert len(apart) == 5 and max(apart) < 1e-10, said


def test_deepinv_gives_the_answer_of_its_own_operator():
    for package in ("deepinv", "torch", "skimage"):
        pytest.importorskip(package)
    said = run("deepinv_plug_and_play.py", "--size", 32, "--iterations", 8, "--steps", 150)
    (apart,) = differences(said)
    assert apart < 1e-5, said
    quality = [float(number) for number in re.findall(r"(\S+) dB", said)]
    assert len(quality) == 4 and min(quality) > 5, said
