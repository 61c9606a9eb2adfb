"""Pictures of the user's own digits as MNIST has them: 28x28, light on dark, 20 pixels long, centred by mass."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ...data import SIDE, Bytes, Doubles, Grey
from . import files
from .files import ImageError, Remark, Source, name_of

__all__ = ["BOX", "ImageError", "read"]


BOX = 20
"""The longer side of MNIST's digits, in pixels: 20 of 69,984 of them, 19 of the other 16."""
CENTRE = SIDE // 2
"""The row and the column of a digit's centre of mass."""

FAINT = 0.08
"""What has less than this share of the ink's strength does not count when the ink is measured."""
LEAST = 24
"""How much lighter ink has to be than its background, of 255."""
NOISE = 4
"""And how many times as far as the background's own deviation."""
COARSE = 256
"""Ink is found on a picture of about this side, in which noise is averaged out."""
SPECK = 0.003
"""Ends of the ink that hold less than this share of it do not count where a gap is between: dust."""


def read(source: Source, remark: Remark | None = None, *, crop: bool = True) -> Bytes:
    """The picture in any file that `unstride.app.images.files` reads, as a 28x28 array of uint8.

    In this order it is made grey, as it looks on white; inverted if it is dark on light, which it is if the median of
    its border is lighter than the mean of what the border surrounds; darkened until that median, and the noise around
    it, is black, as paper in a photograph is not; cropped to its ink; shrunk or enlarged, its proportions kept, until
    the longer side is 20 pixels, its lightest pixel then white; and placed so that its centre of mass is in the middle.

    That is how MNIST was made. Its own images come out as they went in, but for 2 of the 70,000, which move by a pixel.

    Parameters
    ----------
    source : path or Upload
    remark : callable, optional
        Is told what there is to know of the file (see `imagefiles.pixels`).
    crop : bool
        False leaves the margins: the whole picture is made to fit. For models of other sets than MNIST.

    Raises
    ------
    ImageError
        The file is not an image, is damaged, or shows nothing: all of one tone.
    """
    values = files.grey(source, remark)
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
    if max(ink.shape) not in (BOX - 1, BOX):  # those are as long already, and would only be blurred
        ink = _cropped(levels, FAINT)
        scale = BOX / max(ink.shape)
        height, width = (max(1, round(size * scale)) for size in ink.shape)
        ink = _resized(ink, height, width)
        ink *= 255 / max(1.0, float(ink.max()))
    return _placed(ink, *(_start(ink, axis) for axis in (0, 1)))


def _light_on_dark(values: Bytes) -> tuple[Grey, bool]:
    """With a black background; and whether that had no noise."""
    levels = _above_noise(np.asarray(values, np.float32)) or _above_noise(_evenly_lit(values))
    if levels is None:
        raise ImageError("its background is too uneven to find the ink; expected one tone, or a smooth fall of light")
    return levels


def _evenly_lit(values: Bytes) -> Grey:
    """As if the light that falls on it were the same everywhere: divided by the plane through its border."""
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
    """As above; None where nothing stands out from the noise of the border."""
    edge = max(1, min(values.shape) // 16)
    inner = values[edge:-edge, edge:-edge]
    border = np.ones(values.shape, bool)
    border[edge:-edge, edge:-edge] = False
    background = float(np.median(values[border]))
    if background > (inner if inner.size else values).mean():
        values, background = 255 - values, 255 - background
    # Of the border, because the ink may cover most of the rest. Half of the border is nearer than this to its median.
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
    """To what is lighter than a share of the lightest; specks apart from the rest are left out."""
    coarse, factor = _coarse(levels)
    (top, bottom), (left, right) = _box(coarse, share)
    levels = levels[top * factor : bottom * factor, left * factor : right * factor]
    if factor > 1:  # to the pixel
        (top, bottom), (left, right) = _box(levels, share)
        levels = levels[top:bottom, left:right]
    return levels


def _box(levels: Grey, share: float) -> tuple[tuple[int, int], tuple[int, int]]:
    ink = np.where(levels > share * levels.max(), levels, 0)
    speck = SPECK if share else 0.0
    return _span(ink.sum(1, dtype=np.float64), speck), _span(ink.sum(0, dtype=np.float64), speck)


def _span(mass: Doubles, speck: float) -> tuple[int, int]:
    """From where to where it reaches, without ends that are apart and hold next to nothing of it."""
    inside = np.flatnonzero(np.minimum(mass.cumsum(), mass[::-1].cumsum()[::-1]) > speck * mass.sum())
    first, last = int(inside[0]), int(inside[-1])
    empty = np.flatnonzero(mass == 0)
    before, after = empty[empty < first], empty[empty > last]
    return (int(before[-1]) + 1 if len(before) else 0), (int(after[0]) if len(after) else len(mass))


def _coarse(levels: Grey) -> tuple[Grey, int]:
    """The means of squares, and their side."""
    factor = -(-max(levels.shape) // COARSE)
    if factor == 1:
        return levels, 1
    return np.asarray(Image.fromarray(np.ascontiguousarray(levels)).reduce(factor)), factor


def _resized(levels: Grey, height: int, width: int) -> Grey:
    """Antialiased."""
    image = Image.fromarray(np.ascontiguousarray(levels)).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(image).clip(0, 255)


def _start(ink: Grey, axis: int) -> int:
    """The row or column where the ink begins, so that its centre of mass is in the middle, and nothing is cut off."""
    mass = ink.sum(1 - axis, dtype=np.float64)
    middle = float((mass * np.arange(len(mass))).sum() / mass.sum())
    return int(np.clip(round(CENTRE - middle), 0, SIDE - len(mass)))


def _placed(ink: Grey, top: int, left: int) -> Bytes:
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    height, width = ink.shape
    canvas[top : top + height, left : left + width] = np.rint(ink)
    return canvas
