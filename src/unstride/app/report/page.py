"""What the reports of all models share: a self-contained page, and its pictures as files in the run folder."""

from __future__ import annotations

import base64
import io
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..._files import write_bytes, write_text
from ..._messages.wording import counted
from ...backends.keras.imported import keras
from ...data import Values
from .. import html
from ..runs import Run, duration
from ..runs.options import flag
from . import charts


@dataclass(frozen=True)
class Picture:
    """A picture of the page in a light and a dark version. `file` holds the light one."""

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


@dataclass(frozen=True)
class Kernels:
    """A layer's learned kernels. `words` describe the rows and columns of the picture."""

    name: str
    words: str
    picture: Picture


TEMPLATES = Path(__file__).parent / "templates"
CONTENTS = "<!-- contents -->"
"""The place in base.html of the table of contents, which is made from the headings."""

ROWS, COLUMNS = 32, 64
"""The most kernels that are drawn of a layer. The autoencoder's layers have fewer."""


def render(run: Run, template: str, model: keras.Model, **values: Any) -> None:
    """Write report.html from a template.

    `values` are what the template needs in addition to the values of every report, with `Task.page_values` among them.
    """
    rows = run.rows()
    values = {
        "run": run,
        "epochs": len(rows),
        "seconds": sum(row["seconds"] for row in rows),
        "parameters": model.count_params(),
        "options": {
            flag(name): value for name, value in vars(run.options).items() if value is not None and value is not False
        },
        "noun": "images",
        "kernels": kernels(run, model),
        "commands": commands(run),
        "counted": counted,
        **values,
    }
    page = html.render(TEMPLATES, template, {"duration": duration}, **values)
    write_text(run.report, page.replace(CONTENTS, contents(page), 1))


def contents(page: str) -> str:
    """Links to the second-level headings of a page. Every such heading must have an id.

    >>> contents('<h2 id="a">One</h2> <h2 id="b">Two</h2>')
    '<ol>\\n<li><a href="#a">One</a></li>\\n<li><a href="#b">Two</a></li>\\n</ol>'
    """
    links = [
        f'<li><a href="#{place}">{title}</a></li>' for place, title in re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', page)
    ]
    return "\n".join(["<ol>", *links, "</ol>"])


def commands(run: Run) -> list[tuple[str, str]]:
    """What to do with a run next: pairs of a sentence and a command."""
    path = shlex.quote(str(run.path))
    again = f"unstride train --resume --run {path} --epochs {2 * run.options.epochs}"
    by_model = {
        "autoencoder": [
            ("Your own digits, above their reconstructions", f"unstride reconstruct {path} mine.png -o out.png")
        ],
        "compressor": [
            ("Your own digits, above their reconstructions", f"unstride reconstruct {path} mine.png -o out.png"),
            ("The codes of your digits", f"unstride encode {path} mine.png -o codes.json"),
            ("Digits from codes", f"unstride decode {path} codes.json -o decoded.png"),
            ("From the first test digit to the second, step by step", f"unstride walk {path} 0 1 -o walk.gif"),
        ],
        "upscaler": [
            (
                "A picture of your own, enlarged",
                f"unstride upscale photo.jpg -o large.png --scale {run.options.scale} --model {path}",
            )
        ],
        "segmenter": [
            ("The classes in a picture of your own", f"unstride segment photo.jpg -o classes.png --model {path}")
        ],
    }
    chapter = {"compressor": "compress", "upscaler": "upscale", "segmenter": "segment"}.get(
        run.options.model, "autoencoder"
    )
    return [
        ("The metrics on the test images, one by one", f"unstride evaluate {path}"),
        *by_model[run.options.model],
        ("Train it for longer", again),
        ("The subject to play with, in a browser", f"unstride lab {chapter}"),
    ]


