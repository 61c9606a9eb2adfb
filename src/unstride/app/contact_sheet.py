"""Small pictures laid out as one: in a plain grid, or in rows below the columns' names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ..data import Bytes

PIECE = 64
"""The side of the square that reports and the lab show of an enlarged photograph."""
HEIGHT = 192
GAP, HEAD = 6, 24


def grid(tiles: npt.NDArray[Any], columns: int = 10, gap: int = 2, fill: float = 0.5) -> npt.NDArray[Any]:
    """Tiles (n, height, width) as one array, in rows of up to `columns`, with `gap` pixels of `fill` between them.

    >>> grid(np.arange(3).reshape(3, 1, 1), columns=2, gap=0, fill=9).tolist()
    [[0, 1], [2, 9]]
    """
    count, height, width = tiles.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), fill, tiles.dtype)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def side_by_side(names: Sequence[str], rows: Sequence[Sequence[Bytes]], height: int = HEIGHT) -> Image.Image:
    """Rows of pictures, each enlarged or reduced to `height` pixels, below the names of their columns."""
    lines = []
    for row in rows:
        sizes = [(max(1, round(height * picture.shape[1] / picture.shape[0])), height) for picture in row]
        lines.append(
            [Image.fromarray(p).resize(size, Image.Resampling.NEAREST) for p, size in zip(row, sizes, strict=True)]
        )
    widths = [max(column) for column in zip(*([picture.width for picture in line] for line in lines), strict=True)]
    page = Image.new("RGB", (sum(widths) + GAP * (len(names) - 1), HEAD + len(lines) * (height + GAP) - GAP), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    for column, name in enumerate(names):
        left = sum(widths[:column]) + column * GAP
        pen.text((left + widths[column] / 2, HEAD / 2), name, fill="black", font=font, anchor="mm")
        for number, line in enumerate(lines):
            page.paste(line[column], (left, HEAD + number * (height + GAP)))
    return page


def pixels(piece: Bytes, scale: int) -> Bytes:
    """The piece made `scale` times smaller, its pixels shown as squares."""
    height, width = piece.shape
    image = Image.fromarray(piece)
    image = image.resize((-(-width // scale), -(-height // scale)), Image.Resampling.BICUBIC)
    return np.asarray(image.resize((width, height), Image.Resampling.NEAREST))


def most_gained(large: Bytes, cubic: Bytes, ours: Bytes) -> tuple[int, int]:
    """The top left corner of the square of `PIECE` pixels whose error the network lowers most."""
    gain = np.square(large.astype(np.float64) - cubic) - np.square(large.astype(np.float64) - ours)
    total = np.pad(gain.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    side = min(PIECE, *large.shape)
    squares = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = np.unravel_index(int(squares.argmax()), squares.shape)
    return int(top), int(left)
