"""Numbers as they are written everywhere: in tables, captions, drawings and equations."""

from __future__ import annotations

import math
from collections.abc import Iterable

DIGITS = 3  # after the point


def figure(value: float, digits: int = DIGITS) -> str:
    """`value` rounded, without trailing zeros; with a power of ten where that would lose it or be too long.

    >>> [figure(v) for v in (3.0, -0.0, 0.25, -1 / 3, 12345.678, 1e9, 2e-7)]
    ['3', '0', '0.25', '-0.333', '12345.678', '1e+09', '2e-07']
    """
    if math.isnan(value):
        return ""
    if value and not 10**-digits / 2 <= abs(value) < 1e7:
        return f"{value:.{digits}g}"
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"
    return "0" if text == "-0" else text


def prose(value: float) -> str:
    """As `figure`, with a true minus sign: tables keep the one that programs read.

    >>> prose(-2.5)
    '−2.5'
    """
    return figure(value).replace("-", "−")


def cell_name(cell: Iterable[int]) -> str:
    """A cell as everywhere: counted from 0.

    >>> cell_name((0, 12)), cell_name([3])
    ('(0, 12)', '(3)')
    """
    return f"({', '.join(map(str, cell))})"


def product(value: float, weight: float) -> str:
    """
    >>> product(2, -3)
    '2·(−3)'
    """
    return f"{prose(value)}·{signed(weight)}"


def signed(value: float) -> str:
    """In brackets if negative: to stand after a sign."""
    return f"({prose(value)})" if value < 0 and figure(value) != "0" else prose(value)


def equation(products: Iterable[tuple[float, float]], bias: float | None, result: float) -> str:
    """The sum of products, and of the bias, written out.

    >>> equation([(1, 2), (0, -3)], 0.5, 2.5)
    '1·2 + 0·(−3) + 0.5 = 2.5'
    """
    parts = [product(a, b) for a, b in products] + ([] if bias is None else [signed(bias)])
    return f"{' + '.join(parts) or '0'} = {prose(result)}"
