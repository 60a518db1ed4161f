"""Image files to pixels as a model was trained on them: digits as MNIST has them, or photographs.

MNIST's digits: "normalized to fit in a 20x20 pixel box while preserving their aspect ratio", grey levels "as a result
of the anti-aliasing technique", and "centered in a 28x28 image by computing the center of mass of the pixels"
(Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database, yann.lecun.com/exdb/mnist); light strokes on black.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import TinygenError

MOST_PIXELS = 50_000_000
_WORKING = 256
"""Digits are found in an image of at most this many pixels a side."""
_BOX = 20 / 28
"""Of the side: the longer side of a digit's bounding box."""
_LEAST_CONTRAST = 0.1
_FAINT = 0.2
"""What is paler than this part of a stroke is paper."""
_STROKE = 0.1
"""Strokes narrower than this part of the digit are thickened to it: MNIST's, of a pen, have 2 to 3 of 20 pixels."""
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, struct.error, zlib.error)
"""What Pillow's decoders raise for files that are cut short or wrong."""


class Kind(StrEnum):
    """How an image becomes an input."""

    DIGIT = "digit"
    PHOTO = "photo"


@dataclass(frozen=True, eq=False)
class Picture:
    """An image converted for a model.

    Attributes:
        path: of the file.
        pixels: uint8 [height, width, channels].
    """

    path: Path
    pixels: np.ndarray


def read_picture(path: Path, shape: tuple[int, int, int], kind: Kind) -> Picture:
    """An image file as the pixels of a model's input.

    Args:
        path: PNG, JPEG, or another format that Pillow reads; of several images in a file, the first is used.
        shape: height, width, channels (1 or 3).
        kind: DIGIT: one dark digit on light paper or the reverse, found, scaled and centred as MNIST's are (channels:
            1). PHOTO: the middle of the image, cropped to the input's proportions and scaled.

    Raises:
        TinygenError: the file does not exist, is not an image, is damaged, too large or blank; or Pillow is missing.
    """
    image = _opened(path)
    if kind is Kind.DIGIT:
        return Picture(path, _digit(image, shape[:2], str(path))[:, :, None])
    return Picture(path, _photo(image, shape))


def need_pillow() -> None:
    """
    Raises:
        TinygenError: Pillow is not installed.
    """
    try:
        import PIL  # noqa: F401
    except ModuleNotFoundError as error:
        raise TinygenError("Pillow, which reads images, is not installed", fix="pip install 'tinygen[classify]'") from (
            error
        )


def _opened(path: Path) -> Any:
    """The image, upright, RGBA."""
    need_pillow()
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower
            with Image.open(path) as image:
                _check_size(image.size, path)
                image.load()
                upright = ImageOps.exif_transpose(image)
                return _eight_bits(upright, path).convert("RGBA")
    except FileNotFoundError as error:
        raise TinygenError("there is no such file", where=str(path)) from error
    except UnidentifiedImageError as error:
        raise TinygenError("is no image", where=str(path), fix="Give a PNG or a JPEG.") from error
    except Image.DecompressionBombError as error:
        raise _too_large(path, str(error)) from error
    except (IsADirectoryError, PermissionError) as error:
        raise TinygenError(f"cannot be read ({error.strerror})", where=str(path)) from error
    except _DAMAGED as error:
        raise TinygenError(f"is damaged ({error})", where=str(path), fix="Give a PNG or a JPEG that is whole.") from (
            error
        )


def _check_size(size: tuple[int, int], path: Path) -> None:
    width, height = size
    if width * height > MOST_PIXELS:
        raise _too_large(path, f"{width} x {height} pixels")


def _too_large(path: Path, what: str) -> TinygenError:
    return TinygenError(
        f"is too large ({what})", where=str(path), fix=f"Scale it down: at most {MOST_PIXELS // 10**6} million pixels."
    )


def _eight_bits(image: Any, path: Path) -> Any:
    """The image with 8 bits a pixel instead of 16; other images are unchanged."""
    from PIL import Image

    if image.mode == "F":
        raise TinygenError("has floating-point pixels", where=str(path), fix="Give a PNG or a JPEG.")
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.clip(np.asarray(image).astype(np.int64), 0, 65535) // 257).astype(np.uint8))


