"""The segmenter on scenes of coloured digits, or on a folder of images and masks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import deployed, imagefiles, segmenting
from ..data import masks, pages, scenes
from ..dataset import Described
from ..runs import Options, Run
from .base import Figures, Task, check_batch, falling

if TYPE_CHECKING:
    import keras

Bytes = npt.NDArray[np.uint8]
Pair = tuple[Bytes, Bytes]

EPOCH, VALIDATION, TEST = 3200, 160, 500
"""Scenes."""
SIDE = scenes.SIDE
SHIPPED = "shipped"
"""The name under which --start finds the weights in the package."""
CALIBRATION, CALIBRATED = 2**32, 128
"""In place of an epoch, the key of the examples that show what normalizations see at the start; how many."""
KINDS = 9
"""Ends the key by which the kind of a scene is chosen, so that it is independent of what is in it."""


@dataclass(frozen=True)
class Scenes(Described):
    """What a run sees: `training` is the numbers of an epoch's examples; the others are image and mask."""

    name: str
    training: range
    validation: list[Pair]
    test: list[Pair]
    names: tuple[str, ...]
    source: scenes.Source | list[Pair]
    problems: list[str] = field(default_factory=list)

    @cached_property
    def sha256(self) -> str:
        digest = hashlib.sha256(repr((self.training, self.names)).encode())
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
        """One to learn from, (96, 96, 3) and (96, 96): a new scene, or a piece of an image."""
        if isinstance(self.source, scenes.Source):
            return mixed(self.source, (*key, number))
        rng = np.random.default_rng((*key, number))
        return piece(self.source[number % len(self.source)], rng)


def mixed(source: scenes.Source, key: tuple[int, ...]) -> Pair:
    """A scene over a photograph or a plain page, a few of both without a digit."""
    kind = np.random.default_rng((*key, KINDS)).random()
    if kind < 0.5:
        return scenes.scene(source, key)
    if kind < 0.55:
        return scenes.scene(source, key, digits=(0, 0))
    return pages.page(source, key, sheet=pages.Sheet(empty=kind > 0.96))


def piece(pair: Pair, rng: np.random.Generator) -> Pair:
    """A random square of an image and its mask, mirrored or not, lighter or darker; beyond their edges is no class."""
    image, mask = pair
    height, width = mask.shape
    top, left = (int(rng.integers(max(1, size - SIDE + 1))) for size in (height, width))
    square = np.zeros((SIDE, SIDE, 3), np.float32)
    classes = np.full((SIDE, SIDE), segmenting.VOID, np.uint8)
    cut = np.s_[top : top + SIDE, left : left + SIDE]
    rows, columns = mask[cut].shape
    square[:rows, :columns] = image[cut] * rng.uniform(0.8, 1.2) + rng.uniform(-20, 20)
    classes[:rows, :columns] = mask[cut]
    if rng.integers(2):
        square, classes = square[:, ::-1], classes[:, ::-1]
    return square.clip(0, 255).astype(np.uint8), np.ascontiguousarray(classes)


