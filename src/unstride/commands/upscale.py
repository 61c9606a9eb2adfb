"""`unstride upscale`: pictures larger, by a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from .. import runs
from ..data import DataError
from ..runs import OptionError
from .printing import exit_code, quiet_option
from .shared import complain, console, debug_option, picture_format, say


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--output", required=True, help="The enlarged picture; for several, or a folder, a folder.")
@click.option("--scale", type=int, default=2, show_default=True, help="How many times as wide and high: 2, 3 or 4.")
@click.option("--model", metavar="RUN", help="A run of `train upscaler`, or its weights.npz. Default: what ships.")
@quiet_option
@debug_option
def upscale(images: tuple[str, ...], output: str, scale: int, model: str | None, quiet: bool) -> int:
    """Enlarge each IMAGE, or the images of a folder, with a small trained network.

    Every format that Pillow reads; colours, transparency and 16-bit greys stay. What cannot be enlarged is named,
    the rest is done, and the exit code is then 1.
    """
    if scale not in (2, 3, 4):
        raise OptionError(f"--scale is {scale}; expected 2, 3 or 4")
    from .. import deployed, upscaling

    network = upscaling.Upscaler(deployed.find("upscaler", f"upscaler_x{scale}", model))
    if network.scale != scale and click.get_current_context().get_parameter_source("scale") is not (
        click.core.ParameterSource.DEFAULT
    ):
        raise OptionError(f"--scale is {scale}, but {model} enlarges {network.scale} times; leave --scale out")
    paths = expanded(images)
    targets = named(paths, output, several=len(images) > 1 or Path(images[0]).is_dir())
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
            bar.update(task, description=Text(path.name).plain.replace("[", r"\["))
            try:
                from .. import imagefiles

                image = imagefiles.opened(path)
                size, profile = image.size, image.info.get("icc_profile")
                values = upscaling.Pixels.of(image)
                del image  # a large one's memory is needed for the result
                pixels = size[0] * size[1]
                done = 0

                def advance(more: int, number: int = number, pixels: int = pixels) -> None:
                    nonlocal done
                    done += more
                    bar.update(task, completed=number + done / pixels)

                made = network.picture(values, advance)
                save(made, target, profile)
            except (DataError, OSError) as error:
                failed += 1
                complain(error)
            else:
                say(
                    screen,
                    f"{path}: {size[0]}x{size[1]} to {made.width}x{made.height}, {target}",
                )
            bar.update(task, completed=number + 1)
    return exit_code(failed, len(paths))


def expanded(names: tuple[str, ...]) -> list[Path]:
    """The files, and those in the folders, among `names`."""
    from .. import imagefiles

    paths: list[Path] = []
    for name in names:
        path = Path(name)
        found = imagefiles.listing(path, "images") if path.is_dir() else [path]
        if not found:
            raise OptionError(f"{name}: no images in this folder")
        paths += found
    return paths


def named(paths: list[Path], output: str, *, several: bool, ending: str | None = None) -> list[Path]:
    """Where each result goes: `output` itself, or, for several or if it is a folder, a file of the same name in it."""
    folder = Path(output)
    if not several and not folder.is_dir() and not output.endswith(("/", "\\")):
        picture_format(output)
        return [folder]
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"-o {output} is a file; expected a folder for several images")
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / (path.name if ending is None else path.stem + ending) for path in paths]
    taken: dict[Path, Path] = {}
    for path, target in zip(paths, targets, strict=True):
        if target in taken:
            raise OptionError(f"{taken[target]} and {path} would both become {target}; give them apart")
        if target.exists() and target.samefile(path):
            raise OptionError(f"-o {output} holds {path} itself; expected another folder")
        taken[target] = path
    return targets


def save(image: Any, target: Path, profile: Any = None) -> None:
    """In the format that the name ends with, with its colour profile; or an OSError that says what to do."""
    format = picture_format(str(target))
    settings: dict[str, Any] = {}
    if profile:
        settings["icc_profile"] = profile
    if format == "PNG":
        settings["compress_level"] = 3  # a photograph comes out hardly larger than at 9, and many times sooner
    elif format in ("JPEG", "WEBP"):
        settings["quality"] = 95
    try:
        runs.write(target, lambda beside: image.save(beside, format=format, **settings))
    except (ValueError, KeyError, TypeError) as error:
        raise OSError(f"{target}: {format} cannot hold it ({error}); name an output like .png or .tif") from error
    except OSError as error:
        if error.errno is None:
            raise OSError(f"{target}: {format} cannot hold it ({error}); name an output like .png or .tif") from error
        raise


COMMANDS = (upscale,)
