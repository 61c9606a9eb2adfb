"""The lab's small widgets. Each is a Python class and an ES module without dependencies.

==============  =================================================================
``Pad``         28x28 pixels to draw on by mouse, finger or keyboard
``Compare``     two pictures of one size, with a slider between them
``Pixels``      a picture whose pixels can be chosen by pointer or keyboard
``Map``         points, each with a small picture
``Numbers``     fields for numbers, in a line or as a table
``Pulse``       invisible; counts while a page is open
==============  =================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from ...data import Bytes

__all__ = ["Compare", "Map", "Numbers", "Pad", "Pixels", "Pulse"]

_HERE = Path(__file__).parent
_STYLE = _HERE / "widgets.css"
SIDE = 28


class Pad(anywidget.AnyWidget):  # type: ignore[misc]
    """A pad of 28x28 pixels to draw a digit on, light on dark as MNIST's are.

    Attributes
    ----------
    pixels : list of int
        All 784, row by row, from 0 (empty) to 255; [] if nothing is drawn.
    """

    _esm = _HERE / "pad.js"
    _css = _STYLE
    pixels: Any = traitlets.List([]).tag(sync=True)

    @property
    def image(self) -> Bytes | None:
        """The drawing (28, 28), or None if nothing is drawn."""
        values = np.asarray(self.pixels, np.float64)
        if values.size != SIDE**2 or not np.isfinite(values).all() or values.max() < 1:
            return None
        return values.clip(0, 255).astype(np.uint8).reshape(SIDE, SIDE)


class Compare(anywidget.AnyWidget):  # type: ignore[misc]
    """Two pictures of equal size: `before` is shown left of a slider, `after` right of it.

    Attributes
    ----------
    before, after : str
        Addresses, such as those of `unstride.lab.page.data_uri`.
    before_name, after_name : str
    width, height : int
        The size of the pictures, so that the page does not jump when they load.
    alt : str
        What the pictures show.
    position : float
        The position of the slider, from 0 to 100.
    """

    _esm = _HERE / "compare.js"
    _css = _STYLE
    before: Any = traitlets.Unicode().tag(sync=True)
    after: Any = traitlets.Unicode().tag(sync=True)
    before_name: Any = traitlets.Unicode().tag(sync=True)
    after_name: Any = traitlets.Unicode().tag(sync=True)
    width: Any = traitlets.Int(1).tag(sync=True)
    height: Any = traitlets.Int(1).tag(sync=True)
    alt: Any = traitlets.Unicode().tag(sync=True)
    position: Any = traitlets.Float(50.0).tag(sync=True)


class Pixels(anywidget.AnyWidget):  # type: ignore[misc]
    """A picture of a few pixels, shown large.

    Attributes
    ----------
    values : list of list of float
        From 0 (dark) to 1 (light). If `signed`, from -1 to 1, with 0 in the page's colour. If `counts`, integers from 0
        (dark), the largest being light, which are written into the pixels.
    marked : list of list of int
        Pixels to outline; [] for none.
    cell : list of two int
        The row and column of the chosen pixel; [] at first.
    choose : bool
        Whether a pixel can be chosen.
    name : str
        A description for screen readers.
    """

    _esm = _HERE / "pixels.js"
    _css = _STYLE
    values: Any = traitlets.List([]).tag(sync=True)
    marked: Any = traitlets.List([]).tag(sync=True)
    cell: Any = traitlets.List([]).tag(sync=True)
    choose: Any = traitlets.Bool(False).tag(sync=True)
    signed: Any = traitlets.Bool(False).tag(sync=True)
    counts: Any = traitlets.Bool(False).tag(sync=True)
    name: Any = traitlets.Unicode().tag(sync=True)


class Map(anywidget.AnyWidget):  # type: ignore[misc]
    """Points of ten classes in a plane. The point under the pointer or keyboard shows its picture.

    Attributes
    ----------
    points : list of [x, y, class]
        x and y from 0 to 1.
    sheet : str
        The address of a picture with all small pictures, 28x28, in rows of `columns`.
    columns : int
    colours, dark_colours : list of str
        The colours of the classes on light and on dark pages.
    extra : list of [x, y, name]
        Further points, drawn as crosses.
    chosen : int
        The number of the point that was clicked; -1 at first.
    """

    _esm = _HERE / "map.js"
    _css = _STYLE
    points: Any = traitlets.List([]).tag(sync=True)
    sheet: Any = traitlets.Unicode().tag(sync=True)
    columns: Any = traitlets.Int(1).tag(sync=True)
    colours: Any = traitlets.List([]).tag(sync=True)
    dark_colours: Any = traitlets.List([]).tag(sync=True)
    extra: Any = traitlets.List([]).tag(sync=True)
    chosen: Any = traitlets.Int(-1).tag(sync=True)


class Numbers(anywidget.AnyWidget):  # type: ignore[misc]
    """Fields for numbers.

    Parameters
    ----------
    columns : dict
        The name of each field with its least and largest value and its step. A step of 1 means integers.
    rows : dict
        The name of each row with its initial values. The name of a single row may be "".
    """

    _esm = _HERE / "numbers.js"
    _css = _STYLE
    columns: Any = traitlets.List([]).tag(sync=True)
    rows: Any = traitlets.List([]).tag(sync=True)
    values: Any = traitlets.List([]).tag(sync=True)

    def __init__(
        self, columns: Mapping[str, tuple[float, float, float]], rows: Mapping[str, Sequence[float]], **settings: Any
    ) -> None:
        super().__init__(
            columns=[[name, *limits] for name, limits in columns.items()],
            rows=list(rows),
            values=[list(values) for values in rows.values()],
            **settings,
        )

    def number(self, column: str, row: int = 0) -> Any:
        """The number in a field, within its limits whatever the page sends."""
        at = [name for name, *_ in self.columns].index(column)
        _, least, most, step = self.columns[at]
        try:
            value = min(max(float(self.values[row][at]), least), most)
        except (TypeError, ValueError, IndexError):
            value = least
        return round(value) if step == 1 else value

    def line(self, row: int = 0) -> list[Any]:
        """All numbers of a row."""
        return [self.number(name, row) for name, *_ in self.columns]


class Pulse(anywidget.AnyWidget):  # type: ignore[misc]
    """An invisible widget. While a page shows it and `on` is true, `beat` increases every `seconds`."""

    _esm = _HERE / "pulse.js"
    beat: Any = traitlets.Int(0).tag(sync=True)
    seconds: Any = traitlets.Float(1.0).tag(sync=True)
    on: Any = traitlets.Bool(True).tag(sync=True)
