"""Charts of the compressor's codes and decoders: tables of digits, and points in a plane."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ....data import Bytes, Grey, Values
from ...contact_sheet import grid
from ...report.charts import DPI, Page, Theme

POINTS = {
    # For light and for dark pages, as distinguishable for colour-blind readers as ten colours can be.
    "#ffffff": "#4477aa #ee6677 #228833 #b59f00 #3399bb #aa3377 #777777 #ee7733 #004488 #44bb99",
    "#161a1f": "#77aadd #ee8899 #55bb66 #ddcc44 #66ccee #cc66aa #bbbbbb #ee9955 #6699ff #44bb99",
}


def table(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[Grey]]], theme: Theme) -> Figure:
    """Rows of tiles with their names on the left, below the names of the columns. Names may be missing."""
    count, side, gap = len(rows[0][1]), 28, 4
    margin = 42 if any(name for name, _ in rows) else 0
    head = 18 if columns else 0
    cells = grid(np.stack([tile for _, tiles in rows for tile in tiles]), count, gap, np.nan)
    page = Page(np.pad(cells, ((head, 0), (margin, 0)), constant_values=np.nan), 4)
    for number, name in enumerate(columns):
        page.text(margin + number * (side + gap) + side / 2, head / 2, name, 5)
    for number, (name, _) in enumerate(rows):
        page.text(margin / 2, head + number * (side + gap) + side / 2, "\n".join(textwrap.wrap(name, 15)), 5)
    return page.draw(theme)


def scatter(places: Values, labels: Bytes, theme: Theme) -> Figure:
    """Points coloured by class, with each class's number in the middle of its points."""
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