def _photo(image: Any, shape: tuple[int, int, int]) -> np.ndarray:
    """uint8 [height, width, channels]; transparent pixels become white."""
    from PIL import Image

    height, width, channels = shape
    whole = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert(
        "L" if channels == 1 else "RGB"
    )
    factor = min(whole.width / width, whole.height / height)
    kept = max(round(factor * width), 1), max(round(factor * height), 1)
    left, top = ((there - part) // 2 for there, part in zip(whole.size, kept, strict=True))
    middle = whole.crop((left, top, left + kept[0], top + kept[1]))
    scaled = middle.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(scaled, np.uint8).reshape(height, width, channels)


def _digit(image: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """uint8 [height, width], a light digit on black."""
    if image.size == size[::-1]:
        as_it_is = _centred_already(_grey(image))
        if as_it_is is not None:
            return as_it_is
    if max(image.size) > _WORKING:
        image = image.copy()
        image.thumbnail((_WORKING, _WORKING))
    ink, strokes = _ink(_grey(image), where)
    rows, columns = (np.flatnonzero(strokes.any(axis=axis)) for axis in (1, 0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.rint(255 * _placed(_boxed(_thickened(cropped), size), size)).astype(np.uint8)


def _grey(image: Any) -> np.ndarray:
    """Luma 0 to 1, [height, width] (ITU-R BT.601); the background of transparent pixels contrasts with the digit."""
    rgba = np.asarray(image, np.float64) / 255
    luma, alpha = rgba[..., :3] @ (0.299, 0.587, 0.114), rgba[..., 3]
    if alpha.min() == 1 or alpha.max() == 0:
        return luma * alpha
    light = float((luma * alpha).sum() / alpha.sum()) > 0.5
    return luma * alpha + (0.0 if light else 1.0) * (1 - alpha)


def _centred_already(grey: np.ndarray) -> np.ndarray | None:
    """An image of the input's size with a uniform black or white border, which is not scaled again; None for others.

    A stroke may reach the border.
    """
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    low, high = np.quantile(border, (0.25, 0.75))
    if np.ptp(grey) < _LEAST_CONTRAST:
        return None
    if high < 0.03:
        return np.rint(255 * grey).astype(np.uint8)
    if low > 0.97:
        return np.rint(255 * (1 - grey)).astype(np.uint8)
    return None


def _ink(grey: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """(intensity of the stroke in each pixel, 0 to 1; mask of the stroke's pixels).

    The paper is modelled as a plane through the image's border, which removes a linear gradient of the light. Strokes
    are on the side of the plane with the larger distances, which says whether they are dark or light.
    """
    difference = grey - _plane(grey)
    difference *= 1 if float((difference**3).sum()) > 0 else -1
    ink = np.clip(difference, 0, None)
    if ink.max() < _LEAST_CONTRAST:
        raise TinygenError("shows nothing: all of it is alike", where=where, fix="Give an image of one digit.")
    strokes = ink > _otsu(ink)
    ink = ink / np.median(ink[strokes])
    return np.clip((ink - _FAINT) / (1 - _FAINT), 0, 1), strokes


def _plane(grey: np.ndarray) -> np.ndarray:
    """The plane through the pixels of the border, by least squares."""
    height, width = grey.shape
    if min(height, width) < 3:
        return np.full_like(grey, np.median(grey))
    y, x = np.mgrid[0:height, 0:width]
    edge = (y == 0) | (y == height - 1) | (x == 0) | (x == width - 1)
    terms = np.stack([np.ones(grey.shape), y / height, x / width], axis=-1)
    factors, *_ = np.linalg.lstsq(terms[edge], grey[edge], rcond=None)
    return np.asarray(terms @ factors)


def _otsu(values: np.ndarray) -> float:
    """Otsu's threshold (N. Otsu, A threshold selection method from gray-level histograms, 1979)."""
    counts, edges = np.histogram(values, 64)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = values.size - below
    sums = np.cumsum(counts * middles)
    between = below * above * (sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)) ** 2
    return float(edges[1:-1][np.argmax(between)])


def _thickened(ink: np.ndarray) -> np.ndarray:
    """Strokes with thin lines widened to a pen's: scaled to 20 pixels they would be too faint."""
    mask = ink > 0.5
    padded = np.pad(mask, 1).astype(np.int8)
    perimeter = int(np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum())
    width = 2 * float(mask.sum()) / max(perimeter, 1)
    missing = round((_STROKE * max(ink.shape) - width) / 2)
    if missing < 1:
        return ink
    from PIL import Image, ImageFilter

    grown = Image.fromarray(np.rint(255 * np.pad(ink, missing)).astype(np.uint8))
    return np.asarray(grown.filter(ImageFilter.MaxFilter(2 * missing + 1)), np.float64) / 255


def _boxed(ink: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The digit scaled so that its longer side has 20 of 28 pixels."""
    from PIL import Image

    longer = round(_BOX * min(size))
    factor = longer / max(ink.shape)
    height, width = (max(round(factor * length), 1) for length in ink.shape)
    image = Image.fromarray(ink.astype(np.float32))
    scaled = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    return np.clip(scaled / max(float(scaled.max()), 1e-6), 0, 1)


def _placed(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The box on black, with its centre of mass in the middle if it fits there."""
    mass = box.sum()
    corner = []
    for axis, (length, space) in enumerate(zip(box.shape, size, strict=True)):
        centre = float((box.sum(axis=1 - axis) * (np.arange(length) + 0.5)).sum() / mass)
        corner.append(int(np.clip(round(space / 2 - centre), 0, space - length)))
    placed = np.zeros(size)
    placed[corner[0] : corner[0] + box.shape[0], corner[1] : corner[1] + box.shape[1]] = box
    return placed
