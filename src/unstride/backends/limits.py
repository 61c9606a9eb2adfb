"""How far the native core counts: beyond any memory, and so that no product of two of its numbers overflows."""

from __future__ import annotations

import math

from ..geometry import Geometry, GeometryError

MOST = 1 << 40
"""Of a stride, a dilation, a crop and a grid's cells along an axis."""
TAPS = (1 << 31) - 1
"""Of a kernel along an axis."""
UNMADE = 1 << 45
"""No machine has memory for this many numbers."""


def check_range(geometry: Geometry, small: tuple[int, ...], big: tuple[int, ...], shape: tuple[int, ...] = ()) -> None:
    """That the native core can count with a call's numbers.

    Parameters
    ----------
    small, big : tuple of int
        The spatial sizes of the two grids.
    shape : tuple of int
        The result's. If there is no memory for it, that error says more, and nothing is checked here.

    Raises
    ------
    GeometryError
        Naming the field, or the axis, that is too large.
    """
    if math.prod(shape) >= UNMADE:
        return
    fields = {"stride": geometry.stride, "dilation": geometry.dilation, "kernel_size": geometry.kernel_size}
    fields["padding"] = tuple(max(map(abs, crop)) for crop in geometry.crops)
    for name, entries in fields.items():
        most, said = (TAPS, "2**31 - 1") if name == "kernel_size" else (MOST, "2**40")
        if max(entries) > most:
            raise GeometryError(f"{name} has an entry of {max(entries)}; expected none beyond {said}")
    for axis, cells in enumerate(map(max, geometry.full_size(small), small, big)):
        if cells > MOST:
            raise GeometryError(
                f"axis {axis} has {cells} cells (before a crop) with stride {geometry.stride[axis]}, dilation "
                f"{geometry.dilation[axis]} and kernel_size {geometry.kernel_size[axis]}; expected no more than 2**40"
            )
