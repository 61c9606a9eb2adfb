"""The report of a model that reconstructs digits, and the picture of `unstride reconstruct`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ...._messages.wording import counted
from ....backends.keras.imported import keras
from ....data import Bytes, Grey, grey
from ....models._autoencoder import described, parsed, table
from ...report import charts
from ...report.page import Picture, draw, layers, losses, render
from ...runs import Run
from ..batches import predict
from ..datasets import Dataset
from .inference import code_row
from .metrics import Evaluation, cross_entropy, squared_error

EXAMPLES = 8
RANKED = 10


def write_report(
    run: Run, model: keras.Model, dataset: Dataset, evaluation: Evaluation, predictions: Grey, **values: Any
) -> None:
    """Write report.html and pictures/*.png. `predictions` are the reconstructions of `dataset.test`."""
    render(
        run,
        "report.html",
        model,
        **values,
        losses=losses(run, "binary cross-entropy", evaluation.floor),
        layers=layers(run, model, grey(dataset.gallery[:1])[..., None]),
        digit=int(dataset.gallery_labels[0]),
        code=code_size(model),
        **pages(run, model, dataset, evaluation, predictions),
    )


def code_size(model: keras.Model) -> tuple[int, int, int]:
    """Height, width and channels of an autoencoder's code."""
    rows = table(parsed(described(model)))
    code = rows[code_row(rows)]
    return code.side, code.side, code.layer.filters


def pages(run: Run, model: keras.Model, dataset: Dataset, evaluation: Evaluation, predictions: Grey) -> dict[str, Any]:
    """The values of templates/digits.html."""
    return {
        "evaluation": evaluation,
        "reconstructions": _reconstructions(run, model, dataset),
        "best": _ranked(run, dataset, predictions, "best"),
        "worst": _ranked(run, dataset, predictions, "worst"),
    }


def _reconstructions(run: Run, model: keras.Model, dataset: Dataset) -> Picture:
    """Examples of each class from all test images, so that --limit leaves no class without a row."""
    chosen = [dataset.examples(label, EXAMPLES) for label in dataset.classes]
    predictions = predict(model, dataset.gallery[np.concatenate(chosen)])
    parts = np.split(predictions, np.cumsum([len(part) for part in chosen])[:-1])
    groups = [
        (label, list(grey(dataset.gallery[places])), list(part))
        for label, places, part in zip(dataset.classes, chosen, parts, strict=True)
    ]
    alt = f"{counted(len(groups), 'class', 'classes')}, each a row of test images above a row of their reconstructions."
    return draw(run, "reconstructions", alt, lambda theme: charts.by_class(groups, theme))


def _ranked(run: Run, dataset: Dataset, predictions: Grey, which: str) -> Picture:
    images = grey(dataset.test)
    errors = squared_error(images, predictions)
    order = np.argsort(errors, kind="stable")
    places = (order if which == "best" else order[::-1])[:RANKED]
    captions = [f"class {dataset.test_labels[place]}\n{errors[place]:.5f}" for place in places]
    alt = (
        f"{counted(len(places), 'test image')} with the {'smallest' if which == 'best' else 'largest'} errors, from "
        f"{errors[places[0]]:.5f} to {errors[places[-1]]:.5f}, each above its reconstruction."
    )
    return draw(
        run,
        which,
        alt,
        lambda theme: charts.pairs(list(images[places]), list(predictions[places]), captions, theme),
    )


def reconstruction(images: Bytes, predictions: Grey, names: Sequence[str]) -> Figure:
    """Images above their reconstructions, with names and errors below."""
    errors = squared_error(grey(images), predictions)
    captions = [f"{_short(name)}\n{error:.5f}" for name, error in zip(names, errors, strict=True)]
    return charts.pairs(list(grey(images)), list(predictions), captions, charts.LIGHT)


def image_metrics(images: Bytes, predictions: Grey) -> list[dict[str, Any]]:
    """The cross-entropy and squared error of each image."""
    values = grey(images)
    return [
        {"loss": float(loss), "error": float(error)}
        for loss, error in zip(cross_entropy(values, predictions), squared_error(values, predictions), strict=True)
    ]


def _short(name: str, length: int = 9) -> str:
    name = charts.drawable(name)
    return name if len(name) <= length else f"{name[: length - 1]}…"
