"""Recover an MRI slice from a quarter of its Fourier samples, sparse in wavelets.

A scanner measures the Fourier transform of what it images. Here it reads places in the plane of
frequencies at random, low ones more often, as in 3-D imaging with two phase encodings: `Entries` of
a `Kronecker` product of two `Fourier` operators, of which nothing but a seed is stored. `RealInput`
says that the slice is real; composed with a wavelet synthesis, what is sought is sparse, for
`solvers.fista`. The slice is that of Matplotlib's sample data, its samples computed from it.

Result: PSNR from 26% of the Fourier samples: zero-filled 30.45 dB, sparse 37.66 dB
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import matplotlib
import numpy as np
import pywt
from matplotlib.figure import Figure

from homfast.measure import Entries, Fourier, Kronecker, RealInput, solvers


def head() -> np.ndarray:
    """The slice, (256, 256), largest value 1."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "s1045.ima.gz"
    image = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint16).reshape(256, 256)
    return (image / image.max()).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description="Recover an MRI slice from Fourier samples.")
    parser.add_argument("--iterations", type=int, default=80)
    parser.add_argument("--output", default="mri_fourier.png")
    options = parser.parse_args()

    image = head()
    n = len(image)
    frequency = np.fft.fftfreq(n)
    density = 1 / np.hypot(frequency[:, None], frequency).clip(0.03)
    mask = np.random.default_rng(0).random((n, n)) < 0.27 * density / density.mean()
    F = Fourier(n, n)  # all rows of the transform, in an order drawn from its seed
    order = np.ix_(F.row_indices, F.row_indices)
    places = Entries(np.argwhere(mask[order]), (n, n), dtype=np.complex64)
    A = RealInput(places @ Kronecker(F, F))

    # Wavelets along rows and columns; a row of the identity's transform is a row of the synthesis.
    wavelets = np.concatenate(pywt.wavedec(np.eye(n), "db4", "periodization", level=5, axis=1), 1)
    synthesis = Kronecker(wavelets.astype(np.float32), wavelets.astype(np.float32))

    y = A(image.ravel())
    plain = A.adjoint(y).reshape(n, n)  # zeros where nothing was measured
    coefficients = solvers.fista(
        A @ synthesis, y, regularization=1e-3, iterations=options.iterations, step=1.0
    )
    sparse = synthesis(coefficients).reshape(n, n)

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, 4)
    axes[0].imshow(np.fft.fftshift(mask), cmap="gray", extent=(-0.5, 0.5, 0.5, -0.5))
    axes[0].set(
        title=f"measured (white): {mask.mean():.0%}",
        xlabel="frequency across, 1/pixel",
        ylabel="frequency down, 1/pixel",
    )
    said = []
    for axis, picture, name in zip(
        axes[1:], (image, plain, sparse), ("original", "zero-filled", "sparse"), strict=True
    ):
        psnr = -10 * np.log10(max(np.mean((picture - image) ** 2), 1e-30))
        measured = name != "original"
        said += [f"{name} {psnr:.2f} dB"] if measured else []
        axis.imshow(picture, cmap="gray", vmin=0, vmax=0.8)
        axis.set_title(f"{name}: {psnr:.2f} dB PSNR" if measured else name)
        axis.set_axis_off()
    figure.savefig(options.output, dpi=100)
    print(f"PSNR from {mask.mean():.0%} of the Fourier samples: {', '.join(said)}")


if __name__ == "__main__":
    main()
