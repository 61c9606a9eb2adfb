"""Where things go: grids of cells with a title over each, signs between them, in rows that make a good page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..pairs import Cell
from . import lettering

TITLE = 13.0  # size of the letters over a grid
SIGN = 20.0
GAP = 18.0  # between things in a row
BETWEEN = 22.0  # between rows
ABOVE = 2.0 * TITLE  # height of the title
LARGEST = 1300  # pixels along a side of a grid that holds a matrix
LIKED = 1.7  # width over height of a page
WORDS = 170.0  # height of heading and caption


@dataclass(frozen=True)
class Grid:
    """Where the cells of an array of one to three axes are drawn; three are drawn as slices of the first.

    `room` is space around it, in cells (before, after) an axis, for frames that reach beyond it. `blocks` are how many
    rows and columns stand together before a gap (0: all).
    """

    size: Cell
    cell: tuple[float, float]  # width and height
    letters: float
    title: str = ""
    room: tuple[tuple[int, int], ...] = ()
    blocks: tuple[int, int] = (0, 0)
    x: float = 0.0  # of the upper left corner of the space that it takes, title included
    y: float = 0.0

    def at(self, x: float, y: float) -> Grid:
        return replace(self, x=x, y=y)

    @property
    def slices(self) -> int:
        return self.size[0] if len(self.size) == 3 else 1

    @property
    def rows(self) -> int:
        return self.size[-2] if len(self.size) > 1 else 1

    @property
    def columns(self) -> int:
        return self.size[-1]

    @property
    def across(self) -> int:
        """The number of slices side by side: full rows, unless they are too long."""
        count = self.slices
        root = math.sqrt(count)
        full = [n for n in range(math.ceil(root), int(2 * root) + 1) if count % n == 0]
        return full[0] if full else math.ceil(1.2 * root)

    def _room(self, axis: int) -> tuple[int, int]:
        return self.room[axis] if len(self.room) >= -axis else (0, 0)

    def _offset(self, index: int, axis: int) -> float:
        """How far cell `index` of the rows (axis -2) or columns (-1) is from the first."""
        block = self.blocks[axis]
        return index * self.cell[-1 - axis] + (index // block * self._block_gap if block else 0)

    @property
    def _block_gap(self) -> float:
        return 4 if min(self.cell) > 10 else 1

    def _length(self, axis: int) -> float:
        count = self.columns if axis == -1 else self.rows
        before, after = self._room(axis)
        return self._offset(count - 1, axis) + (1 + before + after) * self.cell[-1 - axis]

    @property
    def _slice_step(self) -> tuple[float, float]:
        return self._length(-1) + GAP, self._length(-2) + ABOVE

    @property
    def width(self) -> float:
        return max(self._inner_width, lettering.width(self.title, TITLE))

    @property
    def _inner_width(self) -> float:
        across, step = self.across, self._slice_step
        body = across * step[0] - GAP
        return max(body, lettering.width("slice 00", TITLE) + (across - 1) * step[0] if self.slices > 1 else 0)

    @property
    def above(self) -> float:
        return ABOVE if self.title else 0.0

    @property
    def body(self) -> float:
        """The height below the title."""
        down = -(-self.slices // self.across)
        return down * self._slice_step[1] - (ABOVE if self.slices == 1 else 0)

    def box(self, index: Cell) -> tuple[float, float, float, float]:
        """x, y, width and height of a cell, which may lie outside the grid, in its room."""
        number = index[0] if len(self.size) == 3 else 0
        row = index[-2] if len(self.size) > 1 else 0
        step = self._slice_step
        left = self.x + (self.width - self._inner_width) / 2 + number % self.across * step[0]
        top = self.y + self.above + number // self.across * step[1] + (ABOVE if self.slices > 1 else 0)
        width, height = self.cell
        x = left + self._room(-1)[0] * width + self._offset(index[-1], -1)
        y = top + self._room(-2)[0] * height + self._offset(row, -2)
        return x, y, width, height

    def span(self, low: Cell, high: Cell) -> tuple[float, float, float, float]:
        """The box of all cells from `low` to `high`, both in one slice."""
        x, y, _, _ = self.box(low)
        right, bottom, width, height = self.box(high)
        return x, y, right + width - x, bottom + height - y

    def faces(self) -> Iterator[tuple[Cell, Cell]]:
        """The first and the last cell of each slice."""
        for number in range(self.slices):
            prefix = (number,) if len(self.size) == 3 else ()
            middle = len(self.size) > 1
            yield (*prefix, *(0,) * middle, 0), (*prefix, *(self.rows - 1,) * middle, self.columns - 1)


@dataclass(frozen=True)
class Sign:
    """An operator between grids; a row may begin with it."""

    text: str
    size: float = SIGN
    ink: str = "ink"
    x: float = 0.0
    y: float = 0.0

    above = 0.0

    def at(self, x: float, y: float) -> Sign:
        return replace(self, x=x, y=y)

    @property
    def width(self) -> float:
        return lettering.width(self.text, self.size)

    @property
    def body(self) -> float:
        return self.size


Item = Grid | Sign


def arrange(items: Sequence[Item], most: float | None = None) -> tuple[list[Item], float, float]:
    """The items placed in rows of good proportions, and their total width and height.

    No row is wider than `most`, unless a single grid is.
    """
    longest = math.inf if most is None else most + GAP
    limits = sorted({min(longest, sum(item.width + GAP for item in items[:n])) for n in range(1, len(items) + 1)})
    tries = [_rows(items, limit, early) for limit in limits for early in (False, True)]
    return _placed(min(tries, key=_ugliness))


def _ugliness(rows: Sequence[Sequence[Item]]) -> float:
    _, width, height = _placed(rows)
    broken = sum(isinstance(row[0], Grid) for row in rows[1:])  # rows that go on in the midst of something
    return max(width / LIKED, height + WORDS) * (1 + 0.3 * broken)


def _rows(items: Sequence[Item], limit: float, early: bool) -> list[list[Item]]:
    """Rows of up to `limit`; with `early` also a new one for each "→"."""
    rows: list[list[Item]] = [[]]
    used = 0.0
    for part in _parts(items):
        width = sum(item.width + GAP for item in part)
        arrow = early and isinstance(part[0], Sign) and part[0].text == "→"
        if rows[-1] and (arrow or used + width > limit + 1e-6):
            rows.append([])
            used = 0.0
        rows[-1] += part
        used += width
    return rows


def _parts(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Groups that stay in one row: a sign and the grid after it."""
    part: list[Item] = []
    for item in items:
        part.append(item)
        if isinstance(item, Grid):
            yield part
            part = []
    if part:
        yield part


