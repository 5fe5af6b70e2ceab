"""Train a reconstruction network on several processes, with PyTorch's DistributedDataParallel.

A signal in R^n is seen through m < n Gaussian measurements; a bias-free network learns to give it
back. The only change to a model of ``torch.nn`` is ``homfast.torch.replace(model)``; launching,
gradients' averages and devices are PyTorch's:

    torchrun --nproc-per-node 2 examples/ddp_recover.py
    python examples/ddp_recover.py        # one process: the same weights within rounding

Each step's batch is cut among the processes, so that their averaged gradient is that of one process
on the whole batch. gloo on CPUs; NCCL where homfast has a backend for GPUs (``--device cuda``).
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import time

import numpy as np
import torch
from torch import distributed, nn

import homfast
import homfast.torch


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="n, the length of a signal")
    parser.add_argument("--measurements", type=int, default=128, help="m")
    parser.add_argument("--hidden", type=int, default=512, help="width of both hidden layers")
    parser.add_argument("--batch", type=int, default=1024, help="samples a step, of all processes")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--sparsity", type=int, default=8, help="nonzeros of a signal")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--save", help="where process 0 writes the trained weights")
    return parser.parse_args()


def sparse_signals(count: int, n: int, sparsity: int, generator: np.random.Generator) -> np.ndarray:
    signals = np.zeros((count, n), np.float32)
    places = generator.random((count, n)).argpartition(sparsity, axis=1)[:, :sparsity]
    values = generator.standard_normal((count, sparsity), dtype=np.float32)
    np.put_along_axis(signals, places, values, axis=1)
    return signals


def train(options: argparse.Namespace, rank: int, processes: int, device: torch.device) -> None:
    launched = distributed.is_available() and distributed.is_initialized()
    torch.manual_seed(0)  # the same weights everywhere
    operator = homfast.measure.Gaussian(options.measurements, options.size, seed=7)
    model = nn.Sequential(
        nn.Linear(options.measurements, options.hidden, bias=False),
        nn.ReLU(),
        nn.Linear(options.hidden, options.hidden, bias=False),
        nn.ReLU(),
        nn.Linear(options.hidden, options.size, bias=False),
    ).to(device)
    report = homfast.torch.replace(model)
    trained = nn.parallel.DistributedDataParallel(model) if launched else model
    optimizer = torch.optim.Adam(trained.parameters(), lr=1e-3)

    generator = np.random.default_rng(1)  # the same batches everywhere; each takes its part
    share = options.batch // processes
    mine = slice(rank * share, (rank + 1) * share)
    spent, loss = 0.0, torch.zeros(())
    for _ in range(options.steps):
        signals = sparse_signals(options.batch, options.size, options.sparsity, generator)[mine]
        target = torch.from_numpy(signals)
        measured = operator(target)  # no copy: tensors in, tensors out
        target, measured = target.to(device), measured.to(device)
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(trained(measured), target)
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        spent += time.perf_counter() - start

    average = loss.detach().clone()
    if launched:
        distributed.all_reduce(average)
        average /= processes
    if rank == 0:
        print(report)
        print(f"{processes} process(es), last loss {average.item():.6g}")
        print(f"{options.batch * options.steps / spent:,.0f} training samples a second")
        if options.save:
            torch.save(model.state_dict(), options.save)


def main() -> None:
    options = arguments()
    launched = "RANK" in os.environ  # by torchrun
    if launched:
        # DistributedDataParallel imports this. Imported after the group is made, its functions have
        # the group as a default argument: it, and its threads, would live until the process ends.
        importlib.import_module("torch.distributed.nn")
        distributed.init_process_group("nccl" if options.device == "cuda" else "gloo")
    rank = distributed.get_rank() if launched else 0
    processes = distributed.get_world_size() if launched else 1
    if options.batch % processes:
        raise SystemExit(f"--batch: got {options.batch}, wanted a multiple of {processes}")
    device = torch.device("cpu")
    if options.device == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if launched and options.device == "cpu":  # the cores that there are, shared out
        cores = max(1, len(os.sched_getaffinity(0)) // int(os.environ["LOCAL_WORLD_SIZE"]))
        torch.set_num_threads(cores)
        homfast.set_num_threads(cores)

    train(options, rank, processes, device)
    if launched:
        # The group's end joins gloo's threads, once no model holds it. One that ran on would abort
        # the process now and then: it needs the interpreter to let its last work go.
        gc.collect()
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
