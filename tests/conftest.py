"""What every test shares: the engines to run on, process settings put back, counts at the end.

An engine is a backend, for `native` on one target. Tests that take the fixture ``engine`` run once
on each; those that take ``bit_engine`` on those where a row's bits depend on that row alone; those
that take ``native_engine`` test promises that bind `native` only. Which there are is found at
collection, so that what is missing is one skip each, in test_backends.py, and no more.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter

import numpy as np
import pytest
from engines import NATIVE_ENGINES, NUMBA_ENGINES, REFERENCE, targets
from hypothesis import HealthCheck, settings

import homfast
from homfast import _backends
from homfast._backends import native

settings.register_profile(
    "homfast",
    derandomize=True,  # the same examples in every run
    deadline=None,
    print_blob=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("seeded", settings.get_profile("homfast"), derandomize=False)
settings.load_profile("homfast")


PARAMETERS = {
    "engine": [*NATIVE_ENGINES, *NUMBA_ENGINES, REFERENCE],
    "native_engine": NATIVE_ENGINES,
    "bit_engine": [*NATIVE_ENGINES, *NUMBA_ENGINES],
    "compiled_target": list(targets()),
}


def pytest_addoption(parser):
    text = "shuffle the files, and the tests within each, and draw other data"
    parser.addoption("--seed", type=int, help=text)


@pytest.hookimpl(tryfirst=True)  # before Hypothesis looks at its seed
def pytest_configure(config):
    """Hear Ctrl-C, and let children hear it, in a run that a shell started in the background."""
    if config.getoption("--seed") is not None:
        settings.load_profile("seeded")
        config.option.hypothesis_seed = config.getoption("--seed")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Numba's kernels are compiled once a run, for all processes of it.
    if not is_worker(config) and "NUMBA_CACHE_DIR" not in os.environ and "numba" not in sys.modules:
        folder = tempfile.mkdtemp(prefix="homfast-numba-")
        os.environ["NUMBA_CACHE_DIR"] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        config.add_cleanup(lambda: os.environ.pop("NUMBA_CACHE_DIR", None))
    # Each worker's BLAS would spin for the processor of another: 33 s for 23 of test_measure_*.py.
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def is_worker(config):
    """Whether pytest-xdist started this process for a part of the tests."""
    return hasattr(config, "workerinput")


def pytest_generate_tests(metafunc):
    for name, values in PARAMETERS.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values, ids=str, indirect=True)


def pytest_collection_modifyitems(config, items):
    """Without the extension the tests that need it are left out: test_backends.py says so once."""
    empty = {name for name, values in PARAMETERS.items() if not values}
    left_out = [item for item in items if empty & set(getattr(item, "fixturenames", ()))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    if config.getoption("--seed") is not None:
        items[:] = shuffled(items, config.getoption("--seed"))


def pytest_collection_finish(session):
    """Let the garbage collector not look through 20,000 tests again and again: half of a run."""
    gc.collect()
    gc.freeze()


def shuffled(items, seed):
    """The same in every process; a file's tests stay together, as do what its fixtures made."""
    files = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    order = random.Random(seed)
    groups = list(files.values())
    for group in (groups, *groups):
        order.shuffle(group)
    return [item for group in groups for item in group]


LEFT_OUT = pytest.StashKey[int]()


def pytest_deselected(items):
    """Count what is left out; every process of a parallel run leaves out the same."""
    config = items[0].config
    config.stash[LEFT_OUT] = config.stash.get(LEFT_OUT, 0) + len(items)
    if is_worker(config):
        config.workeroutput["left out"] = config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """A process of a parallel run has ended."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left out", 0)


@pytest.fixture
def engine(request):
    """A (backend, target) pair, made current; pass ``backend=engine.backend`` to calls."""
    request.param.use()
    return request.param


@pytest.fixture
def automatic(engine, monkeypatch):
    """The engine, as the automatic choice, which operators take."""
    monkeypatch.setattr(_backends, "_automatic", engine.module)
    return engine


@pytest.fixture
def bit_automatic(bit_engine, monkeypatch):
    """An engine whose bits are promised, as the automatic choice."""
    monkeypatch.setattr(_backends, "_automatic", bit_engine.module)
    return bit_engine


@pytest.fixture
def native_engine(request):
    """An engine of the `native` backend, made current."""
    request.param.use()
    return request.param


@pytest.fixture
def bit_engine(request):
    """An engine whose bits are promised (contract, 2), made current."""
    request.param.use()
    return request.param


@pytest.fixture
def compiled_target(request):
    """The name of a target that was compiled, whether this processor has it or not."""
    return request.param


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def rng(pytestconfig):
    """A generator seeded alike in every test, by --seed another one."""
    seed = pytestconfig.getoption("--seed")
    return np.random.default_rng(20240823 if seed is None else (20240823, seed))


@pytest.fixture
def torch():
    """On one thread: two libraries that wait for each other on few cores take seconds a call."""
    module = pytest.importorskip("torch")
    module.set_num_threads(1)
    return module


@pytest.fixture(autouse=True)
def settings_restored():
    """Target, threads and batch invariance are after a test what they were before it."""
    if native._native is None:
        yield
        return
    target, threads = homfast.get_target(), homfast.get_num_threads()
    invariant = native._native.get_batch_invariant()
    yield
    homfast.set_target(target)
    homfast.set_num_threads(threads)
    homfast.set_batch_invariant(invariant)


def pytest_terminal_summary(terminalreporter, config):
    """How many tests ran on what, and every skip with its reason."""
    stats = terminalreporter.stats
    counts = {word: len(stats.get(word, [])) for word in ("passed", "failed", "error", "skipped")}
    reasons = Counter(report.longrepr[2] for report in stats.get("skipped", []))
    write = terminalreporter.write_line
    terminalreporter.section("homfast")
    write("engines: " + ", ".join(map(str, [*NATIVE_ENGINES, *NUMBA_ENGINES, REFERENCE])))
    write(
        f"tests run: {counts['passed'] + counts['failed']} ({counts['passed']} passed, "
        f"{counts['failed']} failed, {counts['error']} errors); skipped: {counts['skipped']}; "
        f"left out: {config.stash.get(LEFT_OUT, 0)} (marked slow, or for engines not here)"
    )
    for reason, count in sorted(reasons.items()):
        write(f"  {count} skipped: {reason.removeprefix('Skipped: ')}")
