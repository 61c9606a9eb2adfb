"""Pictures of the compressor's codes and decoders: tables of small images, and points in a plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from ...report.charts import DPI, Page, Theme, Tile

POINTS = {
    # For light and for dark pages, told apart by colour-blind eyes as far as ten can be.
    "#ffffff": "#4477aa #ee6677 #228833 #b59f00 #3399bb #aa3377 #777777 #ee7733 #004488 #44bb99",
    "#161a1f": "#77aadd #ee8899 #55bb66 #ddcc44 #66ccee #cc66aa #bbbbbb #ee9955 #6699ff #44bb99",
}


def table(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Tile]]], theme: Theme) -> Figure:
    """Rows of tiles, each with its name to the left, below the columns' names; no names, no room for them."""
    count, side, gap = max(len(tiles) for _, tiles in rows), 28, 4
    margin = 42 if any(name for name, _ in rows) else 0
    head = 18 if columns else 0
    page = Page(margin + count * (side + gap) - gap, head + len(rows) * (side + gap) - gap, 4)
    for number, name in enumerate(columns):
        page.text(margin + number * (side + gap) + side / 2, head / 2, name, 5)
    for number, (name, tiles) in enumerate(rows):
        top = head + number * (side + gap)
        page.text(margin / 2, top + side / 2, "\n".join(_wrapped(name)), 5)
        for column, tile in enumerate(tiles):
            page.tile(margin + column * (side + gap), top, tile)
    return page.draw(theme)


def _wrapped(name: str) -> list[str]:
    lines = [""]
    for word in name.split():
        if len(lines[-1]) + len(word) > 14:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def scatter(places: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8], theme: Theme) -> Figure:
    """Points coloured by their classes, whose numbers are in the middle of their points."""
    figure = Figure(figsize=(8, 7), dpi=DPI, facecolor=theme.paper, layout="constrained")
    axes = figure.add_subplot(facecolor=theme.paper)
    colours = POINTS[theme.paper].split()
    present = np.unique(labels)
    size = 26 if len(present) <= 12 else 14
    for label in present:
        points = places[labels == label]
        axes.scatter(points[:, 0], points[:, 1], s=9, color=colours[int(label) % len(colours)], alpha=0.6, linewidths=0)
    for label in present:
        colour = colours[int(label) % len(colours)]
        x, y = np.median(places[labels == label], axis=0)
        axes.text(
            x, y, str(label), fontsize=size, fontweight="bold", color=theme.ink, ha="center", va="center",
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": theme.paper, "edgecolor": colour, "alpha": 0.85},
        )  # fmt: skip
    axes.set_axis_off()
    return figure
