"""The boards that each view shows of a step, in reading order, and how their cells look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ... import reference
from ..numbers import Numbers
from ..pairs import Array
from ..steps import BOARDS, Step, ready, steps
from . import looks
from .layout import Grid, Item, Sign, cell_for, cell_within
from .looks import Looks, Mask, Ranges
from .painting import Painter
from .scene import Shape

FILLS = {
    "copy": "copy",
    "kernel": "kernel",
    "flipped": "kernel",
    "kernel_gradient": "kernel",
    "upstream": "upstream",
    "bias_gradient": "sum",
    "output": "output",
    "output_column": "output",
}
"""The fill of a board's cells, "input" if it is not named here; with "-now" for active cells."""

FEW = 4.0  # the least end of the scale of counts, so that small counts look small
COLUMN = 14  # the width of a column whose numbers are not written
GRADIENTS = ("input_gradient", "kernel_gradient", "bias_gradient")
TITLES = {**BOARDS, "bias_gradient": "gradient of the bias", "copy": "this copy", "sum": "sum so far"}


def fill_of(name: str) -> str:
    return FILLS.get(name, "input")


class View:
    """The steps of one view of a trace, as boards; with `begins` from step 0 on, where nothing is done yet."""

    def __init__(self, trace: Numbers, name: str, begins: bool = False) -> None:
        self.trace = trace
        self.name = name
        self.steps = (ready(trace, name), *steps(trace, name)) if begins else steps(trace, name)

    # The line of boards

    def line(self, step: Step) -> Sequence[str]:
        """Names of boards, and signs, in the order to read."""
        names = list(step.boards)
        if step.kind == "copy":
            return ["input", "×", "kernel", "=", "copy", "→", "sum"]
        if step.kind == "window":
            return [names[0], "×", names[1], "→", "output"]
        if step.kind == "row":
            return ["matrix", "×", "input_column", f"{self._plus_bias}=", "output_column"]
        if step.kind == "bias":
            return ["sum", f"{self._plus_bias}=", "output"]
        if step.kind == "count":
            return ["input", "→", "copy", "→", "overlap"]
        if step.kind == "evenness":
            return names
        if self.name == "gradient":
            return ["upstream", "kernel", "input", "→", *GRADIENTS]
        return [names[0], "→", *names[1:]]

    @property
    def _plus_bias(self) -> str:
        if self.trace.bias is None:
            return ""
        text = looks.written(abs(self.trace.bias))
        return f"{'−' if self.trace.bias < 0 else '+'} {text} "

    def board(self, step: Step, name: str) -> Array:
        """The values of a board after a step."""
        if name in step.boards:
            return step.boards[name]
        if name in GRADIENTS:
            whole, blank = self._gradients[name]
            return whole if GRADIENTS.index(step.kind) >= GRADIENTS.index(name) else blank
        board: Array = getattr(self.trace, name)
        return board

    @cached_property
    def _gradients(self) -> dict[str, tuple[Array, Array]]:
        """Each gradient, and its grid while it is not yet computed."""
        wholes = {name: np.atleast_1d(np.asarray(getattr(self.trace, name), np.float64)) for name in GRADIENTS}
        return {name: (whole, np.full_like(whole, np.nan)) for name, whole in wholes.items()}

    # How big

    @cached_property
    def cell(self) -> tuple[tuple[float, float], float]:
        """The size of the cells, and of their letters: one for all boards of the view."""
        boards = [self.board(step, name) for step in self.steps for name in self.line(step) if name in TITLES]
        distinct = {id(board): board for board in boards}.values()
        values = np.unique(np.concatenate([board.ravel() for board in distinct]))
        texts = [looks.written(value) for value in values.tolist()]
        if self.name == "matrix":
            return cell_within(texts, *self.trace.matrix.shape)
        return cell_for(texts, max(max(board.shape) for board in distinct))

    def items(self, step: Step) -> list[Item]:
        """The line of a step, to be placed."""
        return [self.grid(step, part) if part in TITLES else Sign(part) for part in self.line(step)]

    def grid(self, step: Step, name: str, title: str | None = None) -> Grid:
        size = self.board(step, name).shape
        if title is None:
            title = self._title(step, name)
            title += f", {' × '.join(map(str, size))}" if name != "bias_gradient" else ""
        (width, height), letters = self.cell
        if name.endswith("column") and not letters:
            width = COLUMN
        return Grid(size, (width, height), letters, title, self._room(step, name), self._blocks(name))

    def _title(self, step: Step, name: str) -> str:
        title = TITLES[name]
        if step.kind == "evenness" and name == "overlap":
            title = "terms in each cell"
        elif (step.kind, name) == ("bias", "sum") or ((step.kind, name) == ("crop", "output") and self._plus_bias):
            title = "before the bias"
        return title[0].upper() + title[1:]

    def _blocks(self, name: str) -> tuple[int, int]:
        """The rows and the columns of the matrix that belong to one row of the output and of the input."""
        if self.trace.rank == 1:
            return 0, 0
        rows, columns = self.trace.output_size[-1], self.trace.input.shape[-1]
        return {"matrix": (rows, columns), "input_column": (columns, 0), "output_column": (rows, 0)}.get(name, (0, 0))

    def _room(self, step: Step, name: str) -> tuple[tuple[int, int], ...]:
        """Space for the frame of an output that is larger than the full grid."""
        if not self._on_full_grid(step, name):
            return ()
        return tuple((max(-b, 0), max(-e, 0)) for b, e in self.trace.crops)

    # How it looks

    def draw(self, step: Step, name: str, painter: Painter, marked: bool = True) -> list[Shape]:
        """The cells of a board after a step, and its marks."""
        board = self.board(step, name)
        if name not in painter.kept or painter.kept[name][0] is not board:
            shapes = painter.paint(self.looks(step, name, board))
            if self._on_full_grid(step, name) and self.cropped:
                low, high = zip(*((start, stop - 1) for start, stop in self.trace.kept), strict=True)
                shapes += painter.outline(low, high)
            painter.kept[name] = board, shapes
        shapes = painter.kept[name][1]
        return [*shapes, *self.marks(step, name, painter)] if marked else shapes

    def looks(self, step: Step, name: str, board: Array) -> Looks:
        if self._on_full_grid(step, name):
            reached = self._reached[step.index if step.kind == "copy" else -1] & (step.number > 0)
            return looks.summed(board, reached, self.trace.kept, "sum" if name == "sum" else "output")
        if self.name == "overlap" and name not in ("input", "copy"):
            if (board < 0).any():
                return looks.weights(board)
            most = max(float(self.trace.overlap.max()), FEW) if name == "overlap" else float(board.max())
            return looks.heat(board, max(most, 3.0) if name == "uniform" else most)
        if name in ("spaced", "extended"):
            return looks.slid_over(board, self._origins[name], self._survives if name == "spaced" else None)
        if name == "matrix":
            return looks.weights(board)
        if name == "sum":  # a convolution's, or the output before its bias
            return looks.plain(board, "sum" if step.kind == "copy" else "output")
        return looks.plain(board, fill_of(name))

    def marks(self, step: Step, name: str, painter: Painter) -> list[Shape]:
        """The active cells: brighter, with a frame."""
        cells = step.active.get(name, ())
        if not cells or name == "copy" or step.kind in ("crop", "bias", "spaced", "extended"):
            return []
        if len(cells) == math.prod(painter.grid.size) > 1 and name in ("kernel", "upstream"):
            return []
        if name in ("overlap", "matrix"):
            return painter.mark(cells)
        fill, lit = f"{fill_of(name)}-now", cells
        if name == "sum":
            fill = "output-now"
            if self._on_full_grid(step, name):
                mask = looks.within(self.trace.full_size, self.trace.kept)
                lit = tuple(cell for cell in cells if mask[cell])
        if name == "extended":
            lit = tuple(cell for cell in cells if self._origins[name][cell] == looks.INPUT)
        if name in ("kernel", "flipped", "input_column") and len(cells) > 1:
            return painter.tint(lit, fill)
        return [*painter.tint(lit, fill), *painter.mark(cells)]

    # Where the cells come from

    def _on_full_grid(self, step: Step, name: str) -> bool:
        """Whether a board is the full grid, which the crop has still to cut."""
        return self.trace.transposed and (name == "full" or (name == "sum" and step.kind == "copy"))

    @cached_property
    def _reached(self) -> Mask:
        """After each copy, where any has come to."""
        come: Mask = np.logical_or.accumulate(~np.isnan(self.trace.copies), axis=0)
        return come

    @property
    def cropped(self) -> bool:
        """Whether the output is not all of the full grid, or more than it."""
        return any(crop != (0, 0) for crop in self.trace.crops)

    @property
    def _survives(self) -> Ranges:
        """The cells of `spaced` that are not cut off where the extension is negative."""
        sizes = self.trace.spaced.shape
        return tuple((max(-b, 0), n - max(-e, 0)) for n, (b, e) in zip(sizes, self.trace.extension, strict=True))

    @cached_property
    def _origins(self) -> dict[str, NDArray[np.int64]]:
        trace = self.trace
        spaced = np.full(trace.spaced.shape, looks.BETWEEN, np.int64)
        steps = trace.geometry.stride if trace.transposed else (1,) * trace.rank
        spaced[tuple(slice(None, None, s) for s in steps)] = looks.INPUT
        return {"spaced": spaced, "extended": reference.crop(spaced, [(-b, -e) for b, e in trace.extension])}
