"""The trace of one small transposed convolution, or of one convolution: its numbers, and everything that shows them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from . import drawing
from .codegen.code import code
from .numbers import VIEWS, Numbers, Term
from .settings import Setting, settings, size_formula
from .steps import Step, steps
from .text import text
from .web import page

__all__ = ["VIEWS", "Term", "Trace"]


class Trace(Numbers):
    """Every number of one ``conv_transpose`` or ``conv`` of a bare grid, and the ways to show them.

    Made by `unstride.explain`.

    All arrays are float64 and read-only; a cell is a tuple of ints, one an axis, also in 1-D. Notation as in
    `unstride.geometry`: kernel size k, stride s, dilation d, K = (k-1)d+1, crop (b, e), n small cells, F = (n-1)s+K.
    For the numbers see `unstride.explainer.numbers.Numbers`.

    Wherever a method takes a `view`, it is "scatter", "grid", "matrix", "overlap" or "gradient"; None is
    `default_view`.
    """

    def steps(self, view: str | None = None) -> tuple[Step, ...]:
        """The steps of a view.

        >>> from unstride.explainer import explain
        >>> print(explain([1, 2], [3, 4]).steps("scatter")[1].caption)
        Input cell (1) is 2: 2 times the kernel is added from place (1) of the full grid on.
        """
        return steps(self, self.view_named(view))

    @property
    def size_formula(self) -> tuple[str, ...]:
        """For each axis, the formula of the output's size, with the numbers."""
        return size_formula(self)

    @cached_property
    def settings(self) -> dict[str, Setting]:
        """The same case in each framework's arguments, or why one call cannot: keras, torch, tensorflow, ..."""
        return settings(self)

    def text(
        self, view: str | None = None, step: int | None = None, color: bool = False, width: int | None = None
    ) -> str:
        """The tables of a view for a terminal of `width` columns (None: this one's), of one step or of all.

        `color` adds ANSI colours.
        """
        return text(self, self.view_named(view), step, color, width)

    def code(self, framework: str) -> str:
        """A program that computes `output` with "keras", "torch", "tensorflow", "jax", "onnx", "numpy" or "unstride".

        It needs nothing but that framework (onnx: ONNX Runtime too) and NumPy, leaves the result in `y` and prints it.
        If one call of the framework is not enough, the program says why and uses more.
        """
        return code(self, framework)

    def svg(
        self,
        path: str | Path | None = None,
        *,
        view: str | None = None,
        theme: str = "auto",
        step: int | None = None,
        animate: bool = True,
    ) -> str:
        """A drawing, written to `path` too if that is given; animated through the steps unless `step` names one."""
        return drawing.svg(self, path, view=self.view_named(view), theme=theme, step=step, animate=animate)

    def png(
        self,
        path: str | Path | None = None,
        *,
        view: str | None = None,
        theme: str = "light",
        step: int | None = None,
        scale: float = 2,
    ) -> bytes:
        """A picture of step `step`, or (None) of the whole on one page; written to `path` too if that is given."""
        return drawing.png(self, path, view=self.view_named(view), theme=theme, step=step, scale=scale)

    def gif(
        self,
        path: str | Path | None = None,
        *,
        view: str | None = None,
        theme: str = "light",
        seconds_per_step: float = 1.0,
    ) -> bytes:
        """An animation of the steps, written to `path` too if that is given."""
        return drawing.gif(self, path, view=self.view_named(view), theme=theme, seconds_per_step=seconds_per_step)

    def html(self, path: str | Path | None = None, *, view: str | None = None) -> str:
        """A page that needs no network, with the explorer opened on this case; written to `path` too if given.

        It begins at step 0 of `view`; None is the view of the example that this case is, or else `default_view`.
        """
        return page.html(page.state(self, view), path)

    def __repr__(self) -> str:
        return f"<Trace of {self.op}: {self.input.shape} to {self.output_size}, {self.geometry}>"

    def __str__(self) -> str:
        return self.text()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """For notebooks: a drawing of all of the default view, and the text for those that show none."""
        return {"text/plain": self.text(width=100), "image/svg+xml": self.svg(animate=False)}
