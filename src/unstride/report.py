"""What the reports of all models share: one self-contained page, and its pictures as files beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from . import pictures, tasks
from ._keras import keras
from .keras_program import loading
from .runs import Run, duration, flag, write_bytes, write_text

Values = npt.NDArray[np.float32]


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


def render(run: Run, template: str, model: keras.Model, **values: Any) -> None:
    """Write report.html from a template, which also knows what every model's page shows."""
    rows = run.rows()
    task = tasks.get(run.options.model)
    values = {
        "run": run,
        "epochs": len(rows),
        "seconds": sum(row["seconds"] for row in rows),
        "parameters": model.count_params(),
        "options": {
            flag(name): value for name, value in vars(run.options).items() if value is not None and value is not False
        },
        "loading": loading(task, run.options, run.model.resolve()),
        "program": task.program(run),
        "noun": "images",
        **values,
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = duration
    write_text(run.report, environment.get_template(template).render(values))


def draw(run: Run, name: str, alt: str, figure: Callable[[pictures.Theme], Figure]) -> Picture:
    """Draw it twice and write the light one to pictures/."""
    first = figure(pictures.LIGHT)
    width, height = (round(size * pictures.DPI) for size in first.get_size_inches())
    return _kept(run, name, alt, pictures.png(first), pictures.png(figure(pictures.DARK)), (width, height))


def keep(run: Run, name: str, alt: str, picture: Image.Image) -> Picture:
    """The same for a photograph, which has no light and dark."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return _kept(run, name, alt, file.getvalue(), file.getvalue(), picture.size)


def _kept(run: Run, name: str, alt: str, light: bytes, dark: bytes, size: tuple[int, int]) -> Picture:
    file = f"pictures/{name}.png"
    (run.path / "pictures").mkdir(exist_ok=True)
    write_bytes(run.path / file, light)
    return Picture(file, alt, base64.b64encode(light).decode(), base64.b64encode(dark).decode(), *size)


def losses(run: Run, name: str, floor: float | None = None) -> Picture:
    """The loss curves; `name` is the loss's."""
    rows = run.rows()
    first, last = rows[0], rows[-1]
    alt = (
        f"Loss by epoch. Training: from {first['loss']:.4g} to {last['loss']:.4g}. "
        f"Validation: from {first['val_loss']:.4g} to {last['val_loss']:.4g}."
    )
    if floor is not None:
        alt += f" Floor: {floor:.4f}."
    return draw(run, "losses", alt, lambda theme: pictures.losses(rows, floor, theme, name))


def layers(run: Run, model: keras.Model, image: Values | None, prefix: str = "layer") -> list[Layer]:
    """Every layer, with its maps of the one image in `image` if they are pictures."""
    outputs: list[Any] = [None] * len(model.layers)
    if image is not None:
        inspector = keras.Model(model.inputs, [layer.output for layer in model.layers])
        outputs = inspector.predict(image, verbose=0)
    made = []
    for number, (layer, output) in enumerate(zip(model.layers, outputs, strict=True), start=1):
        if output is None:
            shape = "×".join("·" if size is None else str(size) for size in layer.output.shape[1:])
            made.append(Layer(layer.name, type(layer).__name__, shape, layer.count_params(), None))
            continue
        maps = np.asarray(output, np.float32)[0]
        made.append(
            Layer(
                layer.name,
                type(layer).__name__,
                "×".join(map(str, maps.shape)),
                layer.count_params(),
                _maps(run, f"{prefix}-{number}-{layer.name}", layer.name, maps) if maps.ndim == 3 else None,
            )
        )
    return made


def _maps(run: Run, name: str, layer: str, maps: Values) -> Picture:
    height, width, channels = maps.shape
    silent = int((maps.max(axis=(0, 1)) <= 0).sum())
    alt = f"{layer}'s {channels} feature maps of {height} by {width}; {silent} of them are 0 everywhere."
    return draw(run, name, alt, lambda theme: pictures.feature_maps(maps, theme))
