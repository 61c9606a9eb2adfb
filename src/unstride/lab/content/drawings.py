"""SVG drawings for the chapters. ``lab.css`` has their colours, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from ..._messages.wording import counted
from ...explainer.figures import prose
from ...geometry import Geometry
from ...planning import Plan

CELL = 30


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="lab-svg" role="img" aria-label="{escape(label)}" width="{width:g}" height="{height:g}" '
        f'style="--wide:{width:g}px" '
        f'viewBox="0 0 {width:g} {height:g}">{"".join(parts)}</svg>'
    )


def _box(x: float, y: float, look: str, text: str = "", size: float = CELL) -> str:
    drawn = f'<rect class="{look}" x="{x + 1:g}" y="{y + 1:g}" width="{size - 2:g}" height="{size - 2:g}" rx="3"/>'
    if text:
        small = " small" if len(text) > 3 else ""
        drawn += f'<text class="mid{small}" x="{x + size / 2:g}" y="{y + size / 2:g}">{escape(text)}</text>'
    return drawn


def copies(geometry: Geometry, n: int) -> str:
    """The copies of the kernel on the full grid along one axis, and the output after cropping.

    Parameters
    ----------
    geometry : Geometry
        Its first axis is drawn.
    n : int
        The size of the input along that axis.

    >>> drawn = copies(Geometry(3, 2, 1), 4)
    >>> drawn.count('class="copy"'), drawn.count('class="cut"'), drawn.count('class="out"')
    (12, 2, 7)
    """
    k, s, d = geometry.kernel_size[0], geometry.stride[0], geometry.dilation[0]
    (begin, end), (K, *_) = geometry.crops[0], geometry.spans
    full = (n - 1) * s + K
    first, last = min(0, begin), max(full, full - end)  # negative crops extend the grid
    left = 104
    parts = []
    for i in range(n):
        y = i * CELL
        parts.append(f'<text class="name" x="{left - 10}" y="{y + CELL / 2:g}">copy of cell {i}</text>')
        taken = {i * s + j * d: j for j in range(k)}
        for o in range(first, last):
            look, text = ("copy", f"w{_below(taken[o])}") if o in taken else ("blank", "")
            parts.append(_box(left + (o - first) * CELL, y, look, text))
    y = n * CELL + 10
    parts.append(f'<text class="name" x="{left - 10}" y="{y + CELL / 2:g}">output</text>')
    for o in range(first, last):
        inside = begin <= o < full - end
        look = ("out" if 0 <= o < full else "added") if inside else "cut"
        parts.append(_box(left + (o - first) * CELL, y, look, str(o - begin) if inside else "×"))
    size = geometry.output_size((n,) * geometry.rank)[0]
    label = (
        f"{counted(n, 'copy', 'copies')} of {counted(k, 'kernel cell')}, {s} apart; "
        f"the output is {counted(size, 'cell')} long"
    )
    return _svg(left + (last - first) * CELL + 1, y + CELL + 1, label, parts)


def _below(index: int) -> str:
    return "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in str(index))


def board(values: ArrayLike, label: str, *, rows: str = "", columns: str = "") -> str:
    """A matrix, coloured on a scale around 0. Zeros are blank.

    >>> board([[1, 0], [2, 1]], "a matrix").count('class="zero"')
    1
    """
    array = np.atleast_2d(np.asarray(values, float))
    most = float(np.abs(array).max()) or 1.0
    top, left = (22 if columns else 0), (26 if rows else 0)
    height, width = array.shape
    room = max(width * CELL, 8 * len(columns))
    left += (room - width * CELL) / 2
    parts = []
    if columns:
        parts.append(f'<text class="mid soft" x="{left + width * CELL / 2:g}" y="9">{escape(columns)}</text>')
    if rows:
        y = top + height * CELL / 2
        parts.append(f'<text class="mid soft" x="9" y="{y:g}" transform="rotate(-90 9 {y:g})">{escape(rows)}</text>')
    for (row, column), value in np.ndenumerate(array):
        x, y = left + column * CELL, top + row * CELL
        if value == 0:
            parts.append(_box(x, y, "zero"))
            continue
        look = f"{'plus' if value > 0 else 'minus'}{min(int(abs(value) / most * 3.999), 3)}"
        parts.append(_box(x, y, look, prose(round(float(value), 3))))
    return _svg(left + (room + width * CELL) / 2 + 1, top + height * CELL + 1, label, parts)


def phases(plan: Plan, most: int = 10) -> str:
    """The first output cells of a plan with two axes: the pass that computes each, and its number of products.

    >>> from unstride import plan
    >>> drawn = phases(plan((1, 8, 8, 4), (3, 3, 2, 4), stride=2), most=4)
    >>> drawn.count("<rect"), drawn.count(">1</text>"), drawn.count(">4</text>")
    (16, 9, 1)
    """
    owners, products = [], []
    for axis, passes in enumerate(plan.passes):
        cells = min(plan.big[axis], most)
        owner = np.zeros(cells, int)
        for number, one in enumerate(passes):
            for start in range(one.offset, cells, one.step):
                owner[start : start + one.group] = number
        owners.append(owner)
        products.append(_products(plan.geometry, axis, plan.small[axis], cells))
    parts = []
    for row, of_row in enumerate(owners[0]):
        for column, of_column in enumerate(owners[1]):
            number = int(of_row) * len(plan.passes[1]) + int(of_column)
            text = str(products[0][row] * products[1][column])
            parts.append(_box(column * CELL, row * CELL, f"phase{number % 9}", text))
    label = f"The first {len(owners[0])} by {len(owners[1])} output cells, each with its products of each channel"
    return _svg(len(owners[1]) * CELL + 1, len(owners[0]) * CELL + 1, label, parts)


def _products(geometry: Geometry, axis: int, size: int, cells: int) -> list[int]:
    """The number of products in each of the first output cells along an axis, for an input of `size` cells."""
    k, s, d = geometry.kernel_size[axis], geometry.stride[axis], geometry.dilation[axis]
    begin = geometry.crops[axis][0]
    reached = [i * s + j * d - begin for i in range(size) for j in range(k)]
    return [reached.count(cell) for cell in range(cells)]


def bars(rows: Sequence[tuple[str, float, float, float, str]], label: str, unit: str) -> str:
    """A bar for each (name, least, middle, most, text). It ends at the middle, and a line shows the spread.

    >>> "3 ms" in bars([("ours", 1, 2, 3, "3 ms")], "times", "ms")
    True
    """
    width, tall = 330, 34
    left = 20 + 7.5 * max((len(name) for name, *_ in rows), default=0)
    top = max((most for *_, most, _ in rows), default=1.0) or 1.0
    parts = []
    for place, (name, least, middle, most, text) in enumerate(rows):
        y = place * tall
        ends = [left + value / top * width for value in (least, middle, most)]
        parts += [
            f'<text class="name" x="{left - 10}" y="{y + tall / 2:g}">{escape(name)}</text>',
            f'<rect class="bar{0 if place == 0 else 1}" x="{left:g}" y="{y + 6}" rx="2" height="{tall - 12}" '
            f'width="{max(ends[1] - left, 1):.1f}"/>',
            f'<path class="spread" d="M{ends[0]:.1f} {y + tall / 2:g}H{ends[2]:.1f}'
            f'M{ends[0]:.1f} {y + 12}v{tall - 24}M{ends[2]:.1f} {y + 12}v{tall - 24}"/>',
            f'<text class="start" x="{ends[2] + 8:.1f}" y="{y + tall / 2:g}">{escape(text)}</text>',
        ]
    return _svg(left + width + 130, len(rows) * tall + 1, f"{label}, in {unit}", parts)


def curves(lines: Sequence[tuple[str, ArrayLike]], label: str, below: str) -> str:
    """Curves over the same range, from 0 to 1 or to their highest value, with a legend.

    >>> curves([("one", [0, 1])], "a line", "x").count("<polyline")
    2
    """
    width, height, left, bottom = 276, 160, 34, 26
    arrays = [(name, np.asarray(values, float)) for name, values in lines]
    most = max(1.0, max(float(values.max()) for _, values in arrays))

    def y(value: float) -> float:
        return 8 + (height - 8) * (1 - value / most)

    parts = [f'<path class="axis" d="M{left} 8V{height}H{left + width}"/>']
    for mark in (0.0, most / 2, most):
        parts.append(f'<text class="name" x="{left - 6}" y="{y(mark):.1f}">{mark:.2g}</text>')
    parts.append(f'<text class="mid soft" x="{left + width / 2:g}" y="{height + bottom - 8}">{escape(below)}</text>')
    for number, (name, values) in enumerate(arrays):
        xs = left + np.linspace(0, width, len(values))
        points = " ".join(f"{a:.1f},{y(b):.1f}" for a, b in zip(xs, values, strict=True))
        key, line = left, height + bottom + 12 + 22 * number
        parts.append(f'<polyline class="curve{number}" points="{points}"/>')
        parts.append(f'<polyline class="curve{number}" points="{key},{line} {key + 28},{line}"/>')
        parts.append(f'<text class="start" x="{key + 36}" y="{line}">{escape(name)}</text>')
    return _svg(left + width + 1, height + bottom + 24 + 22 * (len(arrays) - 1), label, parts)
