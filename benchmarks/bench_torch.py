"""homfast.torch beside eager PyTorch and torch.compile: the calls a user would make, float32.

A call of one row, with and without autograd, and a training step through autograd with torch's own
Adam. Every contender's result is that of the eager model. ``python benchmarks/bench_torch.py`` lets
them take turns and prints ratios; ``--json benchmarks/results/NAME.json`` keeps them for report.py.
"""

import argparse
import itertools
import json
import os
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import homfast  # noqa: E402
from homfast.bench.machine import OtherWork, describe  # noqa: E402
from homfast.torch import from_sequential  # noqa: E402

CASES = {
    "forward": (1, (32, 128, 128, 64)),
    "forward of a batch": (64, (32, 128, 128, 64)),
    "forward with autograd": (1, (32, 128, 128, 64)),
    "step of few rows": (64, (32, 128, 128, 64)),
    "step": (1024, (128, 512, 512, 256)),
}
CONTENDERS = ("homfast", "torch", "torch.compile", "torch.compile of homfast")


def model(widths):
    torch.manual_seed(0)
    children = []
    for fan_in, fan_out in itertools.pairwise(widths):
        children += [nn.Linear(fan_in, fan_out, bias=False), nn.ReLU()]
    return nn.Sequential(*children[:-1])


def network(contender, widths):
    net = from_sequential(model(widths)) if "homfast" in contender else model(widths)
    if contender.startswith("torch.compile"):
        torch.compiler.reset()
        return torch.compile(net, fullgraph=True, dynamic=False)
    return net


def call(kind, contender):
    """What to time, and a check of its results against the eager model's."""
    batch, widths = CASES[kind]
    net, eager = network(contender, widths), model(widths)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, widths[0], generator=generator)
    target = torch.randn(batch, widths[-1], generator=generator)
    if not kind.startswith("step"):

        def forward():
            with torch.set_grad_enabled(kind == "forward with autograd"):
                return net(x)

        return forward, lambda: torch.testing.assert_close(forward(), eager(x))

    def make_step(net):
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

        def step():
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(x), target)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    step, other = make_step(net), make_step(eager)

    def check():
        for _ in range(3):
            torch.testing.assert_close(step(), other(), rtol=1e-5, atol=0)

    return step, check


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("kind", list(CASES))
def test_torch(benchmark, same_threads, kind, contender):
    if not benchmark.enabled and contender.startswith("torch.compile"):
        pytest.skip("torch.compile takes seconds a model; it runs without --benchmark-disable")
    function, check = call(kind, contender)
    check()
    batch, widths = CASES[kind]
    benchmark.group = f"torch {kind} {batch}, {widths}"
    benchmark.extra_info |= {
        "dtype": "float32",
        "threads": same_threads,
        "torch": torch.__version__,
    }
    benchmark(function)


def measure(kind, seconds):
    """A row of the table: medians of turns, every contender in each."""
    batch, widths = CASES[kind]
    calls = {}
    for contender in CONTENDERS:
        calls[contender], check = call(kind, contender)
        check()
    repeat = 1 if kind == "step" else 20
    times = {contender: [] for contender in calls}
    others = OtherWork()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for contender, function in calls.items():
            function()
            start = time.perf_counter()
            for _ in range(repeat):
                function()
            times[contender].append((time.perf_counter() - start) / repeat)
    return {
        "label": f"{kind}: {batch}, {widths}",
        "rounds": len(times["homfast"]),
        "seconds": {contender: median(spent) for contender, spent in times.items()},
        "best": {contender: min(spent) for contender, spent in times.items()},
        "share_of_others": others.share(),
    }


def main():
    """Print a line a contender and case: best and median, and their ratios to homfast's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("threads", nargs="?", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=12, help="a case")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    if arguments.json and not arguments.json.parent.is_dir():
        parser.error(f"--json: {arguments.json.parent} is no directory")
    torch.set_num_threads(arguments.threads)
    homfast.set_num_threads(arguments.threads)
    rows = []
    for kind in CASES:
        row = measure(kind, arguments.seconds)
        rows.append(row)
        print(f"{row['label']}, {arguments.threads} thread(s), µs")
        for contender in CONTENDERS:
            cells = (
                f"{name} {row[key][contender] * 1e6:9.1f} "
                f"({row[key][contender] / row[key]['homfast']:.2f})"
                for name, key in (("best", "best"), ("median", "seconds"))
            )
            print(f"  {contender:26s} {'  '.join(cells)}")
    if arguments.json:
        peer = SimpleNamespace(name="torch", version=torch.__version__)
        result = {
            "kind": "torch",
            "dtype": "float32",
            "machine": describe(arguments.threads, [peer]),
            "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
            "rows": rows,
        }
        arguments.json.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
