"""Scenes to segment: coloured MNIST digits over photographs, with the class of every pixel.

Each scene is a function of the seed and its number, so any number of them can be made and none is stored. The test's
digits and photographs are not used for training. For digits on plain paper see `pages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from . import Bytes, Doubles, Pair, Values, mnist, mnist_test, photographs

SIDE = 96
HELD_OUT = 6000
"""Training digits that are used for validation."""
CLASSES = ("background", *map(str, range(10)))
DIGITS = (3, 6)
SIZES = (28, 46)
CONTRAST = 110
"""The least distance of a digit's colour from the mean colour under it, in RGB from 0 to 255."""


@dataclass(frozen=True)
class Source:
    """The material of scenes: digits (n, 28, 28) with their labels, and photographs."""

    digits: Bytes
    labels: Bytes
    photographs: Sequence[Bytes]


def source(part: str) -> Source:
    """The material for "training", "validation" or "test"."""
    names = {
        "training": photographs.TRAINING,
        "validation": photographs.VALIDATION,
        "test": photographs.TEST,
    }[part]
    if part == "test":
        digits, labels = mnist_test()
    else:
        (digits, labels), _ = mnist()
        part_of_digits = slice(None, -HELD_OUT) if part == "training" else slice(-HELD_OUT, None)
        digits, labels = digits[part_of_digits], labels[part_of_digits]
    return Source(digits, labels, [np.asarray(photographs.read(*name).convert("RGB")) for name in names])


def scene(source: Source, key: Sequence[int], digits: tuple[int, int] = DIGITS) -> Pair:
    """The scene for a key, such as (seed, number). `digits` are the least and the most digits.

    Returns
    -------
    image, mask : arrays of uint8, (96, 96, 3) and (96, 96)
        In the mask 0 is the background and d + 1 the digit d, if it covers at least half of the pixel.
    """
    rng = np.random.default_rng(key)
    image = _texture(source.photographs[int(rng.integers(len(source.photographs)))], rng)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    taken = np.zeros((SIDE, SIDE), bool)
    for _ in range(rng.integers(digits[0], digits[1] + 1)):
        chosen = int(rng.integers(len(source.digits)))
        ink = inked(source.digits[chosen], int(rng.integers(SIZES[0], SIZES[1] + 1)))
        height, width = ink.shape
        for _ in range(20):  # find a place where it covers little of other digits, or leave it out
            top, left = rng.integers(SIDE - height + 1), rng.integers(SIDE - width + 1)
            here = np.s_[top : top + height, left : left + width]
            if (taken[here] & (ink > 0.1)).sum() <= 4:
                break
        else:
            continue
        cover = ink[..., None]
        under = (image[here] * cover).sum((0, 1)) / cover.sum()
        image[here] += (_colour(under, rng) - image[here]) * cover
        mask[here][ink >= 0.5] = source.labels[chosen] + 1
        taken[here] |= ink > 0.1
    return np.round(image).clip(0, 255).astype(np.uint8), mask


def _texture(photograph: Bytes, rng: np.random.Generator) -> Values:
    """A piece of a photograph, turned, scaled, and made lighter or darker."""
    side = int(rng.integers(SIDE * 2 // 3, min(2 * SIDE, *photograph.shape[:2]) + 1))
    top, left = (int(rng.integers(size - side + 1)) for size in photograph.shape[:2])
    piece = Image.fromarray(photograph[top : top + side, left : left + side])
    values = np.asarray(piece.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
    values = np.rot90(values, int(rng.integers(4)))
    if rng.integers(2):
        values = values[:, ::-1]
    return np.ascontiguousarray(values * rng.uniform(0.7, 1.1) + rng.uniform(-20, 20)).clip(0, 255)


def inked(digit: Bytes, side: float) -> Values:
    """The digit cropped to its ink and scaled to a longer side of `side`, as the share that it covers of each pixel."""
    rows, columns = np.flatnonzero(digit.any(1)), np.flatnonzero(digit.any(0))
    cut = Image.fromarray(digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = side / max(cut.size)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    return np.asarray(cut.resize(size, Image.Resampling.BILINEAR), np.float32) / np.float32(255)


def _colour(under: Values, rng: np.random.Generator) -> Doubles:
    """A random colour that stands out from the one under it."""
    while True:
        colour = rng.uniform(0, 255, 3)
        if np.linalg.norm(colour - under) >= CONTRAST:
            return colour