class Segmenter(Task):
    name = "segmenter"
    noun = "scenes"
    data_help = "images/ and masks/ in it, as VOC's (default: scenes of coloured digits over photographs)"
    defaults = {"epochs": 20, "batch_size": 16, "learning_rate": 0.002, "start": None}  # noqa: RUF012

    def read(self, options: Options) -> Scenes:
        if options.data is not None:
            return self._folder(options, options.data)
        count, held, tested = (min(n, options.limit or n) for n in (EPOCH, VALIDATION, TEST))
        check_batch(options, count, self.noun)
        unseen = [scenes.source(part) for part in ("validation", "test")]
        validation, test = (
            [scenes.scene(source, (part, number)) for number in range(n)]
            for part, (source, n) in enumerate(zip(unseen, (held, tested), strict=True), start=1)
        )
        return Scenes(
            "scenes of MNIST's digits over photographs",
            range(count),
            validation,
            test,
            scenes.CLASSES,
            scenes.source("training"),
        )

    def _folder(self, options: Options, folder: str) -> Scenes:
        found = masks.read(folder)
        imagefiles.enough(folder, len(found.pairs), found.problems)
        training, validation, test = (
            found.pairs[part] for part in imagefiles.divided(len(found.pairs), options.validation_split)
        )
        rng = np.random.default_rng(0)
        count = options.limit or max(options.batch_size, len(training) * 8)
        check_batch(options, count, "pieces of images")
        return Scenes(
            folder,
            range(count),
            [piece(pair, rng) for pair in validation for _ in range(4)],
            test,
            found.names,
            training,
            found.problems,
        )

    def build(self, options: Options, data: Scenes) -> keras.Model:  # noqa: ARG002
        from ..models import segmenter

        return segmenter(max(2, len(data.names)))

    def begin(self, options: Options, data: Scenes, model: keras.Model) -> None:
        if options.start is None:
            return
        from .. import warm_start

        chosen = None if options.start == SHIPPED else options.start
        weights = deployed.find(self.name, self.name, chosen)
        key = (0, options.seed, CALIBRATION)
        images, _ = arrays([data.example(key, number) for number in range(CALIBRATED)])
        warm_start.assign(model, weights.weights, images, last="logits")

    def loss(self) -> Any:
        import keras

        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=segmenting.VOID)

    def rate(self, options: Options, epoch: int) -> float:
        return falling(options, epoch)

    def batches(self, options: Options, data: Scenes) -> Any:
        from ..training import Shuffled

        class Examples(Shuffled):
            def batch(self, chosen: npt.NDArray[np.intp]) -> tuple[Any, Any]:
                key = (0, self.seed, self.epoch)
                return arrays([data.example(key, int(number)) for number in chosen])

        return Examples(len(data.training), options.batch_size, options.seed)

    def check(self, options: Options, data: Scenes) -> tuple[Any, Any]:  # noqa: ARG002
        return arrays(data.validation)

    def judge(self, model: keras.Model, data: Scenes) -> Figures:
        weights = self.weights(model, data)
        found = [segmenting.classes(weights, image) for image, _ in data.test]
        count = max(2, len(data.names))
        total = sum(
            (segmenting.confusion(mask, at, count) for (_, mask), at in zip(data.test, found, strict=True)),
            np.zeros((count, count), np.int64),
        )
        values = segmenting.ious(total)
        mean = float(np.nanmean(values))
        right = float(np.diag(total).sum() / max(1, total.sum()))
        rows = [(name, value) for name, value in zip(data.names, values, strict=False)]
        return Figures(
            lines=(
                ("Mean IoU", f"{mean:.4f}  intersection over union, the mean of the classes, {len(found)} images"),
                ("Pixels", f"{right:.4f}  of them right"),
            ),
            columns=("class", "IoU", "pixels"),
            rows=tuple(
                (name, "–" if np.isnan(value) else f"{value:.4f}", f"{int(pixels):,}")
                for (name, value), pixels in zip(rows, total.sum(1), strict=False)
            ),
            json={
                "images": len(found),
                "mean_iou": mean,
                "pixels_right": right,
                "iou": {name: None if np.isnan(value) else float(value) for name, value in rows},
            },
            found=(found, total),
        )

    def about(self, model: keras.Model, data: Scenes) -> dict[str, Any]:
        levels = sum(layer.name.startswith("halve_") for layer in model.layers) + 1
        return {"model": self.name, "classes": list(data.names), "levels": levels}

    def report(self, run: Run, model: keras.Model, data: Scenes, figures: Figures) -> None:
        from .. import segment_report

        segment_report.write_report(run, model, data, figures)


def arrays(pairs: list[Pair]) -> tuple[Any, Any]:
    """Images from 0 to 1, and masks."""
    images, classes = (np.stack(part) for part in zip(*pairs, strict=True))
    return images / np.float32(255), classes


TASK = Segmenter()
