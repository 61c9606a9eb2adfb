"""The limits of the native core's numbers. They exceed any memory, and no product of two such numbers overflows."""

from __future__ import annotations

import math

from ..geometry import Geometry, GeometryError

MOST = 1 << 40
"""The limit of a stride, a dilation, a crop, and the cells of a grid along an axis."""
TAPS = (1 << 31) - 1
"""The limit of a kernel's taps along an axis."""
UNMADE = 1 << 45
"""A number of elements for which no machine has memory."""


def check_range(geometry: Geometry, small: tuple[int, ...], big: tuple[int, ...], shape: tuple[int, ...] = ()) -> None:
    """Check that the numbers of a call are within the native core's limits.

    Parameters
    ----------
    small, big : tuple of int
        The spatial sizes of the two grids.
    shape : tuple of int
        The shape of the result. If there is no memory for it, nothing is checked here: the MemoryError says more.

    Raises
    ------
    GeometryError
        A field or an axis is too large. The message names it.
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
