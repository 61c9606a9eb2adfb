"""How the cells of an array look, by value and origin. One function for each kind of array."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..figures import figure
from ..pairs import Array
from .palette import HEAT, SIGNED, code

Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]
Ranges = tuple[tuple[int, int], ...]
"""(start, stop) an axis."""

NOTHING = -1
"""The fill of cells that are paper."""

INPUT, BETWEEN, AROUND = 2, 1, 0
"""Where a cell of the grid that the kernel slides over comes from: the input, a zero put in, a zero put around."""


class Looks(NamedTuple):
    """For each cell its fill (`palette.code`), the value written in it (NaN: none), and whether that is faint."""

    fills: Codes
    values: Array
    faint: Mask


@lru_cache(maxsize=65536)
def written(value: float) -> str:
    """A number as cells hold it; "" for a blank.

    >>> [written(v) for v in (-0.5, 1 / 3, 1e9, -2e-7, float("nan"))]
    ['−0.5', '0.333', '1e9', '−2e−7', '']
    """
    text = figure(value)
    if "e" in text:
        digits, exponent = text.split("e")
        text = f"{digits}e{int(exponent)}"
    return text.replace("-", "−")


def plain(board: Array, fill: str) -> Looks:
    """One fill for all; blanks where the board has NaN."""
    blank = np.isnan(board)
    return Looks(np.where(blank, code("blank"), code(fill)), board, blank)


def heat(board: Array, most: float) -> Looks:
    """Counts, or sums of weights that are all positive, on a scale from 0 to `most`."""
    share = board / most if most else np.zeros_like(board)
    steps = np.rint(share * (HEAT - 1)).astype(np.int64)
    return Looks(code("heat0") + steps, board, np.zeros(board.shape, bool))


def weights(board: Array, written_out: bool = True) -> Looks:
    """Numbers of both signs on a scale around 0; nothing where the board has NaN."""
    values = np.nan_to_num(board)  # where all taps are cropped off, no cell of a matrix has one
    share = values / (np.abs(values).max() or 1.0)
    steps = np.minimum((np.abs(share) * SIGNED).astype(np.int64), SIGNED - 1)
    fills = np.where(share > 0, code("plus0") + steps, code("minus0") + steps)
    fills = np.where(np.isnan(board), NOTHING, np.where(share == 0, code("zero"), fills))
    return Looks(fills, board if written_out else np.full_like(board, np.nan), share == 0)


def summed(board: Array, reached: Mask, kept: Ranges, fill: str) -> Looks:
    """A sum on the full grid: its zeros faint where no copy has come yet, hatched where the crop cuts."""
    inside = within(board.shape, kept)
    fills = np.where(inside, np.where(reached, code(fill), code("blank")), code("cut"))
    return Looks(fills, board, ~(inside & reached))


def slid_over(board: Array, origin: Codes, kept: Ranges | None = None) -> Looks:
    """The input among zeros; cells outside `kept` are hatched."""
    inside = np.ones(board.shape, bool) if kept is None else within(board.shape, kept)
    by_origin = np.array([code("blank"), code("zero"), code("input")])
    return Looks(np.where(inside, by_origin[origin], code("cut")), board, ~inside | (origin != INPUT))


def within(size: tuple[int, ...], ranges: Ranges) -> Mask:
    """Which cells lie in the ranges."""
    mask = np.zeros(size, bool)
    mask[tuple(slice(max(low, 0), max(high, 0)) for low, high in ranges)] = True
    return mask