def _placed(rows: Sequence[Sequence[Item]]) -> tuple[list[Item], float, float]:
    """Rows below each other, each in the middle."""
    placed: list[Item] = []
    widths = [sum(item.width + GAP for item in row) - GAP for row in rows]
    y = 0.0
    for number, (row, width) in enumerate(zip(rows, widths, strict=True)):
        above, body = max(item.above for item in row), max(item.body for item in row)
        x = (max(widths) - width) / 2
        for item in row:
            placed.append(item.at(round(x), round(y + above - item.above + (body - item.body) / 2)))
            x += item.width + GAP
        y += above + body + (BETWEEN if number < len(rows) - 1 else 0)
    return placed, math.ceil(max(widths)), math.ceil(y)


def cell_for(texts: Iterable[str], longest: int) -> tuple[tuple[float, float], float]:
    """The size of cells that hold the texts, and of their letters, for grids of up to `longest` cells a side."""
    letters = next(size for most, size in ((6, 16.0), (10, 14.0), (16, 12.0), (math.inf, 11.0)) if longest <= most)
    widest = max((lettering.width(text, letters) for text in texts), default=0)
    width = max(round(2.1 * letters), math.ceil(widest + 0.6 * letters))
    return (width, max(round(2.1 * letters), round(0.7 * width))), letters


def cell_within(texts: Iterable[str], rows: int, columns: int) -> tuple[tuple[float, float], float]:
    """The same for a large grid, which is to stay within `LARGEST`: with letters of size 0, if its texts do not fit."""
    widest = max((lettering.ems(text) for text in texts), default=0)
    for letters in (14.0, 12.0, 11.0, 10.0, 9.0):
        height = round(1.7 * letters)
        width = max(height, math.ceil((widest + 0.6) * letters))
        if max(columns * width, rows * height) <= LARGEST:
            return (width, height), letters
    side = max(2, min(10, LARGEST // max(rows, columns)))
    return (side, side), 0.0
