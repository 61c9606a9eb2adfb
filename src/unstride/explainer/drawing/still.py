"""All of a view in one still picture, for print: the reading's row of tables, for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..figures import cell_name
from ..settings import size_formula
from ..steps import Step
from . import looks
from .layout import Grid, Item, Sign, arrange
from .page import Page, typeset
from .painting import Painter, scaffold
from .scene import Scene, Shape
from .views import View

MOST = 16  # steps that are all drawn, if their grids are not large; of more, some
MOST_CELLS = 2000  # in the grids of those


class Panel(NamedTuple):
    """Something on the page, and how its cells are drawn once it is placed."""

    item: Item
    draw: Callable[[Painter], list[Shape]] | None = None


def whole(view: View) -> Scene:
    """One frame that shows all of a view."""
    panels = list(_PANELS[view.name](view))
    items, width, height = arrange([panel.item for panel in panels])
    page = Page(view.trace, view.name, (width, height), [_words(view)])
    shapes: list[Shape] = []
    for panel, item in zip(panels, items, strict=True):
        there = item.at(item.x + page.x, item.y + page.y)
        shapes += scaffold(there)
        if panel.draw is not None and isinstance(there, Grid):
            shapes += panel.draw(Painter(there))
    return page.scene((), [shapes])


def _panel(view: View, step: Step, name: str, title: str | None = None, marked: bool = False) -> Panel:
    return Panel(view.grid(step, name, title), lambda painter: view.draw(step, name, painter, marked))


def _line(view: View, step: Step) -> Iterator[Panel]:
    """All that a step shows, with nothing marked."""
    for part, item in zip(view.line(step), view.items(step), strict=True):
        yield _panel(view, step, part) if isinstance(item, Grid) else Panel(item)


def _some(steps: Sequence[Step], board: str) -> Iterator[tuple[Step | None, int]]:
    """The steps that are drawn; None, and how many, where some are left out."""
    most = min(MOST, max(3, MOST_CELLS // steps[0].boards[board].size))
    if len(steps) <= most:
        yield from ((step, 0) for step in steps)
        return
    first = most // 2
    yield from ((step, 0) for step in steps[:first])
    yield None, len(steps) - first - 1
    yield steps[-1], 0


def _scatter(view: View) -> Iterator[Panel]:
    copies = [step for step in view.steps if step.kind == "copy"]
    yield _panel(view, copies[0], "input")
    yield Panel(Sign("×"))
    yield _panel(view, copies[0], "kernel")
    sign = "="
    for step, left_out in _some(copies, "copy"):
        yield Panel(Sign(sign))
        sign = "+"
        if step is None:
            yield Panel(Sign(f"{left_out} more"))
        else:
            assert step.cell is not None  # a copy belongs to an input cell
            value = looks.written(float(view.trace.input[step.cell]))
            title = f"{value} × kernel" if view.trace.transposed else f"cell {cell_name(step.cell)}"
            yield _panel(view, step, "copy", title)
    yield Panel(Sign("="))
    rest = view.steps[len(copies) :]
    if not rest:
        yield _panel(view, copies[-1], "output")
    for step in rest:
        if step is not rest[0]:
            yield Panel(Sign(view.line(step)[1]))
            yield _panel(view, step, "output")
        else:
            yield from _line(view, step)


def _grid(view: View) -> Iterator[Panel]:
    windows = [step for step in view.steps if step.kind == "window"]
    shown: set[str] = set()
    for step in view.steps[: -len(windows)]:
        for part, item in zip(view.line(step), view.items(step), strict=True):
            if isinstance(item, Sign):
                yield Panel(item)
            elif part not in shown:
                shown.add(part)
                yield _panel(view, step, part)
    for part in view.line(windows[0]):
        if part in windows[0].boards and part not in (*shown, "extended", "output"):
            yield _panel(view, windows[0], part)
    for window, left_out in _some(windows, "extended"):
        if window is None:
            yield Panel(Sign(f"{left_out} more"))
        else:
            assert window.cell is not None  # it belongs to an output cell
            value = looks.written(float(view.trace.output[window.cell]))
            yield _panel(view, window, "extended", f"{cell_name(window.cell)}: {value}", marked=True)
    yield Panel(Sign("→"))
    yield _panel(view, windows[-1], "output")


def _last(view: View) -> Iterator[Panel]:
    yield from _line(view, view.steps[-1])


_PANELS: dict[str, Callable[[View], Iterator[Panel]]] = {
    "scatter": _scatter,
    "grid": _grid,
    "matrix": _last,
    "overlap": _last,
    "gradient": _last,
}


def _words(view: View) -> str:
    """The caption below the picture."""
    trace = view.trace
    if view.name == "scatter":
        return typeset("\n".join(dict.fromkeys(size_formula(trace))))  # once, where all axes have the same
    if view.name == "grid":
        return typeset("\n".join(step.caption for step in view.steps if step.kind != "window"))
    if view.name == "matrix":
        other = " The rows of the convolution's matrix are the columns of this one." if trace.transposed else ""
        colours = "Positive weights are blue, negative ones orange."
        return f"A row for each output cell, a column for each input cell.{other} {colours}"
    if view.name == "overlap":
        return typeset(view.steps[-1].caption)
    return "The gradients of sum(output × upstream) with respect to the input, the kernel and the bias."
