"""Frames as an animated GIF, one at a time: hundreds of large ones would not fit in memory together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from struct import pack

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor
from PIL.GifImagePlugin import getdata

_TABLE = 3 * 256  # bytes of a palette, as the header announces it
_CLEAR = 255  # the colour that lets the last frame through
_FOREVER = b"!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"


def palette_of(colours: Iterable[str], samples: Sequence[Image.Image]) -> Image.Image:
    """An image whose palette has these colours ("#rrggbb"), and the commonest others of the samples."""
    counts: Counter[tuple[int, int, int]] = Counter()
    for image in samples:
        for count, colour in image.getcolors(image.width * image.height) or []:
            assert isinstance(colour, tuple)  # of an RGB image
            counts[colour[0], colour[1], colour[2]] += count
    exact = dict.fromkeys(ImageColor.getrgb(colour)[:3] for colour in colours)
    chosen = list(exact)
    for colour, _ in counts.most_common():
        # Pillow finds the nearest colour to within 4 levels: what is closer to an exact one would take its place.
        if len(chosen) < _CLEAR and all(max(abs(a - b) for a, b in zip(colour, e, strict=True)) > 8 for e in exact):
            chosen.append(colour)
    palette = Image.new("P", (1, 1))
    palette.putpalette([channel for colour in chosen for channel in colour])
    return palette


def animation(images: Iterable[Image.Image], palette: Image.Image, seconds: Sequence[float]) -> bytes:
    """An endless animation of RGB images of one size, with the seconds of each; a frame stores only changes."""
    parts: list[bytes] = []
    before: NDArray[np.uint8] | None = None
    for image, duration in zip(images, seconds, strict=True):
        frame = image.quantize(palette=palette, dither=Image.Dither.NONE)
        pixels = np.asarray(frame)
        if before is None:
            parts += [_header(frame), _FOREVER]
        left, top, right, bottom = _changed(before, pixels)
        part = pixels[top:bottom, left:right]
        if before is not None:  # unchanged pixels are transparent, which compresses best
            part = np.where(part == before[top:bottom, left:right], np.uint8(_CLEAR), part)
        image = Image.fromarray(part).convert("P")
        parts += getdata(image, (left, top), duration=round(duration * 1000), transparency=_CLEAR, disposal=1)
        before = pixels
    return b"".join([*parts, b";"])


def _header(frame: Image.Image) -> bytes:
    colours = bytes(frame.getpalette() or [])[:_TABLE]
    return b"GIF89a" + pack("<HHBBB", *frame.size, 0xF7, 0, 0) + colours + bytes(_TABLE - len(colours))


def _changed(before: NDArray[np.uint8] | None, now: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """The smallest rectangle around all that is new: left, top, right and bottom; one pixel if nothing is."""
    height, width = now.shape
    if before is None:
        return 0, 0, width, height
    other = before != now
    rows, columns = np.flatnonzero(other.any(axis=1)), np.flatnonzero(other.any(axis=0))
    if not len(rows):
        return 0, 0, 1, 1
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
