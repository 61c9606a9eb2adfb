"""The trace of one small transposed convolution, or of one convolution: its numbers, and all that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._dispatch.validation import only_geometry
from .._messages.wording import counted
from ..geometry import Geometry, GeometryError, Padding, convolution
from .numbers import MAPS, Numbers, Term
from .pairs import grid

if TYPE_CHECKING:
    from .settings import Setting
    from .steps import Step

__all__ = ["VIEWS", "Term", "Trace", "trace"]

Ints = int | Sequence[int]

VIEWS = ("scatter", "grid", "matrix", "overlap", "gradient")


def trace(
    x: Any,
    kernel: Any,
    bias: float | None = None,
    geometry: Geometry | None = None,
    *,
    map: str = "conv_transpose",
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints | None = None,
    dilation: Ints = 1,
    upstream: Any = None,
) -> Trace:
    """What `unstride.explain` returns; the arguments are explained there."""
    if map not in MAPS:
        raise GeometryError(f"map is {map!r}; expected 'conv_transpose' or 'conv'")
    written = (padding, output_padding) if geometry is None else None
    cells, taps = grid("x", x), grid("kernel", kernel)
    if cells.ndim != taps.ndim:
        raise GeometryError(
            f"x has {counted(cells.ndim, 'dimension')}, shape {cells.shape}, and the kernel {taps.ndim}, shape "
            f"{taps.shape}; expected the same number, without batch and channels"
        )
    if geometry is not None:
        only_geometry(geometry, taps.shape, stride, padding, output_padding, dilation, 1)
    elif map == "conv":
        if output_padding is not None:
            raise GeometryError(
                f"output_padding is {output_padding!r}, but a convolution has none; leave it out, or use "
                "map='conv_transpose'"
            )
        geometry = convolution(cells.shape, taps.shape, stride, padding, dilation)
    else:
        geometry = Geometry(taps.shape, stride, padding, output_padding, dilation)
    made = Trace(cells, taps, bias, geometry, map, upstream)
    made.written = written
    return made


class Trace(Numbers):
    """Every number of one ``conv_transpose`` or ``conv`` of a bare grid, and what shows them.

    Made by `unstride.explain`.

    All arrays are float64 and read-only; a cell is a tuple of ints, one an axis, also in 1-D. Notation as in
    `unstride.geometry`: kernel size k, stride s, dilation d, K = (k-1)d+1, crop (b, e), n small cells, F = (n-1)s+K.
    For the numbers see `unstride.explainer.numbers.Numbers`.

    Wherever a method takes a `view`, it is "scatter", "grid", "matrix", "overlap" or "gradient"; None is
    `default_view`.

    Attributes
    ----------
    written : (padding, output_padding) or None
        The two arguments as `unstride.explain` was given them; None where it was given a whole `Geometry`.
    """

    written: tuple[Padding, Ints | None] | None = None

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views."""
        return VIEWS

    @property
    def default_view(self) -> str:
        """What ``print(trace)`` shows: "scatter" of conv_transpose, "grid" of conv."""
        return "scatter" if self.transposed else "grid"

    def steps(self, view: str | None = None) -> tuple[Step, ...]:
        """What happens one after another.

        >>> from unstride.explainer import explain
        >>> print(explain([1, 2], [3, 4]).steps("scatter")[1].caption)
        Input cell (1) is 2: 2 times the kernel is added from place (1) of the full grid on.
        """
        from .steps import steps

        name = self._view(view)
        if name not in self._steps:
            self._steps[name] = steps(self, name)
        return self._steps[name]

    @cached_property
    def _steps(self) -> dict[str, tuple[Step, ...]]:
        return {}

    @property
    def size_formula(self) -> tuple[str, ...]:
        """For each axis, how the output's size comes about, with the numbers."""
        from .settings import size_formula

        return size_formula(self)

    @cached_property
    def settings(self) -> dict[str, Setting]:
        """The same in each framework's own arguments, or why one call of it cannot: keras, torch, tensorflow, ..."""
        from .settings import settings

        return settings(self)

    def text(
        self, view: str | None = None, step: int | None = None, color: bool = False, width: int | None = None
    ) -> str:
        """The tables of a view for a terminal of `width` columns (None: this one's); of one step of it, or of all.

        `color` adds ANSI colours.
        """
        from .text import text

        return text(self, self._view(view), step, color, width)

    def code(self, framework: str) -> str:
        """A program that computes `output` with "keras", "torch", "tensorflow", "jax", "onnx", "numpy" or "unstride".

        It needs nothing but that framework (onnx: ONNX Runtime too) and NumPy, leaves the result in `y` and prints it.
        Where one call of the framework cannot do it, the program says why and uses more.
        """
        from .code import code

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
        from . import drawing

        return drawing.svg(self, path, view=self._view(view), theme=theme, step=step, animate=animate)

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
        from . import drawing

        return drawing.png(self, path, view=self._view(view), theme=theme, step=step, scale=scale)

    def gif(
        self,
        path: str | Path | None = None,
        *,
        view: str | None = None,
        theme: str = "light",
        seconds_per_step: float = 1.0,
    ) -> bytes:
        """An animation of the steps, written to `path` too if that is given."""
        from . import drawing

        return drawing.gif(self, path, view=self._view(view), theme=theme, seconds_per_step=seconds_per_step)

    def html(self, path: str | Path | None = None, *, view: str | None = None) -> str:
        """A page that needs no network, with the explorer opened on this case; written to `path` too if given.

        It begins at step 0 of `view`; None is the view of the example that this case is, or else `default_view`.
        """
        from . import page

        return page.html(page.state(self, view), path)

    def _view(self, name: str | None) -> str:
        """`name`, if it is one of `views`; the default one for None."""
        if name is None:
            return self.default_view
        if name not in VIEWS:
            raise GeometryError(f"view is {name!r}; expected one of {', '.join(map(repr, VIEWS))}")
        return name

    def __repr__(self) -> str:
        return f"<Trace of {self.map}: {self.input.shape} to {self.output_size}, {self.geometry}>"

    def __str__(self) -> str:
        return self.text()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """For notebooks: a drawing of all of the default view, and the text for those that show none."""
        return {"text/plain": self.text(width=100), "image/svg+xml": self.svg(animate=False)}
