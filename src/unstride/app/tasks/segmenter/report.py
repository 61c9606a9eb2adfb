"""The segmenter's report: scenes with their class maps, metrics for each class, and the confusion matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from ....backends.keras.imported import keras
from ....data import Bytes, Pair
from ...contact_sheet import side_by_side
from ...report.charts import DPI, Theme, drawable
from ...report.page import Picture, draw, keep, layers, losses, render
from ...runs import Run
from ..base import Metrics
from . import inference
from .data import Scenes

SHOWN = 6


def write_report(run: Run, model: keras.Model, data: Scenes, metrics: Metrics, **values: Any) -> None:
    predicted, total = metrics.details
    shown = _shown(data)
    render(
        run,
        "segmenter.html",
        model,
        noun="scenes",
        losses=losses(run, "cross-entropy"),
        layers=layers(run, model, None),
        metrics=metrics,
        **values,
        scenes=keep(
            run,
            "scenes",
            "Test images, each with its true classes, the classes found, and the pixels where these differ.",
            rows([data.test[at] for at in shown], [predicted[at] for at in shown]),
        ),
        confusion=_confusion(run, total, data.names),
    )


def _shown(data: Scenes) -> list[int]:
    """The first test images of each kind, in equal numbers."""
    kinds = data.kinds or {"": len(data.test)}
    firsts = np.cumsum([0, *kinds.values()])
    each = -(-SHOWN // len(kinds))
    places = zip(firsts, kinds.values(), strict=False)
    return [int(first) + at for first, count in places for at in range(min(each, count))]


def rows(pairs: list[Pair], predicted: list[Bytes]) -> Image.Image:
    """A row for each image: the image, its true classes, those predicted, and the wrong pixels in red."""
    tiles = [
        (
            image,
            inference.coloured(mask),
            inference.coloured(class_map),
            inference.wrong_pixels(image, mask, class_map),
        )
        for (image, mask), class_map in zip(pairs, predicted, strict=True)
    ]
    return side_by_side(("image", "true classes", "classes found", "wrong pixels"), tiles)


def _confusion(run: Run, total: npt.NDArray[np.int64], names: tuple[str, ...]) -> Picture:
    alt = (
        "For each true class (row), the shares of its pixels that were assigned to each class (column); "
        f"on the diagonal from {min(_diagonal(total)):.0%} to {max(_diagonal(total)):.0%}."
    )
    return draw(run, "confusion", alt, lambda theme: confusion_figure(total, names, theme))


def _diagonal(total: npt.NDArray[np.int64]) -> list[float]:
    sums = total.sum(1)
    return [float(total[at, at] / sums[at]) for at in range(len(total)) if sums[at]] or [0.0]


def confusion_figure(total: npt.NDArray[np.int64], names: tuple[str, ...], theme: Theme) -> Figure:
    """The confusion matrix as shares of each row, dark for 0."""
    shares = total / np.maximum(total.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(8, 7), dpi=DPI, facecolor=theme.paper, layout="constrained")
    axes = figure.add_subplot(facecolor=theme.paper)
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    labels = [*map(drawable, names), *("",) * (len(total) - len(names))]
    axes.set_xticks(range(len(total)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(total)), labels)
    if len(total) <= 15:
        for y, x in np.ndindex(*total.shape):
            if shares[y, x] >= 0.005:
                colour = "black" if shares[y, x] > 0.5 else "white"
                axes.text(x, y, f"{100 * shares[y, x]:.0f}", ha="center", va="center", color=colour, fontsize=13)
    axes.set_xlabel("found", color=theme.ink, fontsize=16)
    axes.set_ylabel("true", color=theme.ink, fontsize=16)
    axes.tick_params(colors=theme.ink, labelsize=14)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure
