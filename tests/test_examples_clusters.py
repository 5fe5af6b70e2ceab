"""The examples for several processes and for arrays larger than memory, at small size."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import environment_of_tests

import homfast

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module", autouse=True)
def checkout():
    if not EXAMPLES.is_dir():
        pytest.skip("no examples beside the tests: not a checkout")


def run(*command, timeout=240):
    variables = {**environment_of_tests(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=timeout, env=variables
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-3000:]}"
    return done.stdout


SMALL = ("--size", 32, "--measurements", 16, "--hidden", 48, "--batch", 64, "--sparsity", 3)


def launch(processes, *command):
    """What `command` prints on so many processes of torchrun."""
    launcher = ("torch.distributed.run", "--standalone", "--nproc-per-node", processes)
    return run(sys.executable, "-m", *launcher, *command)


@pytest.fixture
def torch_with_distributed():
    torch = pytest.importorskip("torch")
    if not torch.distributed.is_available():
        pytest.skip("this PyTorch has no torch.distributed")
    return torch


def test_two_processes_train_as_one(tmp_path, torch_with_distributed):
    torch = torch_with_distributed
    script, small = EXAMPLES / "ddp_recover.py", (*SMALL, "--steps", 20)
    one, two = tmp_path / "one.pt", tmp_path / "two.pt"
    said = run(sys.executable, script, *small, "--save", one)
    assert "ReLUNetwork of widths (16, 48, 48, 32)" in said and "1 process(es)" in said
    said = launch(2, script, *small, "--save", two)
    assert "2 process(es)" in said and "training samples a second" in said
    weights, others = (torch.load(path, weights_only=True) for path in (one, two))
    assert list(weights) == list(others)
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=0, atol=1e-6)


LAUNCHED = """
import pathlib, runpy, sys, time
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")

def names():
    for path in pathlib.Path("/proc/self/task").glob("*/comm"):
        try:
            yield path.read_text().strip()
        except OSError:  # the thread is gone
            pass

end = time.monotonic() + 5
while any("gloo" in name for name in names()) and time.monotonic() < end:
    time.sleep(0.01)  # one that was joined may be there for another moment
print("threads", *names())
"""


def test_no_thread_of_gloo_runs_into_the_end(torch_with_distributed):
    """One that does aborts its process now and then, as its last work is let go."""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("threads have no names to read here")
    command = (sys.executable, "-c", LAUNCHED, EXAMPLES / "ddp_recover.py", *SMALL, "--steps", 2)
    said = launch(1, "--no-python", *command)
    assert "1 process(es)" in said
    threads = said.partition("threads ")[2]
    assert threads and "gloo" not in threads


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_dask_blocks_are_the_whole(tmp_path, scheduler):
    pytest.importorskip("dask.array")
    script = EXAMPLES / "dask_measure.py"
    small = ("--signals", 230, "--size", 64, "--measurements", 24, "--block", 100)
    small += ("--scheduler", scheduler, "--workers", 2)
    said = run(sys.executable, script, *small, "--output", tmp_path / "stack")
    assert "3 blocks, 2 at a time" in said and "signals a second" in said
    parts = [np.load(tmp_path / "stack" / f"{index}.npy") for index in range(3)]
    signals = np.concatenate(
        [
            np.random.default_rng(first).standard_normal((count, 64), dtype=np.float32)
            for first, count in ((0, 100), (100, 100), (200, 30))
        ]
    )
    wanted = homfast.measure.Hadamard(24, 64, seed=7)(signals)
    assert np.array_equal(np.concatenate(parts), wanted), "to the bit, whatever the blocks"
    if scheduler == "threads":
        assert "mean energy of a measurement" in run(sys.executable, script, *small)
