"""An operator of your own: parallel-beam tomography as a subclass of `Operator`.

A family gives two products on rows, ``_forward_rows`` and ``_adjoint_rows``, which get checked
arrays and write into ones that are there. Everything else comes with the base: batches, other
layouts and libraries, ``A @ B``, ``A.H``, `dot_test`, `norm`, `to_scipy`, solvers. Here rows are
images, seen along rays at a few angles; SciPy's ``lsmr`` and `solvers.fista` in wavelets invert it.

Result: Relative error from 45 angles: lsmr 19.3%, sparse 12.4%
"""

from __future__ import annotations

import argparse

import numpy as np
import pywt
import scipy.sparse
import scipy.sparse.linalg
import skimage.data
from matplotlib.figure import Figure
from skimage.transform import resize

from homfast.measure import Kronecker, Operator, solvers


class Tomography(Operator):
    """Sums of an image (side, side) over strips of width 1 at each angle, in radians."""

    def __init__(self, side: int, angles: np.ndarray):
        bins = int(np.ceil(side * np.sqrt(2))) + 2
        middle = np.arange(side) - (side - 1) / 2
        down, across = np.meshgrid(middle, middle, indexing="ij")
        place = np.multiply.outer(np.cos(angles), across) + np.multiply.outer(np.sin(angles), down)
        place = place.reshape(len(angles), -1) + (bins - 1) / 2
        left = np.floor(place).astype(np.int64)
        first = np.arange(len(angles))[:, None] * bins
        pixel = np.broadcast_to(np.arange(side * side), left.shape)
        entries = [(left + 1 - place, first + left), (place - left, first + left + 1)]
        self._matrix = sum(
            scipy.sparse.csr_array(
                (weight.ravel().astype(np.float64), (row.ravel(), pixel.ravel())),
                shape=(len(angles) * bins, side * side),
            )
            for weight, row in entries
        )
        super().__init__(self._matrix.shape, np.dtype(np.float64))

    def _forward_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        out[...] = (self._matrix @ rows.T).T

    def _adjoint_rows(self, rows: np.ndarray, out: np.ndarray) -> None:
        out[...] = (self._matrix.T @ rows.T).T


def main() -> None:
    parser = argparse.ArgumentParser(description="An operator of your own, for tomography.")
    parser.add_argument("--side", type=int, default=128, help="of the image, a multiple of 32")
    parser.add_argument("--angles", type=int, default=45)
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--output", default="custom_operator.png")
    options = parser.parse_args()

    side = options.side
    phantom = skimage.data.shepp_logan_phantom()
    image = resize(phantom, (side, side), anti_aliasing=True).astype(np.float64)
    A = Tomography(side, np.arange(options.angles) * np.pi / options.angles)
    A.dot_test()  # <A x, y> == <x, A^H y>
    y = A(image.ravel())
    least_squares = scipy.sparse.linalg.lsmr(A.to_scipy(), y, maxiter=50)[0]
    wavelets = np.concatenate(pywt.wavedec(np.eye(side), "haar", "periodization", axis=1), axis=1)
    synthesis = Kronecker(wavelets.astype(np.float64), wavelets.astype(np.float64))
    coefficients = solvers.fista(
        A @ synthesis, y, regularization=0.1, iterations=options.iterations
    )

    figure = Figure(figsize=(12, 3.4), layout="constrained")
    axes = figure.subplots(1, 4)
    sinogram = axes[1].imshow(
        y.reshape(options.angles, -1),
        aspect="auto",
        cmap="gray",
        extent=(-side / 2, side / 2, 180, 0),
    )
    axes[1].set(title="measured", xlabel="place across the ray, pixels", ylabel="angle, degrees")
    figure.colorbar(sinogram, ax=axes[1], label="sum along the ray")
    said = []
    shown = {"original": image, "lsmr": least_squares, "sparse": synthesis(coefficients)}
    for axis, (name, picture) in zip(axes[[0, 2, 3]], shown.items(), strict=True):
        picture = np.asarray(picture).reshape(side, side)
        error = np.linalg.norm(picture - image) / np.linalg.norm(image)
        measured = name != "original"
        said += [f"{name} {error:.1%}"] if measured else []
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axis.set_title(f"{name}: error {error:.1%}" if measured else f"{side} x {side} pixels")
        axis.set_axis_off()
    figure.savefig(options.output, dpi=100)
    print(f"Relative error from {options.angles} angles: {', '.join(said)}")


if __name__ == "__main__":
    main()
