"""The segmenter's data: scenes with masks, or pieces of the user's own images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ....data import Pair, pages, scenes
from ..datasets import Described
from .inference import VOID

PHOTOGRAPHS, PAGES, EMPTY = "over photographs", "on plain pages", "without a digit"
SIDE = scenes.SIDE
KINDS = 9
"""The end of the key that chooses the kind of a scene, independently of its content."""


@dataclass(frozen=True)
class Scenes(Described):
    """The data of a run. `training` are the numbers of an epoch's examples; the others are images with masks."""

    name: str
    training: range
    validation: list[Pair]
    test: list[Pair]
    names: tuple[str, ...]
    source: scenes.Source | list[Pair]
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    """The number of test images of each kind, in their order; empty if there is only one kind."""

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256(repr((self.training, self.names, *self.kinds)).encode())
        parts: list[Any] = list(self.validation)
        if isinstance(self.source, scenes.Source):
            parts.append((self.source.digits, *self.source.photographs))
        else:
            parts += self.source
        for arrays in parts:
            for array in arrays:
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def details(self) -> dict[str, Any]:
        return {"classes": list(self.names)}

    def example(self, key: tuple[int, ...], number: int) -> Pair:
        """A training example, (96, 96, 3) and (96, 96): a new scene, or a piece of an image."""
        if isinstance(self.source, scenes.Source):
            return mixed(self.source, (*key, number))
        rng = np.random.default_rng((*key, number))
        return piece(self.source[number % len(self.source)], rng)


def mixed(source: scenes.Source, key: tuple[int, ...]) -> Pair:
    """A scene over a photograph or on a plain page; a few have no digit."""
    kind = np.random.default_rng((*key, KINDS)).random()
    if kind < 0.6:
        return scenes.scene(source, key)
    if kind < 0.66:
        return scenes.scene(source, key, digits=(0, 0))
    return pages.page(source, key, sheet=pages.Sheet(empty=kind > 0.97))


def tested_on(source: scenes.Source, textures: int, plain: int, empty: int) -> dict[str, list[Pair]]:
    """The test images: digits over photographs, digits on plain pages, and both without digits."""
    blank = pages.Sheet(empty=True)
    return {
        PHOTOGRAPHS: [scenes.scene(source, (2, number)) for number in range(textures)],
        PAGES: pages.test_pages(source, plain),
        EMPTY: [
            pages.page(source, (5, number), pages.TEST_SHAPE, blank)
            if number % 2
            else scenes.scene(source, (4, number), digits=(0, 0))
            for number in range(empty)
        ],
    }


def piece(pair: Pair, rng: np.random.Generator) -> Pair:
    """A random square of an image and its mask, mirrored or not, lighter or darker. Beyond the edges is VOID."""
    image, mask = pair
    height, width = mask.shape
    top, left = (int(rng.integers(max(1, size - SIDE + 1))) for size in (height, width))
    square = np.zeros((SIDE, SIDE, 3), np.float32)
    classes = np.full((SIDE, SIDE), VOID, np.uint8)
    cut = np.s_[top : top + SIDE, left : left + SIDE]
    rows, columns = mask[cut].shape
    square[:rows, :columns] = image[cut] * rng.uniform(0.8, 1.2) + rng.uniform(-20, 20)
    classes[:rows, :columns] = mask[cut]
    if rng.integers(2):
        square, classes = square[:, ::-1], classes[:, ::-1]
    return square.clip(0, 255).astype(np.uint8), np.ascontiguousarray(classes)


def arrays(pairs: list[Pair]) -> tuple[Any, Any]:
    """The images, from 0 to 1, and the masks as two arrays."""
    images, classes = (np.stack(part) for part in zip(*pairs, strict=True))
    return images / np.float32(255), classes
