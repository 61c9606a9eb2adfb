"""`unstride evaluate` and `unstride reconstruct`: a run's model on its test images and on your own."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from ..._files import write
from ..._messages.wording import escaped
from .. import runs, tasks
from ..errors import OptionError
from ..tasks import datasets
from .outputs import check_apart, expanded, read_of
from .printing import exit_code, json_option, print_json
from .shared import (
    backend_option,
    chosen_backend,
    console,
    debug_option,
    load_model,
    picture_format,
    read_digits,
    say_metrics,
    say_result,
    table,
)

MAX_IMAGES = 400
"""Of one picture of reconstructions."""


@click.command()
@click.argument("run", metavar="RUN")
@backend_option
@json_option
@debug_option
def evaluate(run: str, backend: str | None, as_json_: bool) -> None:
    """Evaluate RUN's model on its test images and print the metrics."""
    opened = runs.load(run)
    backend = chosen_backend(opened, backend)
    task = tasks.get(opened.options.model)
    data = task.read(opened.options)
    metrics = task.evaluate(load_model(opened, backend), data)
    if as_json_:
        print_json(metrics.json)
        return
    screen = console()
    say_metrics(screen, metrics)
    screen.print(table(metrics.columns, metrics.rows))


@click.command()
@click.argument("run", metavar="RUN")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "-o",
    "--output",
    default="reconstructions.png",
    show_default=True,
    help="The picture. Its ending chooses the format.",
)
@backend_option
@json_option
@debug_option
def reconstruct(run: str, images: tuple[str, ...], output: str, backend: str | None, as_json_: bool) -> int:
    """Draw each IMAGE, or the images in a folder, above its reconstruction by RUN's model.

    RUN is a run of an autoencoder or a compressor. Without IMAGE, one test digit of each class is drawn. Images may
    have any size and format. Each is cropped to its ink, inverted if it is dark on light, and centred in 28x28 pixels
    like MNIST's digits. If RUN was trained on your own data, the whole image is shrunk instead. Files that cannot be
    read are named and skipped; the exit code is then 1.
    """
    opened = runs.load(run)
    if opened.options.model not in ("autoencoder", "compressor"):
        raise OptionError(f"{run} is a run of {opened.options.model}; expected one of autoencoder or compressor")
    backend = chosen_backend(opened, backend)
    format = picture_format(output)
    paths = expanded(images)
    if len(paths) > MAX_IMAGES:
        raise OptionError(
            f"{len(paths):,} images are too many for one picture; expected at most {MAX_IMAGES}: give some of them"
        )
    check_apart([output], read_of(opened, *images, *map(str, paths)))
    import numpy as np

    failed = 0
    if images:
        pictures, failed = read_digits(opened, paths)
        if not pictures:
            return exit_code(failed, len(paths))
        names, arrays = [path.name for path, _ in pictures], np.stack([image for _, image in pictures])
    else:
        data = datasets.read(opened.options)
        places = [int(data.examples(label, 1)[0]) for label in data.classes]
        names, arrays = [f"class {label}" for label in data.classes], data.gallery[places]
    model = load_model(opened, backend)
    from ..report import charts
    from ..tasks.autoencoder import report
    from ..tasks.batches import predict

    predictions = predict(model, arrays)
    picture = charts.image(report.reconstruction(arrays, predictions, names))
    write(Path(output), lambda temporary: picture.save(temporary, format=format))
    if as_json_:
        rows = report.image_metrics(arrays, predictions)
        each = [{"image": name, **row} for name, row in zip(names, rows, strict=True)]
        print_json({"picture": output, "images": each})
        return exit_code(failed, len(paths))
    screen = console()
    shown = table(("image", "loss", "error"), ())
    for name, row in zip(names, report.image_metrics(arrays, predictions), strict=True):
        shown.add_row(Text(escaped(name)), f"{row['loss']:.4f}", f"{row['error']:.5f}")
    screen.print(shown)
    say_result(screen, "Picture", escaped(output), [escaped(output)])
    return exit_code(failed, len(paths))


COMMANDS = (evaluate, reconstruct)
