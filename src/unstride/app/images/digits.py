"""Pictures of digits, converted to MNIST's format: 28x28, light on dark, 20 pixels long, centred by mass."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ...data import SIDE, Bytes, Doubles, Grey
from . import reader
from .reader import ImageError, Remark, Source, name_of

__all__ = ["BOX", "ImageError", "read"]


BOX = 20
"""The longer side of a digit in pixels. In MNIST 69,984 digits have 20, the other 16 have 19."""
CENTRE = SIDE // 2
"""The row and the column of a digit's centre of mass."""

FAINT = 0.08
"""Pixels below this share of the ink's strength do not count as ink."""
LEAST = 24
"""The least contrast between ink and background, of 255."""
NOISE = 4
"""The least contrast, in standard deviations of the background."""
COARSE = 256
"""Ink is located in a picture reduced to about this side, which averages noise out."""
SPECK = 0.003
"""Parts at the ends with less than this share of the ink, beyond a gap, are dust."""


def read(source: Source, remark: Remark | None = None, *, crop: bool = True) -> Bytes:
    """The digit in a file that `unstride.app.images.reader` can read, as a 28x28 array of uint8.

    The steps are those by which MNIST was made:

    1. Convert to grey, over white.
    2. Invert, if the median of the border is lighter than the mean of the interior.
    3. Darken until the background, the border's median and the noise around it, is black.
    4. Crop to the ink.
    5. Scale, in proportion, to a longer side of 20 pixels, and make the lightest pixel white.
    6. Place the centre of mass in the middle.

    MNIST's own images do not change, except 2 of the 70,000, which move by a pixel.

    Parameters
    ----------
    source : path or Upload
    remark : callable, optional
        Called with notes on the file (see `unstride.app.images.reader.pixels`).
    crop : bool
        False scales the whole picture with its margins, for models trained on other data than MNIST.

    Raises
    ------
    ImageError
        The file is not an image, is damaged, or has only one tone.
    """
    values = reader.grey(source, remark)
    try:
        return _fitted(values, crop)
    except ImageError as error:
        raise ImageError(f"{name_of(source)}: {error}") from None


def _fitted(values: Bytes, crop: bool) -> Bytes:
    levels, clean = _light_on_dark(values)
    if not crop:
        scale = SIDE / max(levels.shape)
        height, width = (max(1, round(size * scale)) for size in levels.shape)
        return _placed(_resized(levels, height, width), (SIDE - height) // 2, (SIDE - width) // 2)
    ink = _cropped(levels, 0.0) if clean else levels
    if max(ink.shape) not in (BOX - 1, BOX):  # right already: scaling would only blur it
        ink = _cropped(levels, FAINT)
        scale = BOX / max(ink.shape)
        height, width = (max(1, round(size * scale)) for size in ink.shape)
        ink = _resized(ink, height, width)
        ink *= 255 / max(1.0, float(ink.max()))
    return _placed(ink, *(_start(ink, axis) for axis in (0, 1)))


def _light_on_dark(values: Bytes) -> tuple[Grey, bool]:
    """The levels on a black background, and whether the background has no noise."""
    levels = _above_noise(np.asarray(values, np.float32)) or _above_noise(_evenly_lit(values))
    if levels is None:
        raise ImageError("its background is too uneven to find the ink; expected one tone, or a smooth fall of light")
    return levels


def _evenly_lit(values: Bytes) -> Grey:
    """The picture under even light: divided by the plane fitted to its border."""
    edge = max(1, min(values.shape) // 16)
    places: Grey = np.indices(values.shape).astype(np.float32)
    rows, columns = places[0], places[1]
    border = np.ones(values.shape, bool)
    border[edge:-edge, edge:-edge] = False
    terms = np.stack([rows[border], columns[border], np.ones(border.sum(), np.float32)], 1)
    plane: Grey = np.linalg.lstsq(terms, np.asarray(values, np.float32)[border], rcond=None)[0]
    down, across, start = (float(term) for term in plane)
    light = np.maximum(start + down * rows + across * columns, 1)
    return np.asarray(values * (light.max() / light), np.float32).clip(0, 255)


def _above_noise(values: Grey) -> tuple[Grey, bool] | None:
    """As `_light_on_dark`, or None if nothing stands out from the noise of the border."""
    edge = max(1, min(values.shape) // 16)
    inner = values[edge:-edge, edge:-edge]
    border = np.ones(values.shape, bool)
    border[edge:-edge, edge:-edge] = False
    background = float(np.median(values[border]))
    if background > (inner if inner.size else values).mean():
        values, background = 255 - values, 255 - background
    # From the border, because ink may cover most of the rest: its standard deviation, by the median deviation.
    deviation = 1.4826 * float(np.median(np.abs(values[border] - np.float32(background))))
    floor = background + 2 * deviation
    strength = float(_coarse(np.asarray(values, np.float32))[0].max()) - background
    if strength < LEAST:
        raise ImageError(
            "it shows nothing: all of it is of one tone. Expected something dark on light, or light on dark"
        )
    if strength < NOISE * deviation:
        return None
    # White stays white.
    levels = np.maximum(values - np.float32(floor), 0) * np.float32(255 / max(1.0, 255 - floor))
    return levels, deviation == 0


def _cropped(levels: Grey, share: float) -> Grey:
    """Crop to the pixels above a share of the lightest one, without separate specks."""
    coarse, factor = _coarse(levels)
    (top, bottom), (left, right) = _box(coarse, share)
    levels = levels[top * factor : bottom * factor, left * factor : right * factor]
    if factor > 1:  # exact to the pixel
        (top, bottom), (left, right) = _box(levels, share)
        levels = levels[top:bottom, left:right]
    return levels


def _box(levels: Grey, share: float) -> tuple[tuple[int, int], tuple[int, int]]:
    ink = np.where(levels > share * levels.max(), levels, 0)
    speck = SPECK if share else 0.0
    return _span(ink.sum(1, dtype=np.float64), speck), _span(ink.sum(0, dtype=np.float64), speck)


def _span(mass: Doubles, speck: float) -> tuple[int, int]:
    """The range that the mass covers, without separate ends that hold almost none of it."""
    inside = np.flatnonzero(np.minimum(mass.cumsum(), mass[::-1].cumsum()[::-1]) > speck * mass.sum())
    first, last = int(inside[0]), int(inside[-1])
    empty = np.flatnonzero(mass == 0)
    before, after = empty[empty < first], empty[empty > last]
    return (int(before[-1]) + 1 if len(before) else 0), (int(after[0]) if len(after) else len(mass))


def _coarse(levels: Grey) -> tuple[Grey, int]:
    """The means over square blocks, and the blocks' side."""
    factor = -(-max(levels.shape) // COARSE)
    if factor == 1:
        return levels, 1
    return np.asarray(Image.fromarray(np.ascontiguousarray(levels)).reduce(factor)), factor


def _resized(levels: Grey, height: int, width: int) -> Grey:
    """Resize with antialiasing."""
    image = Image.fromarray(np.ascontiguousarray(levels)).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image).clip(0, 255)


def _start(ink: Grey, axis: int) -> int:
    """The row or column at which the ink begins if its centre of mass is in the middle and nothing is cut off."""
    mass = ink.sum(1 - axis, dtype=np.float64)
    middle = float((mass * np.arange(len(mass))).sum() / mass.sum())
    return int(np.clip(round(CENTRE - middle), 0, SIDE - len(mass)))


def _placed(ink: Grey, top: int, left: int) -> Bytes:
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    height, width = ink.shape
    canvas[top : top + height, left : left + width] = np.rint(ink)
    return canvas
