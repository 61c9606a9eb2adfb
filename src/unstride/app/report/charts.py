"""The charts of reports: loss curves, digits above their reconstructions, feature maps, kernels.

They are Matplotlib figures made without pyplot, whose global state would outlive them. The colours are Okabe and
Ito's, which colour-blind readers can distinguish.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from PIL import Image

from ...data import Grey, Values
from ..contact_sheet import grid
from ..runs import Row

DPI = 100


@dataclass(frozen=True)
class Theme:
    paper: str
    ink: str
    faint: str
    first: str
    second: str


LIGHT = Theme(paper="#ffffff", ink="#1c1c1c", faint="#d0d0d0", first="#0072b2", second="#d55e00")
DARK = Theme(paper="#161a1f", ink="#e6e6e6", faint="#3c434b", first="#56b4e9", second="#e69f00")


def png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def image(figure: Figure) -> Image.Image:
    return Image.open(io.BytesIO(png(figure))).convert("RGB")


def drawable(text: str) -> str:
    """The text with ? for each character without a glyph, at which Matplotlib warns or fails."""
    font = get_font(findfont(FontProperties()))
    return "".join(letter if letter == "\n" or font.get_char_index(ord(letter)) else "?" for letter in text)


def losses(rows: Sequence[Row], floor: float | None, theme: Theme, name: str = "binary cross-entropy") -> Figure:
    """Training and validation loss by epoch, on a logarithmic scale, with their floor if there is one."""
    # Narrow, with large type, so that it can be read on a phone.
    figure = Figure(figsize=(9.2, 6.4), dpi=DPI, facecolor=theme.paper, layout="constrained")
    axes = figure.add_subplot(facecolor=theme.paper)
    epochs = [row["epoch"] + 1 for row in rows]
    size = 23
    for column, label, colour, marker in (
        ("loss", "training", theme.first, "o"),
        ("val_loss", "validation", theme.second, "s"),
    ):
        values = [row[column] for row in rows]
        axes.plot(epochs, values, color=colour, marker=marker, markersize=7, linewidth=2.5, label=label)
    if floor is not None:
        axes.axhline(floor, color=theme.ink, linewidth=2, linestyle=(0, (4, 3)), label="floor (test images)")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.set_xlabel("epoch", color=theme.ink, fontsize=size)
    axes.set_ylabel(name, color=theme.ink, fontsize=size)
    axes.tick_params(colors=theme.ink, labelsize=size)
    axes.grid(color=theme.faint, linewidth=1)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.ink)
    axes.legend(fontsize=size, labelcolor=theme.ink, facecolor=theme.paper, edgecolor=theme.faint)
    return figure


def losses_in_words(rows: Sequence[Row]) -> str:
    """What `losses` shows, for those who cannot see it."""
    first, last = rows[0], rows[-1]
    return (
        f"Loss by epoch. Training: from {first['loss']:.4g} to {last['loss']:.4g}. "
        f"Validation: from {first['val_loss']:.4g} to {last['val_loss']:.4g}."
    )


def by_class(groups: Sequence[tuple[int, Sequence[Grey], Sequence[Grey]]], theme: Theme) -> Figure:
    """For each (class, originals, reconstructions), a row of originals above a row of reconstructions."""
    columns = max(len(originals) for _, originals, _ in groups)
    scale, gap, margin, between = 3, 3, 26, 12
    width, height = margin + columns * (28 + gap) - gap, len(groups) * (2 * 28 + gap + between) - between
    page = Page(np.full((height, width), np.nan, np.float32), scale)
    for number, (label, originals, predictions) in enumerate(groups):
        top = number * (2 * 28 + gap + between)
        page.text(margin / 2 - 2, top + 28 + gap / 2, str(label), 13)
        for column, (original, prediction) in enumerate(zip(originals, predictions, strict=True)):
            left = margin + column * (28 + gap)
            page.tile(left, top, original)
            page.tile(left, top + 28 + gap, prediction)
    return page.draw(theme)


def pairs(originals: Sequence[Grey], predictions: Sequence[Grey], captions: Sequence[str], theme: Theme) -> Figure:
    """Each original above its reconstruction, with a caption of up to two lines below."""
    columns = min(len(originals), max(5, math.isqrt(len(originals))))
    rows = -(-len(originals) // columns)
    scale, gap, across, caption = 4, 2, 10, 26
    width, height = 28 + across, 2 * 28 + gap + caption
    page = Page(np.full((rows * height, columns * width), np.nan, np.float32), scale)
    for number, (original, prediction, text) in enumerate(zip(originals, predictions, captions, strict=True)):
        left, top = number % columns * width + across // 2, number // columns * height + across // 2
        page.tile(left, top, original)
        page.tile(left, top + 28 + gap, prediction)
        page.text(left + 14, top + 2 * 28 + gap + 9, text, 6.6)
    return page.draw(theme)


def feature_maps(maps: Values, theme: Theme) -> Figure:
    """A layer's maps (height, width, channels), on one scale from 0 (dark) to the largest value (light)."""
    tiles = np.moveaxis(maps, -1, 0) / (float(maps.max()) or 1.0)
    return Page(grid(tiles, 8, fill=np.nan), 3, colours="cividis").draw(theme)


def kernels(values: Values, theme: Theme) -> Figure:
    """Kernels (height, width, rows, columns) on one scale: blue above 0, white at 0, red below 0."""
    height, width, rows, columns = values.shape
    tiles = values.transpose(2, 3, 0, 1).reshape(rows * columns, height, width)
    cells = grid((tiles / (float(np.abs(values).max()) or 1.0) + 1) / 2, columns, gap=1, fill=np.nan)
    scale = max(2, min(8, 720 // cells.shape[1], 400 // cells.shape[0]))
    return Page(cells, scale, colours="RdBu").draw(theme)


class Page:
    """Tiles and text. Positions are in pixels of the tiles, which are drawn `scale` times as large.

    All tiles are one picture, because hundreds of axes would take seconds.
    """

    def __init__(self, cells: Values, scale: int, colours: str = "gray") -> None:
        self.cells = cells
        self.scale = scale
        self.words: list[tuple[float, float, str, float]] = []
        self.colours = colormaps[colours]

    def tile(self, left: int, top: int, values: Values) -> None:
        height, width = values.shape
        self.cells[top : top + height, left : left + width] = values

    def text(self, x: float, y: float, words: str, size: float) -> None:
        """Add text centred at (x, y), of height `size`."""
        self.words.append((x, y, words, size))

    def draw(self, theme: Theme) -> Figure:
        height, width = self.cells.shape
        figure = Figure(figsize=(width * self.scale / DPI, height * self.scale / DPI), dpi=DPI, facecolor=theme.paper)
        # figimage draws pixels without resampling.
        pixels = np.repeat(np.repeat(self.cells, self.scale, 0), self.scale, 1)
        figure.figimage(
            np.ma.masked_invalid(pixels),
            cmap=self.colours.with_extremes(bad=theme.paper),
            vmin=0,
            vmax=1,
            origin="upper",
        )
        for x, y, words, size in self.words:
            figure.text(
                x / width,
                1 - y / height,
                words,
                color=theme.ink,
                fontsize=size * self.scale * 72 / DPI,
                horizontalalignment="center",
                verticalalignment="center",
                linespacing=1.15,
                parse_math=False,
            )
        return figure
