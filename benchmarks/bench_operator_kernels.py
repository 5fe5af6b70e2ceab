"""The products of measurement operators beside what people use instead, float32.

The lines are those of ``homfast bench operators``. A peer whose library is not installed, or that
has no part in a line, is skipped; `fht-cpu` and `deepinv` are installed by hand.
"""

import pytest

from homfast._backends import automatic
from homfast.bench import interleaved, machine, operators
from homfast.bench.operators_cases import LIBRARIES, Libraries

TASKS, QUICK = operators.tasks(), operators.tasks(scale=64)


@pytest.fixture(scope="module")
def libraries():
    """Each peer's library alone, by name, imported before threads are set."""
    return {name: Libraries((name,)) for name in LIBRARIES}


@pytest.fixture(scope="module", autouse=True)
def leave_nothing():
    yield
    operators.forget()


@pytest.mark.parametrize("index", range(len(TASKS)), ids=lambda i: TASKS[i].label)
@pytest.mark.parametrize("peer", ["homfast", *LIBRARIES])
def test_operator(benchmark, libraries, same_threads, index, peer):
    task = TASKS[index] if benchmark.enabled else QUICK[index]
    comparison = task.make(libraries.get(peer, Libraries(())))
    if peer in comparison.absent:
        pytest.skip(f"{peer}: {comparison.absent[peer]}")
    contenders = {contender.name: contender for contender in comparison.contenders}
    if peer not in contenders:
        pytest.skip(f"{peer} has no part here")
    benchmark.group = f"operators {task.label}"
    benchmark.extra_info |= {
        "dtype": operators.DTYPE,
        "threads": same_threads,
        "backend": automatic().name if peer == "homfast" else peer,
        "target": machine.target() if peer == "homfast" else "",
    }
    if benchmark.enabled:
        interleaved.wait_until_quiet(interleaved.PAUSE)  # the pools of the check before
    benchmark(contenders[peer].call)
    if benchmark.enabled and comparison.moved_bytes is not None:
        rate = comparison.moved_bytes / benchmark.stats.stats.median
        benchmark.extra_info["bytes_per_second"] = rate