def kernels(run: Run, model: keras.Model) -> list[Kernels]:
    """The learned kernels of all convolutions, including those of nested models."""
    pictures = []
    for number, (name, layer) in enumerate(_convolutions(model), start=1):
        values = np.asarray(keras.ops.convert_to_numpy(layer.kernel), np.float32)
        backwards = isinstance(layer, keras.layers.Conv2DTranspose)
        if backwards:
            values = values.swapaxes(2, 3)  # in a convolution's order: (height, width, in, out)
        height, width, into, out = values.shape
        rows, columns = counted(into, "input channel"), counted(out, "output channel")
        if out == 1 < into:  # one kernel for each input channel: a row, too
            values, rows, columns = values.swapaxes(2, 3), columns, rows
        shown = values[:, :, :ROWS, :COLUMNS]
        words = f"{height}×{width}; rows: {rows}, columns: {columns}"
        if min(into, out) == 1:
            words = f"{height}×{width}; one for each of {columns}" if max(into, out) > 1 else f"{height}×{width}"
        if shown.shape != values.shape:
            words += f"; the first {shown.shape[2]} by {shown.shape[3]} of them"
        low, high = float(values.min()), float(values.max())
        alt = f"The kernels of {name}, {words}; the weights are from {low:.3f} to {high:.3f}."
        figure = partial(charts.kernels, shown)
        pictures.append(Kernels(name, words, draw(run, f"kernels-{number}-{layer.name}", alt, figure)))
    return pictures


def _convolutions(model: keras.Model, before: str = "") -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _convolutions(layer, f"{before}{layer.name}/")
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            yield f"{before}{layer.name}", layer


def draw(run: Run, name: str, alt: str, figure: Callable[[charts.Theme], Figure]) -> Picture:
    """Draw a light and a dark version, and write the light one to pictures/."""
    first = figure(charts.LIGHT)
    width, height = (round(size * charts.DPI) for size in first.get_size_inches())
    return _kept(run, name, alt, charts.png(first), charts.png(figure(charts.DARK)), (width, height))


def keep(run: Run, name: str, alt: str, picture: Image.Image) -> Picture:
    """Write a photograph to pictures/. It has a single version."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return _kept(run, name, alt, file.getvalue(), file.getvalue(), picture.size)


def _kept(run: Run, name: str, alt: str, light: bytes, dark: bytes, size: tuple[int, int]) -> Picture:
    file = f"pictures/{name}.png"
    (run.path / "pictures").mkdir(exist_ok=True)
    write_bytes(run.path / file, light)
    return Picture(file, alt, base64.b64encode(light).decode(), base64.b64encode(dark).decode(), *size)


def losses(run: Run, name: str, floor: float | None = None) -> Picture:
    """The loss curves. `name` is the name of the loss."""
    rows = run.rows()
    alt = charts.losses_in_words(rows)
    if floor is not None:
        alt += f" Floor: {floor:.4f}."
    return draw(run, "losses", alt, lambda theme: charts.losses(rows, floor, theme, name))


def layers(run: Run, model: keras.Model, image: Values | None, prefix: str = "layer") -> list[Layer]:
    """All layers, with their feature maps of the single image in `image`."""
    outputs: list[Any] = [None] * len(model.layers)
    if image is not None:
        inspector = keras.Model(model.inputs, [layer.output for layer in model.layers])
        outputs = inspector.predict(image, verbose=0)
    rows = []
    for number, (layer, output) in enumerate(zip(model.layers, outputs, strict=True), start=1):
        if output is None:
            shape = "×".join("·" if size is None else str(size) for size in layer.output.shape[1:])
            rows.append(Layer(layer.name, type(layer).__name__, shape, layer.count_params(), None))
            continue
        maps = np.asarray(output, np.float32)[0]
        rows.append(
            Layer(
                layer.name,
                type(layer).__name__,
                "×".join(map(str, maps.shape)),
                layer.count_params(),
                _maps(run, f"{prefix}-{number}-{layer.name}", layer.name, maps) if maps.ndim == 3 else None,
            )
        )
    return rows


def _maps(run: Run, name: str, layer: str, maps: Values) -> Picture:
    height, width, channels = maps.shape
    silent = int((maps.max(axis=(0, 1)) <= 0).sum())
    alt = f"{layer}'s {counted(channels, 'feature map')} of {height} by {width}; of them 0 everywhere: {silent}."
    return draw(run, name, alt, lambda theme: charts.feature_maps(maps, theme))
