"""Pieces of enlarged photographs, to look at side by side."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Bytes = npt.NDArray[np.uint8]

PIECE, ZOOM = 64, 3


def pixels(piece: Bytes, scale: int) -> Bytes:
    """The piece made small, its pixels shown as squares."""
    height, width = piece.shape
    image = Image.fromarray(piece)
    image = image.resize((-(-width // scale), -(-height // scale)), Image.Resampling.BICUBIC)
    return np.asarray(image.resize((width, height), Image.Resampling.NEAREST))


def most_gained(large: Bytes, cubic: Bytes, ours: Bytes) -> tuple[int, int]:
    """Where in the image the square of `PIECE` pixels is whose error the network lowers most."""
    gain = np.square(large.astype(np.float64) - cubic) - np.square(large.astype(np.float64) - ours)
    total = np.pad(gain.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    side = min(PIECE, *large.shape)
    squares = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = np.unravel_index(int(squares.argmax()), squares.shape)
    return int(top), int(left)


def side_by_side(columns: list[tuple[str, Bytes]], zoom: int = ZOOM) -> Image.Image:
    """Pictures side by side, enlarged, each under its name."""
    side, gap, head = columns[0][1].shape[1] * zoom, 6, 22
    height = columns[0][1].shape[0] * zoom
    page = Image.new("RGB", (len(columns) * (side + gap) - gap, head + height), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(15)
    for number, (name, values) in enumerate(columns):
        left = number * (side + gap)
        draw.text((left + side / 2, head / 2), name, fill="black", font=font, anchor="mm")
        page.paste(Image.fromarray(values).resize((side, height), Image.Resampling.NEAREST), (left, head))
    return page
