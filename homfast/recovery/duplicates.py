"""Does one image show what another one shows? Training must not see the image it is tested on.

Two tests, each blind to brightness, contrast and sign. Small copies of the whole images are
compared, which finds an image that was rescaled or compressed. Then a few tiles of each are
searched in the other by normalised cross-correlation, which finds crops, images within larger
ones, and the other half of a stereo pair. Both work on the image less its local mean: outlines and
shading alone make unrelated photographs alike.

Among the images of scikit-image's wheel, unrelated ones correlate by 0.51 as small copies and by
0.74 in tiles at most; copies and crops after JPEG at quality 60 by 0.9 and more.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

_SMALL = 48  # side of the small copies
_TILE = 40  # side of the tiles: a smaller one is found in unrelated text and texture
_TILES = 6
_ALIKE = 0.77
_LARGEST = 4_000_000  # pixels of an image that is searched: more would take longer than training


class Fingerprint:
    """What is needed of an image to recognise it elsewhere.

    Parameters
    ----------
    image : array, shape (height, width), gray levels 0 to 255
    """

    def __init__(self, image: np.ndarray):
        self._image = np.asarray(image, np.float32)
        self._detail = _less_local_mean(self._image)

    def resembles(self, other: Fingerprint) -> bool:
        """Whether the images are copies, or one has a part of the other.

        Copies that are turned or mirrored, and crops that are rescaled, are not recognised.
        """
        if self._small_copy_alike(other):
            return True
        side = min(_TILE, *self._image.shape, *other._image.shape)
        if side < _TILE // 2:
            return False  # a tile that small is found anywhere
        return any(
            of._best_match(within, side) > _ALIKE
            for of, within in ((self, other), (other, self))
            if within._image.size <= _LARGEST
        )

    def _small_copy_alike(self, other: Fingerprint) -> bool:
        if min(*self._image.shape, *other._image.shape) < _SMALL:
            return False
        copies = self._small_copy, other._small_copy
        norms = [float(np.linalg.norm(copy)) for copy in copies]
        if min(norms) < _SMALL:  # less than one gray level: flat
            return False
        return abs(float(np.vdot(*copies))) > _ALIKE * norms[0] * norms[1]

    @cached_property
    def _small_copy(self) -> np.ndarray:
        """Means over a grid of _SMALL x _SMALL cells of nearly equal size, less the local mean."""
        rows, columns = (np.arange(_SMALL + 1) * side // _SMALL for side in self._image.shape)
        sums = np.add.reduceat(np.add.reduceat(self._image, rows[:-1], 0), columns[:-1], 1)
        return _less_local_mean(sums / np.outer(np.diff(rows), np.diff(columns)))

    def _tiles(self, side: int) -> list[np.ndarray]:
        """The tiles of a grid with the most detail, at most _TILES, flat ones left out."""
        height, width = self._detail.shape
        tiles = [
            self._detail[y : y + side, x : x + side]
            for y in range(0, height - side + 1, side)
            for x in range(0, width - side + 1, side)
        ]
        # The median of |detail| prefers texture to one strong edge, which is alike everywhere.
        strength = [float(np.median(np.abs(tile))) for tile in tiles]
        best = np.argsort(strength)[::-1][:_TILES]
        return [tiles[i] - tiles[i].mean() for i in best if float(tiles[i].std()) > 1.0]

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, tuple[int, ...]]:
        """The Fourier transform, and the padded shape it is of."""
        from scipy.fft import next_fast_len, rfft2

        shape = tuple(next_fast_len(n, real=True) for n in self._detail.shape)
        return rfft2(self._detail, shape), shape

    def _best_match(self, other: Fingerprint, side: int) -> float:
        """How well the tiles of `self` are found in `other`: the second best, one may be chance."""
        from scipy.fft import irfft2, rfft2

        tiles = self._tiles(side)
        if not tiles:
            return 0.0
        spectrum, shape = other._spectrum
        valid = tuple(slice(0, n - side + 1) for n in other._detail.shape)
        energy = np.sqrt(np.maximum(_window_sums(other._detail**2, side), 1.0))
        peaks = []
        for tile in tiles:
            products = irfft2(spectrum * np.conj(rfft2(tile, shape)), shape)[valid]
            peaks.append(float(np.abs(products / energy).max() / np.linalg.norm(tile)))
        return sorted(peaks)[-min(2, len(peaks))]


def _less_local_mean(image: np.ndarray) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    image = np.asarray(image, np.float32)
    return image - uniform_filter(image, 7)


def _window_sums(values: np.ndarray, side: int) -> np.ndarray:
    """Sums over all windows side x side, shape reduced by side - 1."""
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(0, np.float64).cumsum(1)
    return sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
