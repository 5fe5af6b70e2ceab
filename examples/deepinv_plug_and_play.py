"""Plug-and-play reconstruction by deepinv, with our operator, and with a `ReLUNetwork` as denoiser.

First the example of deepinv's user guide, "Iterative reconstruction (PnP, RED, etc.)"
(https://deepinv.github.io/deepinv/user_guide/reconstruction/iterative.html): half of the pixels of
the cameraman, proximal gradient descent, a median filter as denoiser. ``homfast.measure.Entries``
then takes the place of ``deepinv.physics.Inpainting``, and nothing else changes.

Then a bias-free network takes the place of the median filter. It is positively homogeneous, so that
one that was trained at one noise level denoises at every other (Mohan, Kadkhodaie, Simoncelli,
Fernandez-Granda, arXiv 1906.05478). It sees 8 x 8 patches, learned from another part of the
picture.

    python examples/deepinv_plug_and_play.py
"""

from __future__ import annotations

import argparse
import time

import deepinv
import numpy as np
import torch
from skimage import data

import homfast
import homfast.torch

PATCH = 8


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128, help="pixels along a side")
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--steps", type=int, default=600, help="of training the denoiser")
    return parser.parse_args()


class PatchDenoiser(torch.nn.Module):
    """The mean of what a network makes of all 8 x 8 patches that overlap a pixel.

    It takes a noise level, as deepinv's denoisers do, and does without: f(t x) = t f(x).
    """

    def __init__(self, width: int = 192):
        super().__init__()
        self.network = homfast.torch.ReLUNetwork([PATCH**2, width, width, PATCH**2])

    def forward(self, x: torch.Tensor, sigma: object = None) -> torch.Tensor:
        fold = {"output_size": x.shape[-2:], "kernel_size": PATCH, "stride": 2}
        patches = torch.nn.functional.unfold(x, PATCH, stride=2)
        cleaned = self.network(patches.transpose(1, 2)).transpose(1, 2)
        count = torch.nn.functional.fold(torch.ones_like(cleaned), **fold)
        return torch.nn.functional.fold(cleaned, **fold) / count


def train(denoiser: PatchDenoiser, picture: torch.Tensor, steps: int) -> float:
    """Fit the network to clean patches of `picture`, from noisy ones; returns the last loss."""
    patches = picture.unfold(0, PATCH, 2).unfold(1, PATCH, 2).reshape(-1, PATCH**2)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=1e-3)
    for _ in range(steps):
        clean = patches[torch.randint(len(patches), (256,))]
        loss = torch.mean((denoiser.network(clean + 0.1 * torch.randn_like(clean)) - clean) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def reconstruct(y: torch.Tensor, physics: object, denoiser: object, iterations: int):
    """Plug-and-play proximal gradient descent: the picture, and the seconds it took."""
    model = deepinv.optim.optim_builder(
        iteration="PGD",
        prior=deepinv.optim.prior.PnP(denoiser=denoiser),
        data_fidelity=deepinv.optim.data_fidelity.L2(),
        params_algo={"stepsize": 1.0, "g_param": 0.1, "lambda": 1.0},
        max_iter=iterations,
    )
    start = time.perf_counter()
    with torch.no_grad():
        return model(y, physics), time.perf_counter() - start


def decibels(picture: torch.Tensor, true: torch.Tensor) -> float:
    return float(-10 * torch.log10(torch.mean((picture - true) ** 2)))


def main() -> None:
    options = arguments()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # two libraries' threads would wait for each other on few cores
    size, n = options.size, options.size**2
    camera = torch.from_numpy(data.camera().astype(np.float32) / 255)
    true = camera[64 : 64 + size, 128 : 128 + size][None, None].contiguous()

    mask = (torch.rand(1, size, size) < 0.5).float()
    theirs = deepinv.physics.Inpainting(
        (1, size, size), mask=mask, noise_model=deepinv.physics.GaussianNoise(sigma=0.01)
    )
    y = theirs(true)
    kept = np.flatnonzero(mask.numpy())
    ours = homfast.measure.Entries(kept, (size, size)).to_deepinv((1, size, size))
    measured = y.reshape(1, n)[:, kept]
    median = deepinv.models.MedianFilter()
    wanted, slow = reconstruct(y, theirs, median, options.iterations)
    found, fast = reconstruct(measured, ours, median, options.iterations)
    apart = float((found - wanted).abs().max())
    print(f"half of the pixels, median filter: {decibels(wanted, true):.1f} dB")
    print(f"answers differ by {apart:.1e}; deepinv {slow:.2f} s, homfast {fast:.2f} s")

    denoiser = PatchDenoiser()
    start = time.perf_counter()
    train(denoiser, camera[:, 320:], options.steps)
    print(f"trained {denoiser.network.widths} in {time.perf_counter() - start:.1f} s")
    found, seconds = reconstruct(measured, ours, denoiser, options.iterations)
    print(f"half of the pixels, ReLUNetwork: {decibels(found, true):.1f} dB, {seconds:.2f} s")

    single_pixel = homfast.measure.Hadamard(n // 4, n, seed=1)
    physics = single_pixel.to_deepinv((1, size, size))
    y = physics(true)
    for name, choice in (("median filter", median), ("ReLUNetwork", denoiser)):
        found, seconds = reconstruct(y, physics, choice, options.iterations)
        print(f"{single_pixel!r}, {name}: {decibels(found, true):.1f} dB, {seconds:.2f} s")


if __name__ == "__main__":
    main()
