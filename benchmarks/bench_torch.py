"""homfast.torch beside eager PyTorch and torch.compile: the calls a user would make, float32.

A call of one row, with and without autograd, and a training step through autograd with torch's own
Adam. Every contender's result is that of the eager model. ``python benchmarks/bench_torch.py`` lets
them take turns and prints ratios.
"""

import itertools
import sys
import time

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import homfast  # noqa: E402
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


def main():
    """Best and median of turns, every contender in each; ratios to homfast's."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    torch.set_num_threads(threads)
    homfast.set_num_threads(threads)
    for kind, (batch, widths) in CASES.items():
        calls = {}
        for contender in CONTENDERS:
            calls[contender], check = call(kind, contender)
            check()
        repeat = 1 if kind == "step" else 20
        times = {contender: [] for contender in calls}
        end = time.perf_counter() + 12
        while time.perf_counter() < end:
            for contender, function in calls.items():
                function()
                start = time.perf_counter()
                for _ in range(repeat):
                    function()
                times[contender].append((time.perf_counter() - start) / repeat * 1e6)
        print(f"{kind}, batch {batch}, widths {widths}, {threads} thread(s), µs")
        ours = {"best": min(times["homfast"]), "median": median(times["homfast"])}
        for contender, spent in times.items():
            print(
                f"  {contender:26s} best {min(spent):9.1f} ({min(spent) / ours['best']:.2f})  "
                f"median {median(spent):9.1f} ({median(spent) / ours['median']:.2f})"
            )


def median(values):
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
