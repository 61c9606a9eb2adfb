"""From cells to shapes: fills, numbers, lines, frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..pairs import Array, Cell
from . import lettering
from .layout import TITLE, Grid, Item, Sign
from .looks import Looks, written
from .palette import ROLES, ink_on
from .scene import FRAMES, LINES, OVERLAYS, Box, Label, Lines, Shape

SMALLEST_LINED = 7.0  # smaller cells have no lines between them
FRAME = 2.5  # how thick the frames around cells at work are
INKS = (*((ink_on(role), ink_on(role, faint=True)) for role in ROLES), ("ink", "faint"))  # the last where no fill is


def scaffold(item: Item) -> list[Shape]:
    """The parts that do not depend on the cells: titles, names of slices, lines, signs."""
    if isinstance(item, Sign):
        baseline = item.y + (item.size + lettering.CAPITAL * item.size) / 2
        return [Label(item.x + item.width / 2, baseline, item.text, item.size)]
    shapes: list[Shape] = []
    if item.title:
        shapes.append(Label(item.x + item.width / 2, item.y + TITLE, item.title, TITLE))
    for number, (first, last) in enumerate(item.faces()):
        if item.slices > 1:
            x, y, _, _ = item.span(first, last)
            shapes.append(Label(x, y - 0.6 * TITLE, f"slice {number}", TITLE - 1, "faint", "start"))
        for top, bottom in _blocks(item.rows, item.blocks[-2]):
            for left, right in _blocks(item.columns, item.blocks[-1]):
                corners = [
                    (*first[:-2], row, column)[-len(item.size) :] for row, column in ((top, left), (bottom, right))
                ]
                shapes += _mesh(item, item.span(corners[0], corners[1]))
    return shapes


def _mesh(grid: Grid, box: tuple[float, float, float, float]) -> list[Shape]:
    x, y, width, height = box
    across, down = round(width / grid.cell[0]), round(height / grid.cell[1])
    lines = [((x + n * grid.cell[0], y), (x + n * grid.cell[0], y + height)) for n in range(1, across)]
    lines += [((x, y + n * grid.cell[1]), (x + width, y + n * grid.cell[1])) for n in range(1, down)]
    edge = Box(x, y, width, height, "", "edge", 1.0, layer=LINES)
    if not lines or min(grid.cell) < SMALLEST_LINED:
        return [edge]
    return [Lines(tuple(lines), "line", 1.0), edge]


def _blocks(count: int, block: int) -> list[tuple[int, int]]:
    step = block or count
    return [(start, min(start + step, count) - 1) for start in range(0, count, step)]


class Painter:
    """Paints the cells of a placed grid. Equal shapes are the same object, in whatever frame."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.kept: dict[str, tuple[Array, list[Shape]]] = {}  # the last shapes of each board
        self._cells: list[Cell] = list(np.ndindex(*grid.size))
        self._labels: dict[tuple[int, float, str], Label] = {}
        self._boxes: dict[Box, Box] = {}

    def paint(self, looks: Looks) -> list[Shape]:
        """The cells' fills, of neighbours along a line that are alike in one, and their numbers."""
        shapes: list[Shape] = list(self._fills(looks))
        if not self.grid.letters:
            return shapes
        faint, fills = looks.faint.ravel().tolist(), looks.fills.ravel().tolist()
        for number, value in enumerate(looks.values.ravel().tolist()):
            if value == value:
                ink = INKS[fills[number]][faint[number]]
                key = (number, value, ink)
                shapes.append(self._labels.get(key) or self._label(key))
        return shapes

    def _label(self, key: tuple[int, float, str]) -> Label:
        number, value, ink = key
        x, y, width, height = self.grid.box(self._cells[number])
        size = self.grid.letters
        label = Label(x + width / 2, y + (height + lettering.CAPITAL * size) / 2, written(value), size, ink)
        self._labels[key] = label
        return label

    def _fills(self, looks: Looks) -> Iterator[Box]:
        upright = self.grid.columns == 1 and self.grid.slices == 1  # a column is one run downwards
        columns = looks.fills.size if upright else self.grid.columns
        rows = looks.fills.reshape(-1, columns)
        for row, fills in enumerate(rows):
            ends = np.flatnonzero(np.diff(fills)) + 1
            block = self.grid.blocks[-2 if upright else -1]
            if block:
                ends = np.union1d(ends, np.arange(block, columns, block))
            for start, stop in zip([0, *ends.tolist()], [*ends.tolist(), columns], strict=True):
                if fills[start] >= 0:
                    first, last = self._cells[row * columns + start], self._cells[row * columns + stop - 1]
                    role = ROLES[fills[start]]
                    yield self._same(Box(*self.grid.span(first, last), role, hatched=role == "cut"))

    def _same(self, box: Box) -> Box:
        return self._boxes.setdefault(box, box)

    def tint(self, cells: Sequence[Cell], fill: str) -> list[Shape]:
        """Another fill for some cells, over their own."""
        return [self._same(Box(*self.grid.span(low, high), fill, layer=OVERLAYS)) for low, high in _rectangles(cells)]

    def mark(self, cells: Sequence[Cell]) -> list[Shape]:
        """A frame around cells if they fill a rectangle, otherwise one around each; around all of them if the cells
        are too small for numbers, so that it does not cover them."""
        if not self.grid.letters:
            x, y, width, height = self.grid.span(*_bounds(cells))
            return [self._same(Box(x - 2, y - 2, width + 4, height + 4, "", "frame", 1.0, layer=FRAMES))]
        return [
            self._same(Box(*self.grid.span(low, high), "", "frame", FRAME, layer=FRAMES))
            for low, high in _rectangles(cells)
        ]

    def outline(self, low: Cell, high: Cell) -> list[Shape]:
        """A dashed frame around the cells from `low` to `high`, in every slice that they reach."""
        shapes: list[Shape] = []
        for number in range(low[0], high[0] + 1) if len(low) == 3 else [0]:
            first, last = ((number, *low[1:]), (number, *high[1:])) if len(low) == 3 else (low, high)
            x, y, width, height = self.grid.span(first, last)
            box = Box(x - 1, y - 1, width + 2, height + 2, "", "accent", 2.0, dashed=True, layer=FRAMES)
            shapes.append(self._same(box))
        return shapes


def _bounds(cells: Sequence[Cell]) -> tuple[Cell, Cell]:
    axes = list(zip(*cells, strict=True))
    return tuple(map(min, axes)), tuple(map(max, axes))


def _rectangles(cells: Sequence[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """The cells as one rectangle for each slice, if they fill it; else one by one."""
    slices: dict[Cell, list[Cell]] = {}
    for cell in cells:
        slices.setdefault(cell[:1] if len(cell) == 3 else (), []).append(cell)
    for members in slices.values():
        low, high = _bounds(members)
        if math.prod(b - a + 1 for a, b in zip(low, high, strict=True)) == len(set(members)):
            yield low, high
        else:
            yield from ((cell, cell) for cell in members)
