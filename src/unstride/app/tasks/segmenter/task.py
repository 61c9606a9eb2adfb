"""Trains the segmenter on scenes of digits, or on a folder of images with masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ....data import scenes
from ... import weights
from ...images import folders
from ...runs import Run
from ...runs.options import Options
from ..base import Metrics, Task, check_batch, cosine_decay
from . import inference, masks
from .data import EMPTY, Scenes, arrays, mixed, piece, tested_on

if TYPE_CHECKING:
    import keras


EPOCH, VALIDATION, TEST = 3200, 160, 500
"""The number of scenes for each part."""
TEST_PAGES, TEST_EMPTY = 240, 100
"""Further test images: plain pages, and pictures of either kind without digits."""
CALIBRATION, CALIBRATED = 2**32, 128
"""The key, in place of an epoch, and the number of the examples that calibrate normalizations at the start."""


class SegmenterTask(Task):
    name = "segmenter"
    noun = "scenes"
    data_help = "the folders images and masks, or VOC's (default: digits over photographs and on plain pages)"
    defaults = {"epochs": 20, "batch_size": 16, "learning_rate": 0.002, "start": None}  # noqa: RUF012
    quick = {"epochs": 2, "limit": 320}  # noqa: RUF012
    use = """\
images = np.zeros((1, 96, 128, 3), "float32")  # yours: colours, from 0 to 1
print(model.predict(images).argmax(-1).shape)  # the number of each pixel's class"""

    def read(self, options: Options) -> Scenes:
        if options.data is not None:
            return self._folder(options, options.data)
        count, held, tested = (min(n, options.limit or n) for n in (EPOCH, VALIDATION, TEST))
        check_batch(options, count, self.noun)
        validating = scenes.source("validation")
        test = tested_on(scenes.source("test"), *(min(n, tested) for n in (TEST, TEST_PAGES, TEST_EMPTY)))
        return Scenes(
            "MNIST's digits over photographs and on plain pages",
            range(count),
            [mixed(validating, (1, number)) for number in range(held)],
            [pair for pairs in test.values() for pair in pairs],
            scenes.CLASSES,
            scenes.source("training"),
            kinds={kind: len(pairs) for kind, pairs in test.items()},
        )

    def _folder(self, options: Options, folder: str) -> Scenes:
        labelled = masks.read(folder)
        folders.enough(folder, len(labelled.pairs), labelled.problems)
        training, validation, test = (
            labelled.pairs[part] for part in folders.divided(len(labelled.pairs), options.validation_split)
        )
        rng = np.random.default_rng(0)
        count = options.limit or max(options.batch_size, len(training) * 8)
        check_batch(options, count, "pieces of images")
        return Scenes(
            folder,
            range(count),
            [piece(pair, rng) for pair in validation for _ in range(4)],
            test,
            labelled.names,
            training,
            labelled.problems,
            labelled.remarks,
        )

    def build(self, options: Options, data: Scenes) -> keras.Model:  # noqa: ARG002
        from ....models import segmenter

        return segmenter(max(2, len(data.names)))

    def begin(self, options: Options, data: Scenes, model: keras.Model) -> None:
        if options.start is None:
            return
        from . import warm_start

        chosen = None if options.start == weights.SHIPS else options.start
        start = weights.find(self.name, self.name, chosen)
        key = (0, options.seed, CALIBRATION)
        images, _ = arrays([data.example(key, number) for number in range(CALIBRATED)])
        warm_start.assign(model, start.weights, images, last="logits")

    def loss(self) -> Any:
        from ....backends.keras.imported import keras

        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=inference.VOID)

    def rate(self, options: Options, epoch: int) -> float:
        return cosine_decay(options, epoch)

    def batches(self, options: Options, data: Scenes) -> Any:
        from ..batches import Shuffled

        class Examples(Shuffled):
            def batch(self, chosen: npt.NDArray[np.intp]) -> tuple[Any, Any]:
                key = (0, self.seed, self.epoch)
                return arrays([data.example(key, int(number)) for number in chosen])

        return Examples(len(data.training), options.batch_size, options.seed)

    def validation_data(self, options: Options, data: Scenes) -> tuple[Any, Any]:  # noqa: ARG002
        return arrays(data.validation)

    def evaluate(self, model: keras.Model, data: Scenes) -> Metrics:
        weights = self.export(model, data)
        predicted = [inference.classes(weights, image) for image, _ in data.test]
        count = max(2, len(data.names))
        each = [inference.confusion(mask, at, count) for (_, mask), at in zip(data.test, predicted, strict=True)]
        total = np.sum(each, axis=0)
        values = inference.ious(total)
        mean = float(np.nanmean(values))
        lines, json = _by_kind(data.kinds, each)
        right = float(np.diag(total).sum() / max(1, total.sum()))
        rows = [(name, value) for name, value in zip(data.names, values, strict=False)]
        return Metrics(
            lines=(
                ("Mean IoU", f"{mean:.4f}  intersection over union, the mean of the classes, {len(predicted)} images"),
                *lines,
                ("Pixels", f"{right:.4f}  of them right"),
            ),
            columns=("class", "IoU", "pixels"),
            rows=tuple(
                (name, "–" if np.isnan(value) else f"{value:.4f}", f"{int(pixels):,}")
                for (name, value), pixels in zip(rows, total.sum(1), strict=False)
            ),
            json={
                "images": len(predicted),
                "mean_iou": mean,
                "pixels_right": right,
                "iou": {name: None if np.isnan(value) else float(value) for name, value in rows},
                **json,
            },
            details=(predicted, total),
        )

    def about(self, model: keras.Model, data: Scenes) -> dict[str, Any]:
        levels = sum(layer.name.startswith("halve_") for layer in model.layers) + 1
        return {"model": self.name, "classes": list(data.names), "levels": levels}

    def report(self, run: Run, model: keras.Model, data: Scenes, metrics: Metrics) -> None:
        from . import report

        report.write_report(run, model, data, metrics, **self.page_values(run))


def _by_kind(
    kinds: dict[str, int], each: list[npt.NDArray[np.int64]]
) -> tuple[list[tuple[str, str]], dict[str, float]]:
    """The mean IoU of each kind of scene, and the wrong pixels where no digit is: as lines, and for evaluation.json."""
    lines, json = [], {}
    first = 0
    for kind, count in kinds.items():
        total = np.sum(each[first : first + count], axis=0)
        first += count
        name = kind.replace(" ", "_")
        if kind == EMPTY:
            wrong = 1 - float(total[0, 0] / total.sum())
            lines.append(("Wrong", f"{wrong:.4f}  of the pixels {kind} are taken for one, {count} images"))
            json[f"wrong_{name}"] = wrong
        else:
            mean = float(np.nanmean(inference.ious(total)))
            lines.append(("", f"{mean:.4f}  {kind}, {count} images"))
            json[f"mean_iou_{name}"] = mean
    return lines, json


TASK = SegmenterTask()
