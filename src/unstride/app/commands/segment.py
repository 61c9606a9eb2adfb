"""`unstride segment`: the class of every pixel, digits or those of your own network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.progress import track

from ..._files import write
from ..._messages.wording import escaped
from ...data import DataError
from ..errors import OptionError
from .outputs import expanded, named, with_stem
from .printing import exit_code, quiet_option
from .shared import complain, console, debug_option, remark, say

OVERLAY = "-overlay.png"


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--output", required=True, help="The class map, a .png; a folder for several images.")
@click.option(
    "--model",
    metavar="RUN",
    help="A run of `train segmenter`, or its weights.npz, with its own classes. Default: finds digits.",
)
@click.option(
    "--min-pixels",
    type=int,
    default=30,
    show_default=True,
    metavar="N",
    help="List and draw only classes with a connected region of at least N pixels.",
)
@quiet_option
@debug_option
def segment(images: tuple[str, ...], output: str, model: str | None, min_pixels: int, quiet: bool) -> int:
    """Find the handwritten digits in each IMAGE, or in the images of a folder, pixel by pixel.

    Two files are written: a palette PNG, with 0 for the background and d + 1 for the digit d, and an overlay with a
    legend, OUT-overlay.png for OUT.png. Digits may have any colour, on a plain page or a photograph, and should be 20
    to 60 pixels high. With --model, a network that you have trained finds its own classes.

    Files that cannot be read are named and skipped; the exit code is then 1. No input is overwritten.
    """
    if min_pixels < 1:
        raise OptionError(f"--min-pixels is {min_pixels}; expected at least 1")
    from .. import weights
    from ..images import reader
    from ..tasks.segmenter import inference

    network = weights.find("segmenter", "segmenter", model)
    paths = expanded(images)
    several = len(images) > 1 or Path(images[0]).is_dir()
    inputs = () if model is None else (model,)
    targets = named(paths, output, several=several, ending=".png", also=OVERLAY, inputs=inputs)
    screen = console(quiet)
    failed, empty = 0, False
    names = network.about["classes"]
    pairs = list(zip(paths, targets, strict=True))
    for path, target in track(pairs, "segmenting", console=screen, disable=not screen.is_terminal):
        try:
            values = reader.rgb(path, remark)
            class_map = inference.classes(network, values)
            overlay = with_stem(target, OVERLAY)
            listed = inference.present(class_map, min_pixels)
            classes = inference.as_palette(class_map)
            none = None if listed else _nothing(class_map, names, min_pixels)
            shown = inference.overlay(
                values, inference.only(class_map, listed), names, none=none and none.partition(":")[0]
            )
            write(target, lambda place, picture=classes: picture.save(place, format="PNG"))  # type: ignore[misc]
            write(overlay, lambda place, picture=shown: picture.save(place, format="PNG"))  # type: ignore[misc]
        except (DataError, OSError) as error:
            failed += 1
            complain(error)
            continue
        empty |= not inference.present(class_map)
        names_shown = escaped(str(path)), escaped(str(target))
        say(screen, f"{names_shown[0]}: {none or _found(class_map, listed, names)}; {names_shown[1]}", keep=names_shown)
    if empty and not quiet and inference.noun(names) == "digits":
        remark("digits are found if they are about 20 to 60 pixels high; enlarge or shrink a picture of others")
    return exit_code(failed, len(paths))


def _found(class_map: Any, listed: list[int], names: list[str]) -> str:
    """The listed classes with their shares of the picture: "digits 3 (0.8%), 7 (<0.1%)"."""
    from ..tasks.segmenter import inference

    shares = {at: (class_map == at).mean() for at in listed}
    return f"{inference.noun(names)} " + ", ".join(
        f"{names[at]} ({'<0.1%' if share < 0.001 else f'{share:.1%}'})" for at, share in shares.items()
    )


def _nothing(class_map: Any, names: list[str], least: int) -> str:
    """Why nothing is listed. The part before the colon is also the legend."""
    from ..tasks.segmenter import inference

    noun, sizes = inference.noun(names), inference.sizes(class_map)
    largest = max(sizes, key=lambda at: sizes[at], default=0)
    if sizes and inference.LEAST <= sizes[largest] < least:
        return f"no {noun} of {least} pixels: all are smaller than --min-pixels, {names[largest]} has {sizes[largest]}"
    return f"no {noun} found"


COMMANDS = (segment,)
