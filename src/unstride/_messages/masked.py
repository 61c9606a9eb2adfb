"""Refuse NumPy's masked arrays: a conversion to plain arrays would silently drop their masks."""

from __future__ import annotations

import sys
from typing import Any


def refuse_masked(name: str, array: Any) -> None:
    """Raise a TypeError for a masked array, or a list that contains one, even if no cell is masked."""
    numpy_ma = sys.modules.get("numpy.ma")  # None: no masked array exists
    if numpy_ma is None:
        return
    rows = array if isinstance(array, list | tuple) else ()
    masked = [part for part in (array, *rows) if isinstance(part, numpy_ma.MaskedArray)]
    if not masked:
        return
    if any(numpy_ma.is_masked(part) for part in masked):
        what, todo = "a masked array", f"give its masked cells a value first, for example {name}.filled(0)"
    else:
        what, todo = "a masked array (numpy.ma), though no cell of it is masked", f"give its numbers, {name}.data"
    raise TypeError(f"{name} is {what}; expected one without a mask: {todo}")
