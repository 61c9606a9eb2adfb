"""Makes the README's pictures of the models: `python docs/make_pictures.py [COMPRESSOR-RUN]`.

The models in the package draw docs/upscaled.png, docs/segmented.png and docs/checkerboards.png. docs/codes.png and
docs/walk.png are copied from the report of a run of `unstride train compressor`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from unstride.app import weights
from unstride.app.contact_sheet import side_by_side
from unstride.app.tasks.segmenter import inference
from unstride.app.tasks.upscaler.inference import Upscaler
from unstride.data import pages, photographs, scenes

DOCS = Path(__file__).parent
PIECES = (("astronaut.png", 75, 165, 100), ("chelsea.png", 125, 65, 100))
"""Held-out photographs and the left, top and side of a piece."""
SCENES, PAGES = 2, (1, 5)
"""The number of scenes over photographs, and the plain pages: one light, one dark."""
FROM_RUN = ("codes", "walk")


def upscaled() -> Image.Image:
    """Pieces enlarged twice: the pixels, bicubic interpolation, the network, and the original."""
    network = Upscaler(weights.find("upscaler", "upscaler_x2", None))
    lines = []
    for name, left, top, side in PIECES:
        large, small = photographs.small(photographs.read("skimage", name), 2)
        box = (left, top, left + side, top + side)
        kinds = {
            "pixels": small.resize(large.size, Image.Resampling.NEAREST),
            "bicubic": small.resize(large.size, Image.Resampling.BICUBIC),
            "unstride upscale": network.picture(small),
            "original": large,
        }
        pieces = [np.asarray(picture.crop(box)) for picture in kinds.values()]
        lines.append(side_by_side(tuple(kinds), [pieces], height=2 * side))
    return stacked(lines)


def segmented() -> Image.Image:
    """Held-out digits over photographs and on plain pages, each with the classes found and a legend."""
    network = weights.find("segmenter", "segmenter", None)
    names = network.about["classes"]
    source = scenes.source("test")
    pictures = []
    images = [scenes.scene(source, (2, number))[0] for number in range(SCENES)]
    for dark, number in enumerate(PAGES):
        images.append(pages.page(source, (8, number), sheet=pages.Sheet(28.0, dark=dark == 1))[0])
    for image in images:
        classes = inference.classes(network, image)
        overlay = inference.overlay(image, inference.only(classes, inference.present(classes)), names)
        scene = Image.fromarray(image).resize((overlay.height, overlay.height), Image.Resampling.NEAREST)
        page = Image.new("RGB", (scene.width + 8 + overlay.width, overlay.height), "white")
        page.paste(scene, (0, 0))
        page.paste(overlay, (scene.width + 8, 0))
        pictures.append(page.resize((page.width * 2 // 3, page.height * 2 // 3), Image.Resampling.LANCZOS))
    widths = max(picture.width for picture in pictures)
    rows = []
    for first, second in zip(pictures[::2], pictures[1::2], strict=True):
        row = Image.new("RGB", (2 * widths + 8, max(first.height, second.height)), "white")
        row.paste(first, (0, 0))
        row.paste(second, (widths + 8, 0))
        rows.append(row)
    return stacked(rows)


def checkerboards() -> Image.Image:
    """Decoders of the compressor's codes before and after a lesson, with the strengths of their checkerboards."""
    from unstride.app import tasks
    from unstride.app.report import charts
    from unstride.app.tasks.compressor import report
    from unstride.app.tasks.compressor.inference import Compressor
    from unstride.data import grey

    task = tasks.get("compressor")
    data = task.read(task.options({}))
    network = Compressor(weights.find("compressor", "compressor", None))
    compared = report.compare(network, data, 0, report.STEPS_OF_A_LESSON[1])
    targets = grey(data.test[: report.MEASURED])
    return charts.image(report.checkerboards(compared, grey(data.gallery[:1])[0], targets, charts.LIGHT))


def stacked(rows: list[Image.Image], gap: int = 8) -> Image.Image:
    """Rows below each other."""
    height = sum(row.height + gap for row in rows) - gap
    page = Image.new("RGB", (max(row.width for row in rows), height), "white")
    top = 0
    for row in rows:
        page.paste(row, (0, top))
        top += row.height + gap
    return page


def main() -> None:
    for name, draw in (("upscaled", upscaled), ("segmented", segmented), ("checkerboards", checkerboards)):
        draw().save(DOCS / f"{name}.png", optimize=True)
        print(DOCS / f"{name}.png")
    for run in sys.argv[1:2]:
        for name in FROM_RUN:
            shutil.copy(Path(run) / "pictures" / f"{name}.png", DOCS / f"{name}.png")
            print(DOCS / f"{name}.png")


if __name__ == "__main__":
    main()
