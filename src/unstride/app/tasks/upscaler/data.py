"""The upscaler's data: photographs, large and small."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from PIL import Image

from ....data import Bytes, Doubles, Pair, Values, photographs
from ....models._upscaler import MARGIN
from ..datasets import Described

PATCH = 48
"""The side of the target of a piece, in small pixels. The input has `MARGIN` more on every side."""
SIZES = (1.0, 0.75, 0.5)
"""Training uses each photograph at these sizes. Reduced, it is sharper and less noisy."""


@dataclass(frozen=True)
class Photographs(Described):
    """The data of a run.

    Attributes
    ----------
    training : range
        The numbers of an epoch's pieces, each cut from a random plane.
    planes : list of pairs
        Large and small images with one channel.
    validation, test : lists of (name, large, small)
    """

    name: str
    training: range
    planes: list[Pair]
    validation: list[tuple[str, Bytes, Bytes]]
    test: list[tuple[str, Bytes, Bytes]]
    scale: int
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256(repr((self.training, self.scale)).encode())
        for large, small in [*self.planes, *(pair[1:] for pair in self.validation)]:
            digest.update(np.ascontiguousarray(large).tobytes())
            digest.update(np.ascontiguousarray(small).tobytes())
        return digest.hexdigest()

    @cached_property
    def shares(self) -> Doubles:
        """The probability of each plane, in proportion to its size."""
        sizes = np.array([large.size for large, _ in self.planes], np.float64)
        return np.asarray(sizes / sizes.sum())

    def piece(self, key: tuple[int, ...], number: int) -> Pair:
        """A training example, large and small, mirrored and turned at random."""
        rng = np.random.default_rng((*key, number))
        large, small = self.planes[rng.choice(len(self.planes), p=self.shares)]
        side = PATCH + 2 * MARGIN
        top, left = (int(rng.integers(size - side + 1)) for size in small.shape)
        seen = small[top : top + side, left : left + side]
        first, last = MARGIN * self.scale, (side - MARGIN) * self.scale
        taught = large[top * self.scale :, left * self.scale :][first:last, first:last]
        turns = int(rng.integers(4))
        seen, taught = np.rot90(seen, turns), np.rot90(taught, turns)
        return (taught.T, seen.T) if rng.integers(2) else (taught, seen)


def least(scale: int) -> int:
    return (PATCH + 2 * MARGIN) * scale


def planes_of(image: Image.Image, scale: int) -> list[Pair]:
    """The luminance and colour channels at several sizes, each with its reduced version."""
    planes = []
    for size in SIZES:
        smaller = image
        if size < 1:
            wanted = (round(image.width * size), round(image.height * size))
            smaller = image.resize(wanted, Image.Resampling.BICUBIC)
        if min(smaller.size) < least(scale):
            continue
        channels = [smaller] if smaller.mode == "L" else [smaller.convert("L"), *smaller.split()]
        planes += [_pair(channel, scale) for channel in channels]
    return planes


def luminance(image: Image.Image, scale: int) -> Pair:
    return _pair(image.convert("L"), scale)


def _pair(channel: Image.Image, scale: int) -> Pair:
    large, small = photographs.small(channel, scale)
    return np.asarray(large), np.asarray(small)


def arrays(pairs: list[Pair]) -> tuple[Values, Values]:
    """The small and the large images, from 0 to 1, with a channel axis."""
    large, small = (np.divide(np.stack(part), 255, dtype=np.float32) for part in zip(*pairs, strict=True))
    return small[..., None], large[..., None]
