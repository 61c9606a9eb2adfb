"""Tables of numbers for a terminal: aligned, side by side, wrapped to a width; with ANSI colours on request."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .._messages.wording import wrapped
from .figures import figure
from .pairs import Array, Cell

Style = Callable[[Cell], str]
"""The ANSI codes ("1;36") of a cell; none where it is empty."""

BOLD, DIM, REVERSE = "1", "2", "7"
BACKGROUND = "48;"  # the beginning of a style with a background
NARROWEST = 20  # below this no table is drawn narrower


@dataclass(frozen=True)
class Block:
    """Lines that stay together; `width` is the visible width of each; all are alike."""

    lines: tuple[str, ...]
    width: int


@dataclass(frozen=True)
class Figures:
    """Figures of equal width, their points below one another: for all tables that are to look alike."""

    before: int
    after: int

    @classmethod
    def of(cls, arrays: Iterable[Array]) -> Figures:
        texts = {figure(v) for array in arrays for v in np.unique(array[~np.isnan(array)]).tolist()}
        parts = [cls._parts(text) for text in texts] or [(1, 0)]
        return cls(max(before for before, _ in parts), max(after for _, after in parts))

    @staticmethod
    def _parts(text: str) -> tuple[int, int]:
        whole, point, rest = text.partition(".")
        return len(whole), len(point + rest)

    @property
    def width(self) -> int:
        return self.before + self.after

    def write(self, value: float) -> str:
        text = figure(value)
        before, _ = self._parts(text)
        return (" " * (self.before - before) + text).ljust(self.width)


def paint(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if style and text else text


def tables(
    array: Array,
    title: str,
    width: int,
    *,
    figures: Figures | None = None,
    active: Collection[Cell] = (),
    style: Style | None = None,
    color: bool = False,
) -> list[Block]:
    """A grid as framed tables: one; one for each slice in 3-D; several with some columns each where it is too wide.

    The active cells are in reverse video, or in brackets where there is no colour.
    """
    figures = figures or Figures.of([array])
    blocks = []
    for outer in np.ndindex(array.shape[:-2]):
        rows = array[outer] if array.ndim > 1 else array[None]
        brackets = bool(active) and not color
        room = max(width, NARROWEST) - 4 + (1 - brackets)
        count = max(room // (figures.width + 1 + brackets), 1)
        for first in range(0, rows.shape[1], count):
            columns = range(first, min(first + count, rows.shape[1]))
            words = [title]
            if outer:
                words.append(f"slice {outer[0]}")
            if len(columns) < rows.shape[1]:
                words.append(f"columns {columns[0]}" + (f"–{columns[-1]}" if len(columns) > 1 else ""))
            prefix = (*outer,) if array.ndim > 1 else ()
            cells = [[(*prefix, r, c) if array.ndim > 1 else (c,) for c in columns] for r in range(len(rows))]
            blocks.append(_table(array, cells, ", ".join(words), max(width, NARROWEST), figures, active, style, color))
    return blocks


def _table(
    array: Array,
    cells: list[list[Cell]],
    title: str,
    room: int,
    figures: Figures,
    active: Collection[Cell],
    style: Style | None,
    color: bool,
) -> Block:
    brackets = bool(active) and not color

    def written(cell: Cell) -> str:
        text = figures.write(float(array[cell]))
        if brackets:
            return f"[{text}]" if cell in active else f" {text} "
        if filled and style:
            return paint(f" {text}", style(cell))
        if color:
            return paint(text, REVERSE if cell in active else style(cell) if style and text.strip() else "")
        return text

    filled = color and style is not None and style(cells[0][0]).startswith(BACKGROUND)  # without gaps: a picture
    edge, gap = ("", "") if brackets else (" ", "" if filled else " ")
    inner = len(cells[0]) * (figures.width + 2) if brackets else len(cells[0]) * (figures.width + 1) + 1
    frame = [
        f"┌{'─' * inner}┐",
        *(f"│{'' if filled else edge}{gap.join(map(written, row))}{edge}│" for row in cells),
        f"└{'─' * inner}┘",
    ]
    titles = [title] if len(title) <= max(room, inner + 2) else textwrap.wrap(title, max(room, inner + 2))
    width = max(inner + 2, *map(len, titles))
    heads = [(paint(line, BOLD) if color else line) + " " * (width - len(line)) for line in titles]
    lines = [*heads, *(line + " " * (width - inner - 2) for line in frame)]
    return Block(tuple(lines), width)


def flow(items: Sequence[Block | str], width: int, color: bool = False) -> str:
    """Blocks from left to right, as many as fit, with the signs (strings) between them; a sign stays with the block
    that follows it, and where several lines are needed the tables stand in line below one another."""
    pieces: list[list[Block]] = [[]]
    for item in items:
        if isinstance(item, str):
            pieces[-1].append(_sign(item, color))
        else:
            pieces[-1].append(item)
            pieces.append([])
    pieces.pop()
    gaps = [1 if len(piece) > 1 else 3 for piece in pieces]  # before a sign, and between two tables
    one_line = sum(map(_width, pieces)) + sum(gaps[1:]) <= width
    margin = 2 if not one_line and 1 in gaps else 0  # the width of a sign before a table
    rows: list[list[Block]] = [[]]
    used = 0
    for piece, gap in zip(pieces, gaps, strict=True):
        need = _width(piece) + (gap if rows[-1] else 0)
        if rows[-1] and used + need > width:
            rows.append([])
            used = 0
            need = _width(piece)
        if margin and gap == 3 and not rows[-1]:
            rows[-1].append(_sign(" ", False))
            need += margin
        used += need
        rows[-1] += piece
    return "\n".join(_beside(row) for row in rows)


def _width(row: list[Block]) -> int:
    return sum(block.width for block in row) + len(row) - 1


def _sign(text: str, color: bool) -> Block:
    return Block((paint(text, DIM) if color else text,), len(text))


def _beside(row: list[Block]) -> str:
    heights = [len(block.lines) for block in row]
    columns: list[list[str]] = []
    for place, block in enumerate(row):
        lines = [*block.lines]
        if heights[place] == 1:  # a sign: in the middle of the lower table next to it, below its title
            height = min(h for h in heights[max(place - 2, 0) : place + 3] if h > 1)
            lines = [" " * block.width] * (height // 2) + lines
        elif place and heights[place - 1] > 1:  # two tables with no sign between
            columns.append([" "] * max(heights))
        columns.append(lines + [" " * block.width] * (max(heights) - len(lines)))
    return "\n".join(" ".join(parts).rstrip() for parts in zip(*columns, strict=True))


def paragraph(text: str, width: int, hanging: str = "") -> str:
    """Wrapped; the lines after the first begin with `hanging`."""
    return wrapped(text, max(width, NARROWEST), hanging)
