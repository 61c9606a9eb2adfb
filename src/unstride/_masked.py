"""NumPy's masked arrays, whose masks a conversion to plain arrays would drop in silence."""

from __future__ import annotations

import sys
from typing import Any


def refuse_masked(name: str, array: Any) -> None:
    """Raise a TypeError for a masked array, or a list of some."""
    masked = sys.modules.get("numpy.ma")  # without which there is none
    if masked is None:
        return
    rows = array if isinstance(array, list | tuple) else ()
    if isinstance(array, masked.MaskedArray) or any(isinstance(row, masked.MaskedArray) for row in rows):
        raise TypeError(
            f"{name} is a masked array; expected one without a mask: give its masked cells a value first, for example "
            f"{name}.filled(0)"
        )
