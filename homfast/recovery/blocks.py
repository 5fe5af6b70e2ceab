"""Images cut into blocks, and blocks put together again. A block is a row of B^2 pixels."""

from __future__ import annotations

import numpy as np


def fit_to_blocks(image: np.ndarray, block: int) -> tuple[np.ndarray, str]:
    """Crop, or pad if smaller than one block, to whole blocks.

    Parameters
    ----------
    image : array, shape (height, width)
    block : int

    Returns
    -------
    fitted : array, shape (height, width), multiples of `block`
    note : str
        What was done, "" if nothing.
    """
    height, width = image.shape
    done = []
    grow = [(0, max(block - side, 0)) for side in image.shape]
    if any(after for _, after in grow):
        image = np.pad(image, grow, mode="edge")
        done.append("padded by its edge")
    cropped = image[: image.shape[0] // block * block, : image.shape[1] // block * block]
    if cropped.shape != image.shape:
        done.append("cropped at the right and bottom")
    if not done:
        return image, ""
    note = f"{' and '.join(done)}: {cropped.shape[1]} x {cropped.shape[0]} of {width} x {height}"
    return np.ascontiguousarray(cropped), note


def cut(image: np.ndarray, block: int) -> np.ndarray:
    """The blocks of an image (height, width) as rows (blocks, block^2), line by line."""
    height, width = image.shape
    grid = image.reshape(height // block, block, width // block, block)
    return np.ascontiguousarray(grid.swapaxes(1, 2)).reshape(-1, block * block)


def assemble(rows: np.ndarray, shape: tuple[int, int], block: int) -> np.ndarray:
    """The image of `shape` whose blocks are `rows`: the inverse of `cut`."""
    height, width = shape
    grid = rows.reshape(height // block, width // block, block, block)
    return np.ascontiguousarray(grid.swapaxes(1, 2)).reshape(height, width)
