"""Reading an image of any mode as gray levels 0 to 255."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_LUMA = np.array([0.2125, 0.7154, 0.0721], np.float32)  # Rec. 709, as skimage.color.rgb2gray
MOST_PIXELS = 1 << 26  # a few KiB of file can hold that many, and a GiB of memory
_RUN_BY_OTHERS = {"EPS"}  # formats for which Pillow starts a program
_BAND = 1 << 16  # pixels that are converted at a time: what that takes is then little
_WORD = ("I;16", "I;16B", "I;16L", "I;16N")


def read_gray(path: Path, *, most_pixels: int = MOST_PIXELS) -> tuple[np.ndarray, str]:
    """Read an image file as gray levels.

    Parameters
    ----------
    path : Path
        A file that Pillow or tifffile reads without another program (no EPS). Of several pages or
        frames the first is taken.
    most_pixels : int, optional
        Larger images are refused before they are unpacked, 2^26 pixels by default.

    Returns
    -------
    image : float32 array, shape (height, width), 0 to 255
        Colours become luminance, transparent pixels white, 16 bits are divided by 257, floats in
        0 to 1 multiplied by 255; what fits no such range is stretched.
    note : str
        What was done that one would not expect, "" if nothing.

    Raises
    ------
    OSError
        The file is not there, may not be read, or is no file.
    ValueError
        The file is not an image, is broken, or has no pixels, too many, or values that are not
        finite.
    """
    if not path.exists():
        raise FileNotFoundError(f"image: there is no file {path}")
    if path.is_dir():
        raise IsADirectoryError(f"image: {path} is a directory, wanted an image file")
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise OSError(f"image: cannot read {path}: {error.strerror or error}") from error
    try:
        return _gray(_pixels(path, most_pixels))
    except _Unsuitable as error:
        raise ValueError(f"image: {path} {error}") from error
    except Exception as error:
        # Readers of broken files raise what they like: SyntaxError, struct.error, EOFError ...
        raise ValueError(
            f"image: {path} is not an image that Pillow or tifffile reads ({error})"
        ) from error


class _Unsuitable(Exception):
    pass


def _pixels(path: Path, most: int) -> np.ndarray:
    """Gray (h, w) or colour (h, w, 3 or 4) of any dtype."""
    from PIL import Image, ImageOps

    Image.init()
    formats = [name for name in Image.ID if name not in _RUN_BY_OTHERS]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on odd metadata are not for the user's terminal
        try:
            with Image.open(path, formats=formats) as opened:
                _check_size(opened.width, opened.height, most)
                opened.load()
                _check_size(opened.width, opened.height, most)  # icons tell another one before
                return _from_pillow(ImageOps.exif_transpose(opened))
        except Image.DecompressionBombError as error:
            raise _Unsuitable(
                f"has too many pixels, wanted {most:,} at most; {_SMALLER}"
            ) from error
        except _Unsuitable:
            raise
        except Exception:
            # Pillow lacks 16-bit colour, float64, and several compressions of TIFF.
            if path.suffix.lower() not in (".tif", ".tiff"):
                raise
            return _from_tifffile(path, most)


_SMALLER = "scale it down, or cut a part out"


def _check_size(width: int, height: int, most: int) -> None:
    if width * height > most:
        raise _Unsuitable(f"has {width:,} x {height:,} pixels, wanted {most:,} at most; {_SMALLER}")


def _from_pillow(image: Any) -> np.ndarray:
    if image.mode in ("L", "F", "I", *_WORD):
        pixels = np.asarray(image)
        is_word = image.mode == "I" and pixels.size and 0 <= pixels.min() <= pixels.max() < 65536
        return pixels.astype(np.uint16) if is_word else pixels  # older Pillow: 16-bit PNG is "I"
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    return np.asarray(image.convert("RGBA" if has_alpha else "RGB"))


def _from_tifffile(path: Path, most: int) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        _check_size(page.imagewidth, page.imagelength * page.imagedepth, most)
        if page.samplesperpixel > 4:
            raise _Unsuitable(f"has shape {page.shape}, wanted gray, RGB or RGBA")
        pixels = np.squeeze(page.asarray())
    if pixels.ndim == 3 and pixels.shape[2] not in (3, 4) and pixels.shape[0] in (3, 4):
        pixels = np.moveaxis(pixels, 0, 2)  # stored plane by plane
    return np.atleast_2d(pixels)


def _gray(pixels: np.ndarray) -> tuple[np.ndarray, str]:
    if pixels.size == 0:
        raise _Unsuitable("has no pixels")
    if pixels.ndim != 2 and not (pixels.ndim == 3 and pixels.shape[2] in (3, 4)):
        raise _Unsuitable(f"has shape {pixels.shape}, wanted gray, RGB or RGBA")
    levels, note = _levels(pixels)
    height, width = pixels.shape[:2]
    image = np.empty((height, width), np.float32)
    rows = max(1, _BAND // width)
    for first in range(0, height, rows):
        image[first : first + rows] = _flat(levels(pixels[first : first + rows]))
    return image, note


def _flat(levels: np.ndarray) -> np.ndarray:
    """Luminance of colours, on white where they are transparent."""
    if levels.ndim == 2:
        return levels
    colour = levels[:, :, :3]
    if levels.shape[2] == 4:
        alpha = levels[:, :, 3:] / np.float32(255)
        colour = colour * alpha + 255 * (1 - alpha)
    return colour @ _LUMA


def _levels(pixels: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """What brings values of the dtype and range of these to the scale 0 to 255, and a note."""
    if pixels.dtype == np.uint8:
        return lambda band: band.astype(np.float32), ""
    if pixels.dtype == np.uint16:
        return lambda band: band.astype(np.float32) / 257, ""
    if pixels.dtype == bool:
        return lambda band: band.astype(np.float32) * 255, ""
    if not (np.issubdtype(pixels.dtype, np.integer) or np.issubdtype(pixels.dtype, np.floating)):
        raise _Unsuitable(f"has values of type {pixels.dtype}, wanted integers or real numbers")
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite(high - low):
        raise _Unsuitable("has values that are not finite, wanted numbers in every pixel")
    offset, factor, note = 0.0, 1.0, ""
    if low >= 0 and high <= 1 and np.issubdtype(pixels.dtype, np.floating):
        factor = 255.0
    elif not (low >= 0 and high <= 255):
        note = f"gray levels stretched from {low:g} ... {high:g} to 0 ... 255"
        offset, factor = low, 255 / max(high - low, 1e-300)
    return lambda band: ((band.astype(np.float64) - offset) * factor).astype(np.float32), note
