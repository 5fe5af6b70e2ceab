"""Training patches: those of the photographs that come in scikit-image's wheel."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from homfast.recovery.duplicates import Fingerprint
from homfast.recovery.images import read_gray

TEST_IMAGE = "camera.png"

# Photographs and micrographs; drawings, test charts and masks would teach nothing.
TRAINING_IMAGES = (
    "astronaut.png",
    "brick.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)
_FEWEST_IMAGES = 5
_SIGNS = np.array([-1, 1], np.float32)


def shipped(name: str) -> Path:
    """Where scikit-image keeps the image of that name."""
    import skimage

    return Path(skimage.__file__).parent / "data" / name


def training_images(tested: np.ndarray) -> dict[str, np.ndarray]:
    """The training images by name, without those that show what the tested image shows.

    Raises
    ------
    RuntimeError
        Fewer than five are there, as in a scikit-image that fetches its images from the network.
    """
    fingerprint = Fingerprint(tested)
    images = {
        name: read_gray(shipped(name))[0] for name in TRAINING_IMAGES if shipped(name).exists()
    }
    # The two views of the motorcycle are one scene.
    seen = {_scene(name) for name in images if fingerprint.resembles(Fingerprint(images[name]))}
    images = {name: image for name, image in images.items() if _scene(name) not in seen}
    if len(images) < _FEWEST_IMAGES:
        raise RuntimeError(
            f"only {len(images)} training images in {shipped('')}, wanted the "
            f"{len(TRAINING_IMAGES)} of scikit-image's wheel; pip install homfast[demo]"
        )
    return images


def _scene(name: str) -> str:
    return name.partition("_")[0]


class PatchSampler:
    """Random patches, less their mean, of images at full and at half size.

    Every position is equally likely. A draw turns and mirrors patches, eighths of it in the eight
    ways a square has, and gives each a random sign: the set it draws from is symmetric.

    Parameters
    ----------
    images : iterable of arrays, each (height, width)
    block : int
        Side of the patches.
    seed : int
    """

    def __init__(self, images: Iterable[np.ndarray], block: int, seed: int):
        scales = [scale for image in images for scale in (image, _half(image))]
        scales = [scale for scale in scales if min(scale.shape) >= block]
        self._block = block
        self._random = np.random.default_rng([seed, 1])
        # Bytes, as a camera gives them: random access to four times as many costs cache misses.
        self._pixels = np.concatenate([image.round().astype(np.uint8).ravel() for image in scales])
        heights, self._widths = np.array([image.shape for image in scales]).T
        self._columns = self._widths - block + 1
        self._starts = np.cumsum([0, *(image.size for image in scales)])[:-1]
        self._positions = np.cumsum((heights - block + 1) * self._columns)
        square = np.arange(block * block).reshape(block, block)
        turned = [np.rot90(square, turns) for turns in range(4)]
        self._symmetries = [s.ravel() for t in turned for s in (t, t.T)]

    def draw(self, count: int) -> np.ndarray:
        """Patches as rows, float32 (count, block^2)."""
        block = self._block
        position = self._random.integers(self._positions[-1], size=count)
        image = np.searchsorted(self._positions, position, side="right")
        position -= np.concatenate([[0], self._positions])[image]
        row, column = np.divmod(position, self._columns[image])
        width = self._widths[image]
        corner = self._starts[image] + row * width + column
        down = corner[:, None] + np.arange(block) * width[:, None]
        across = (down[:, :, None] + np.arange(block)).reshape(count, -1)
        patches = self._pixels.take(across).astype(np.float32)
        for part, symmetry in zip(np.array_split(patches, 8), self._symmetries, strict=True):
            part[...] = part[:, symmetry]
        patches -= patches.mean(axis=1, keepdims=True)
        patches *= self._random.choice(_SIGNS, size=(count, 1))
        return patches


def _half(image: np.ndarray) -> np.ndarray:
    """The image at half size, means of 2 x 2 pixels. Sharper than the original a pixel."""
    height, width = (side // 2 * 2 for side in image.shape)
    pairs = image[:height, :width].reshape(height // 2, 2, width // 2, 2)
    return pairs.mean(axis=(1, 3), dtype=np.float32)
