"""The page around the boards: heading, setting, caption and progress."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..numbers import Numbers
from ..steps import Step
from . import lettering
from .layout import Grid, arrange
from .looks import written
from .painting import Painter, scaffold
from .scene import LINES, Box, Label, Scene, Shape
from .views import View

MARGIN = 22.0
HEADING = 17.0
CAPTION = 14.0
SMALL = 12.0
LINE = 1.4  # from one line of text to the next, in its size
NARROWEST = 520.0
PROGRESS = 4.0  # the height of its bar

HEADINGS = {
    "conv_transpose": {
        "scatter": "copies of the kernel, added",
        "grid": "the flipped kernel slides",
        "matrix": "the convolution's matrix, transposed",
        "overlap": "terms in each output cell",
        "gradient": "its gradients",
    },
    "conv": {
        "scatter": "where each input cell goes",
        "grid": "the kernel slides",
        "matrix": "one matrix product",
        "overlap": "terms in each output cell",
        "gradient": "its gradients",
    },
}


@dataclass(frozen=True)
class Page:
    """The page around a content of some width and height that says `words` in turn, one text a frame."""

    trace: Numbers
    view: str
    content: tuple[float, float]
    words: Sequence[str]
    numbers: Sequence[int] = ()
    """Of each frame the number of its step; none for a page of one frame."""
    least: float = NARROWEST

    @property
    def inner(self) -> float:
        """The width between the margins."""
        return max(self.content[0], self.least)

    @property
    def x(self) -> float:
        """Where the content begins."""
        return MARGIN + round((self.inner - self.content[0]) / 2)

    @property
    def y(self) -> float:
        return round(self._setting_top + len(self._setting) * CAPTION * LINE + CAPTION)

    @cached_property
    def _heading(self) -> list[str]:
        return lettering.wrap(heading(self.trace, self.view), HEADING, self.inner)

    @cached_property
    def _setting(self) -> list[str]:
        return lettering.wrap(sizes(self.trace), CAPTION, self.inner)

    @property
    def _setting_top(self) -> float:
        return MARGIN + len(self._heading) * HEADING * LINE

    def scene(self, still: Sequence[Shape], frames: Sequence[Sequence[Shape]]) -> Scene:
        """The scene of shapes that were placed from (`x`, `y`) on, with a bar that shows how far a frame is."""
        count = len(frames)
        last = max(self.numbers, default=0)
        below = [[line for part in text.split("\n") for line in self._wrap(part)] for text in self.words]
        top = self.y + self.content[1] + 1.2 * CAPTION
        bar_top = round(top + max(map(len, below), default=0) * CAPTION * LINE + 0.6 * CAPTION)
        bar = self.inner - lettering.width(f"{last} / {last}", SMALL) - 10
        fixed = _lines(self._heading, MARGIN, HEADING) + _lines(self._setting, self._setting_top, CAPTION, "faint")
        if count > 1:
            fixed.append(Box(MARGIN, bar_top, round(bar), PROGRESS, "zero"))
        whole: list[tuple[Shape, ...]] = []
        for index, (shapes, lines) in enumerate(zip(frames, below, strict=True)):
            words = _lines(lines, top, CAPTION)
            if count > 1:
                words.append(Box(MARGIN, bar_top, round((index + 1) / count * bar), PROGRESS, "accent", layer=LINES))
                place = MARGIN + self.inner, bar_top + PROGRESS
                words.append(Label(*place, f"{self.numbers[index]} / {last}", SMALL, "faint", "end"))
            whole.append((*shapes, *words))
        if count > 1:
            bottom = bar_top + PROGRESS
        else:
            bottom = bar_top - 0.6 * CAPTION if any(below) else self.y + round(self.content[1])
        size = round(self.inner + 2 * MARGIN), round(bottom + MARGIN)
        captions = tuple(" ".join(text.split()) for text in self.words)
        return Scene(*size, title(self.trace, self.view), captions, (*fixed, *still), tuple(whole))

    def _wrap(self, text: str) -> list[str]:
        return lettering.wrap(text, CAPTION, self.inner)


def steps(view: View, most: float | None = None) -> Scene:
    """A frame for each step, up to `most` wide if its grids are not wider."""
    inner = None if most is None else most - 2 * MARGIN
    lines = [tuple(view.line(step)) for step in view.steps]
    placed = {
        line: arrange(view.items(step), inner) for line, step in dict(zip(lines, view.steps, strict=True)).items()
    }
    numbers = [step.number for step in view.steps]
    width = max(width for _, width, _ in placed.values())
    height = max(height for _, _, height in placed.values())
    words = [said(step) for step in view.steps]
    page = Page(view.trace, view.name, (width, height), words, numbers, NARROWEST if inner is None else inner)
    painters: dict[tuple[str, ...], dict[str, Painter]] = {}
    scaffolds: dict[tuple[str, ...], list[Shape]] = {}
    for line, (items, own_width, own_height) in placed.items():
        x, y = page.x + round((width - own_width) / 2), page.y + round((height - own_height) / 2)
        there = [item.at(item.x + x, item.y + y) for item in items]
        scaffolds[line] = [shape for item in there for shape in scaffold(item)]
        pairs = zip(line, there, strict=True)
        painters[line] = {name: Painter(item) for name, item in pairs if isinstance(item, Grid)}
    frames = []
    for line, step in zip(lines, view.steps, strict=True):
        cells = (view.draw(step, name, painter) for name, painter in painters[line].items())
        frames.append([*scaffolds[line], *itertools.chain.from_iterable(cells)])
    return page.scene((), frames)


def said(step: Step) -> str:
    """The words of a step, the equation on a line of its own."""
    return "\n".join(filter(None, (typeset(step.caption), step.equation)))


def typeset(text: str) -> str:
    """Text with minus signs before its negative numbers.

    >>> print(typeset("cell (0, 1) is -2.5: one-way"))
    cell (0, 1) is −2.5: one-way
    """
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def title(trace: Numbers, view: str) -> str:
    """The title of a picture, in one line.

    >>> from unstride.explainer import explain
    >>> print(title(explain([[1, 2]], [[1, 2, 3]], stride=(1, 2)), "grid"))
    Transposed convolution: the flipped kernel slides (input 1 × 2, kernel 1 × 3, stride (1, 2) → output 1 × 5)
    """
    return f"{heading(trace, view)} ({sizes(trace)})"


def heading(trace: Numbers, view: str) -> str:
    return f"{trace.title}: {HEADINGS[trace.op][view]}"


def sizes(trace: Numbers) -> str:
    """The sizes and the geometry, in words."""
    geometry = trace.geometry
    parts = [f"input {_size(trace.input.shape)}", f"kernel {_size(trace.kernel.shape)}"]
    parts.append(f"stride {_short(geometry.stride)}")
    if any(crop != (0, 0) for crop in geometry.crops):
        parts.append(f"padding {_short([b if b == e else (b, e) for b, e in geometry.crops])}")
    if set(geometry.dilation) != {1}:
        parts.append(f"dilation {_short(geometry.dilation)}")
    if trace.bias is not None:
        parts.append(f"bias {written(trace.bias)}")
    return f"{', '.join(parts)} → output {_size(trace.output_size)}"


def _size(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape)) if len(shape) > 1 else f"of {shape[0]}"


def _short(values: Sequence[object]) -> str:
    """One value if all axes have the same."""
    text = str(values[0]) if len(set(values)) == 1 else str(tuple(values))
    return text.replace("-", "−")


def _lines(lines: Sequence[str], top: float, size: float, ink: str = "ink") -> list[Shape]:
    return [
        Label(MARGIN, round(top + (number + 1) * size * LINE - 0.4 * size), line, size, ink, "start")
        for number, line in enumerate(lines)
    ]
