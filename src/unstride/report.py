"""A run's report: one self-contained page, and its pictures as files beside it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import keras
import numpy as np
from matplotlib.figure import Figure

from . import pictures
from .dataset import Bytes, Dataset, Grey, grey
from .evaluation import Evaluation, cross_entropy, squared_error
from .runs import Run, duration, flag, write_bytes, write_text
from .training import predict

EXAMPLES = 8
RANKED = 10


@dataclass(frozen=True)
class Picture:
    """A picture in the page, drawn for light and for dark pages; `file` has the light one."""

    file: str
    alt: str
    light: str
    dark: str
    width: int
    height: int


@dataclass(frozen=True)
class Layer:
    name: str
    kind: str
    shape: str
    parameters: int
    maps: Picture | None


def write_report(run: Run, model: keras.Model, dataset: Dataset, evaluation: Evaluation, predictions: Grey) -> None:
    """Write report.html and pictures/*.png. `predictions` are those of `dataset.test`."""
    folder = run.path / "pictures"
    folder.mkdir(exist_ok=True)
    rows = run.rows()
    values = {
        "run": run,
        "evaluation": evaluation,
        "epochs": len(rows),
        "seconds": sum(row["seconds"] for row in rows),
        "losses": _losses(run, evaluation),
        "reconstructions": _reconstructions(run, model, dataset),
        "best": _ranked(run, dataset, predictions, "best"),
        "worst": _ranked(run, dataset, predictions, "worst"),
        "digit": int(dataset.gallery_labels[0]),
        "layers": _layers(run, model, dataset.gallery[:1]),
        "parameters": model.count_params(),
        "options": {flag(name): value for name, value in vars(run.options).items() if value is not None},
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    write_text(run.report, environment.get_template("report.html").render(values))


def _picture(run: Run, name: str, alt: str, draw: Callable[[pictures.Theme], Figure]) -> Picture:
    """Draw it twice and write the light one to pictures/."""
    figure = draw(pictures.LIGHT)
    light, dark = pictures.png(figure), pictures.png(draw(pictures.DARK))
    file = f"pictures/{name}.png"
    write_bytes(run.path / file, light)
    width, height = (round(size * pictures.DPI) for size in figure.get_size_inches())
    return Picture(file, alt, base64.b64encode(light).decode(), base64.b64encode(dark).decode(), width, height)


def _losses(run: Run, evaluation: Evaluation) -> Picture:
    rows = run.rows()
    first, last = rows[0], rows[-1]
    alt = (
        f"Loss by epoch. Training: from {first['loss']:.4f} to {last['loss']:.4f}. "
        f"Validation: from {first['val_loss']:.4f} to {last['val_loss']:.4f}. Floor: {evaluation.floor:.4f}."
    )
    return _picture(run, "losses", alt, lambda theme: pictures.losses(rows, evaluation.floor, theme))


def _reconstructions(run: Run, model: keras.Model, dataset: Dataset) -> Picture:
    """From all test images, so that every class has its row, however small the run's limit is."""
    chosen = [dataset.examples(label, EXAMPLES) for label in dataset.classes]
    predictions = predict(model, dataset.gallery[np.concatenate(chosen)])
    parts = np.split(predictions, np.cumsum([len(part) for part in chosen])[:-1])
    groups = [
        (label, list(grey(dataset.gallery[places])), list(part))
        for label, places, part in zip(dataset.classes, chosen, parts, strict=True)
    ]
    alt = f"For each of the {len(groups)} classes a row of test images above a row of their reconstructions."
    return _picture(run, "reconstructions", alt, lambda theme: pictures.by_class(groups, theme))


def _ranked(run: Run, dataset: Dataset, predictions: Grey, which: str) -> Picture:
    images = grey(dataset.test)
    errors = squared_error(images, predictions)
    order = np.argsort(errors, kind="stable")
    places = (order if which == "best" else order[::-1])[:RANKED]
    captions = [f"class {dataset.test_labels[place]}\n{errors[place]:.5f}" for place in places]
    alt = (
        f"The {len(places)} test images with the {'smallest' if which == 'best' else 'largest'} errors, from "
        f"{errors[places[0]]:.5f} to {errors[places[-1]]:.5f}, each above its reconstruction."
    )
    return _picture(
        run,
        which,
        alt,
        lambda theme: pictures.pairs(list(images[places]), list(predictions[places]), captions, theme),
    )


def _layers(run: Run, model: keras.Model, image: Bytes) -> list[Layer]:
    """Every layer, with its maps of `image` if they are pictures."""
    inspector = keras.Model(model.inputs, [layer.output for layer in model.layers])
    outputs = inspector.predict(grey(image)[..., None], verbose=0)
    layers = []
    for number, (layer, output) in enumerate(zip(model.layers, outputs, strict=True), start=1):
        maps = np.asarray(output, np.float32)[0]
        layers.append(
            Layer(
                layer.name,
                type(layer).__name__,
                "×".join(map(str, maps.shape)),
                layer.count_params(),
                _maps(run, f"layer-{number}-{layer.name}", layer.name, maps) if maps.ndim == 3 else None,
            )
        )
    return layers


def _maps(run: Run, name: str, layer: str, maps: Grey) -> Picture:
    height, width, channels = maps.shape
    silent = int((maps.max(axis=(0, 1)) <= 0).sum())
    alt = f"{layer}'s {channels} feature maps of {height} by {width}; {silent} of them are 0 everywhere."
    return _picture(run, name, alt, lambda theme: pictures.feature_maps(maps, theme))


def reconstruction(images: Bytes, predictions: Grey, names: Sequence[str]) -> Figure:
    """`unstride reconstruct`'s picture: images above their reconstructions, names and errors below."""
    errors = squared_error(grey(images), predictions)
    captions = [f"{_short(name)}\n{error:.5f}" for name, error in zip(names, errors, strict=True)]
    return pictures.pairs(list(grey(images)), list(predictions), captions, pictures.LIGHT)


def figures(images: Bytes, predictions: Grey) -> list[dict[str, Any]]:
    """Cross-entropy and squared error of each image."""
    values = grey(images)
    return [
        {"loss": float(loss), "error": float(error)}
        for loss, error in zip(cross_entropy(values, predictions), squared_error(values, predictions), strict=True)
    ]


def _short(name: str, length: int = 9) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"
