"""Plain pages to segment: digits on light or dark paper, in several sizes, with the class of every pixel.

Like a scene, each page is a function of its key. The test's digits are not used for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from . import Bytes, Pair, Values
from .scenes import SIDE, Source, inked

Place = tuple[int, int, float]
"""The top, left and size of a digit."""

SIZES = (18.0, 64.0)
"""The longer side of a digit's ink in pixels. In MNIST it is 20."""
OVERHANG = 32
"""Half of the training pages are cut out of pages this much larger on each side, so that digits are cut off."""
MAX_DIGITS = 24
"""The most digits on a page."""
CONTRAST = 100
"""The least contrast between paper and ink, of 255."""

TEST_SIZES = (20, 28, 36, 44, 52, 60)
TEST_SHAPE = (160, 224)


@dataclass(frozen=True)
class Sheet:
    """The properties of a page. None means random.

    Attributes
    ----------
    size : float or None
        The longer side of its digits, in pixels.
    dark : bool or None
        Whether it has light ink on dark paper.
    empty : bool
        Whether it has no digits.
    """

    size: float | None = None
    dark: bool | None = None
    empty: bool = False


def page(source: Source, key: Sequence[int], shape: tuple[int, int] = (SIDE, SIDE), sheet: Sheet | None = None) -> Pair:
    """The page for a key, such as (seed, number).

    Returns
    -------
    image, mask : arrays of uint8, (height, width, 3) and (height, width)
        In the mask 0 is the paper and d + 1 the digit d, if it covers at least half of the pixel.
    """
    rng = np.random.default_rng(key)
    sheet = sheet or Sheet()
    margin = OVERHANG if sheet.size is None and rng.random() < 0.5 else 0
    height, width = (side + 2 * margin for side in shape)
    size = float(rng.uniform(*SIZES)) if sheet.size is None else sheet.size
    dark = bool(rng.random() < 0.5) if sheet.dark is None else sheet.dark
    paper, ink = _colours(dark, rng)
    image = np.empty((height, width, 3), np.float32)
    image[:] = paper
    if rng.random() < 0.15:
        _rule(image, paper + (ink - paper) * rng.uniform(0.1, 0.4), size, rng)
    mask = np.zeros((height, width), np.uint8)
    taken = np.zeros((height, width), bool)
    weight, hardness = float(rng.uniform(-0.1, 0.25)), float(rng.choice((1, 1, 2, 4)))
    for top, left, side in [] if sheet.empty else _places(height, width, size, rng):
        chosen = int(rng.integers(len(source.digits)))
        cover = inked(source.digits[chosen], side)
        if hardness > 1:  # sharp, as drawn by a pen, not blurred, as in an enlarged scan
            cover = ((cover - 0.5 + weight) * hardness + 0.5).clip(0, 1).astype(np.float32)
        rows, columns = cover.shape
        here = np.s_[top : top + rows, left : left + columns]
        if taken[here].shape != cover.shape or (taken[here] & (cover > 0.1)).sum() > 4:
            continue
        image[here] += (ink - image[here]) * cover[..., None]
        mask[here][cover >= 0.5] = source.labels[chosen] + 1
        taken[here] |= cover > 0.1
    whole = np.s_[margin : margin + shape[0], margin : margin + shape[1]]
    return _photographed(image[whole], rng), np.ascontiguousarray(mask[whole])


def test_pages(source: Source, count: int) -> list[Pair]:
    """Pages of 224x160 pixels, with all of TEST_SIZES in turn, on light and on dark paper."""
    pages = []
    for number in range(count):
        sheet = Sheet(float(TEST_SIZES[number // 2 % len(TEST_SIZES)]), dark=number % 2 == 1)
        pages.append(page(source, (3, number), TEST_SHAPE, sheet))
    return pages


def _colours(dark: bool, rng: np.random.Generator) -> tuple[Values, Values]:
    """The colours of paper and ink: half of the time black and white, otherwise grey or tinted."""
    light, black = 255.0, 0.0
    tint = np.zeros(3)
    if rng.random() < 0.5:
        light = float(rng.uniform(130, 255))
        black = float(rng.uniform(0, min(120, light - CONTRAST)))
        tint = rng.uniform(-20, 20, 3) * (rng.random() < 0.5)
    paper, ink = (black, light) if dark else (light, black)
    colour = np.full(3, ink)
    if rng.random() < 0.25:  # a coloured pen with at least the same contrast
        colour = colour + (rng.uniform(0, 255, 3) - colour) * rng.uniform(0.2, 0.7)
        away = np.sign(ink - paper)
        if away * (colour.mean() - paper) < CONTRAST:
            colour += away * CONTRAST - (colour.mean() - paper)
    return np.float32(paper + tint).clip(0, 255), np.float32(colour).clip(0, 255)


def _rule(image: Values, colour: Values, size: float, rng: np.random.Generator) -> None:
    """Draw the lines of ruled or squared paper."""
    step = int(rng.integers(max(8, round(size / 2)), max(10, round(2 * size))))
    start = int(rng.integers(step))
    image[start::step] = colour
    if rng.random() < 0.5:
        image[:, start::step] = colour


def _places(height: int, width: int, size: float, rng: np.random.Generator) -> list[Place]:
    """The places of the digits: in lines, or scattered."""
    size = min(size, height - 2.0, width - 2.0)
    room = max(1, min(MAX_DIGITS, int(height * width / (1.7 * size**2))))
    places: list[Place] = []
    if rng.random() < 0.5:
        gap, line = size * rng.uniform(-0.15, 0.6), size * rng.uniform(1.1, 1.8)
        top = float(rng.uniform(1, max(1.5, min(size, height - size))))
        while top + size < height:
            left = float(rng.uniform(1, max(1.5, min(size, width - size))))
            while left + size * 0.6 < width:
                if rng.random() < 0.7:
                    lift = rng.uniform(-0.08, 0.08) * size
                    places.append((max(0, round(top + lift)), round(left), size * rng.uniform(0.9, 1.05)))
                left += size * 0.75 + gap
            top += line
        return places[:MAX_DIGITS]
    for _ in range(3 * int(rng.integers(1, room + 1))):
        side = min(size * rng.uniform(0.9, 1.1), height - 1.0, width - 1.0)
        top, left = (float(rng.uniform(0, length - side)) for length in (height, width))
        places.append((round(top), round(left), side))
    return places


def _photographed(image: Values, rng: np.random.Generator) -> Bytes:
    """The page as a camera or scanner shows it: sometimes unevenly lit, blurred or noisy."""
    height, width, _ = image.shape
    if rng.random() < 0.3:
        down, across = rng.uniform(-0.15, 0.15, 2)
        light = 1 + down * np.linspace(-1, 1, height)[:, None] + across * np.linspace(-1, 1, width)
        image = image * light[..., None].astype(np.float32)
    values = image.round().clip(0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        blurred = Image.fromarray(values).filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2))))
        values = np.asarray(blurred)
    if rng.random() < 0.5:
        channels = int(rng.choice((1, 3)))
        noise = rng.normal(0, rng.uniform(1, 14), (height, width, channels))
        values = (values + noise).round().clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(values)
