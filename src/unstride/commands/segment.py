"""`unstride segment`: the class of every pixel of pictures, by a trained network."""

from __future__ import annotations

from pathlib import Path

import click
from rich.progress import track

from .. import runs
from ..data import DataError
from .outputs import expanded, named, with_stem
from .printing import exit_code, quiet_option
from .shared import complain, console, debug_option, remark, say

OVERLAY = "-overlay.png"


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("-o", "--output", required=True, help="The class map, a .png; for several, or a folder, a folder.")
@click.option("--model", metavar="RUN", help="A run of `train segmenter`, or its weights.npz. Default: what ships.")
@quiet_option
@debug_option
def segment(images: tuple[str, ...], output: str, model: str | None, quiet: bool) -> int:
    """Write the class of every pixel of each IMAGE as a palette PNG, and an overlay with a legend beside it.

    What ships finds coloured digits on photographs. For OUT.png the overlay is OUT-overlay.png. What cannot be read is
    named, the rest is done, and the exit code is then 1. No input is overwritten.
    """
    import numpy as np

    from .. import deployed, imagefiles, segmenting

    network = deployed.find("segmenter", "segmenter", model)
    paths = expanded(images)
    several = len(images) > 1 or Path(images[0]).is_dir()
    inputs = () if model is None else (model,)
    targets = named(paths, output, several=several, ending=".png", also=OVERLAY, inputs=inputs)
    screen = console(quiet)
    failed = 0
    names = network.about["classes"]
    pairs = list(zip(paths, targets, strict=True))
    for path, target in track(pairs, "segmenting", console=screen, disable=not screen.is_terminal):
        try:
            values = imagefiles.rgb(path, remark)
            found = segmenting.classes(network, values)
            beside = with_stem(target, OVERLAY)
            classes, shown = segmenting.as_palette(found), segmenting.overlay(values, found, names)
            runs.write(target, lambda place, picture=classes: picture.save(place, format="PNG"))  # type: ignore[misc]
            runs.write(beside, lambda place, picture=shown: picture.save(place, format="PNG"))  # type: ignore[misc]
        except (DataError, OSError) as error:
            failed += 1
            complain(error)
            continue
        shares = np.bincount(found.ravel(), minlength=len(names)) / found.size
        seen = ", ".join(f"{names[at]} {shares[at]:.1%}" for at in np.flatnonzero(shares))
        say(screen, f"{path}: {seen}; {target}")
    return exit_code(failed, len(paths))


COMMANDS = (segment,)
