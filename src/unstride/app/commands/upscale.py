"""`unstride upscale`: enlarge pictures with a trained network."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..._messages.wording import escaped
from ...data import DataError
from ..errors import OptionError
from .outputs import expanded, named, save_enlarged
from .printing import exit_code, quiet_option
from .shared import complain, console, debug_option, remark, say


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--output", required=True, help="The enlarged picture; a folder for several images.")
@click.option("--scale", type=int, default=2, show_default=True, help="The factor: 2, 3 or 4.")
@click.option(
    "--model", metavar="RUN", help="A run of `train upscaler`, or its weights.npz. Default: the network in the package."
)
@quiet_option
@debug_option
def upscale(images: tuple[str, ...], output: str, scale: int, model: str | None, quiet: bool) -> int:
    """Enlarge each IMAGE, or the images of a folder, with a small trained network.

    Colours, transparency and the type of the numbers are kept: 16-bit greys and, in TIFF, signed and 32-bit integers
    and floats. If a file has several pages or frames, the first is enlarged. Files that cannot be enlarged are named
    and skipped; the exit code is then 1. No input is overwritten.
    """
    if scale not in (2, 3, 4):
        raise OptionError(f"--scale is {scale}; expected 2, 3 or 4")
    from .. import weights
    from ..images import reader
    from ..tasks.upscaler import inference

    network = inference.Upscaler(weights.find("upscaler", f"upscaler_x{scale}", model))
    if network.scale != scale and click.get_current_context().get_parameter_source("scale") is not (
        click.core.ParameterSource.DEFAULT
    ):
        raise OptionError(f"--scale is {scale}, but {model} enlarges {network.scale} times; leave --scale out")
    paths = expanded(images)
    targets = named(
        paths, output, several=len(images) > 1 or Path(images[0]).is_dir(), inputs=() if model is None else (model,)
    )
    screen = console(quiet)
    failed = 0
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeRemainingColumn(),
        console=screen,
        disable=not screen.is_terminal,
        expand=True,
    ) as bar:
        task = bar.add_task("", total=len(paths))
        for number, (path, target) in enumerate(zip(paths, targets, strict=True)):
            bar.update(task, description=escape(escaped(path.name)))
            try:
                values = reader.pixels(path, remark)
                height, width, _ = values.values.shape
                done = 0

                def advance(more: int, number: int = number, pixels: int = width * height) -> None:
                    nonlocal done
                    done += more
                    bar.update(task, completed=number + done / pixels)

                size = save_enlarged(network, values, target, advance)
            except MemoryError:
                failed += 1
                complain(DataError(f"{path}: enlarged, it does not fit into memory; a smaller --scale or image does"))
            except (DataError, OSError) as error:
                failed += 1
                complain(error)
            else:
                names = escaped(str(path)), escaped(str(target))
                say(screen, f"{names[0]}: {width}x{height} to {size[0]}x{size[1]}, {names[1]}", keep=names)
            bar.update(task, completed=number + 1)
    return exit_code(failed, len(paths))


COMMANDS = (upscale,)
