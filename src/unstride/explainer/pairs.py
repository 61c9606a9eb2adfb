"""Which input cell meets which kernel tap, and where their product goes: for all pairs at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._messages.masked import refuse_masked
from ..geometry import Geometry, GeometryError

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Cell = tuple[int, ...]
Grid = TypeVar("Grid", bound=NDArray[Any])


class Pairs(NamedTuple):
    """A row for each pair, ordered by input cell, then by tap; columns are axes.

    `place` is ``i*s + j*d``, before the crop; `kept` whether `output` is in the output.
    """

    input: Counts
    tap: Counts
    place: Counts
    output: Counts
    kept: NDArray[np.bool_]


def pairs(geometry: Geometry, small_size: Cell, big_size: Cell, transposed: bool) -> Pairs:
    """The pairs of ``conv_transpose``, or of ``conv``, where a tap over the extension meets no input cell."""
    small, tap = cells_of(small_size), cells_of(geometry.kernel_size)
    count = len(tap)
    small, tap = np.repeat(small, count, axis=0), np.tile(tap, (len(small), 1))
    place = small * np.array(geometry.stride) + tap * np.array(geometry.dilation)
    big = place - np.array([b for b, _ in geometry.crops])
    inside = np.all((big >= 0) & (big < np.array(big_size)), axis=1)
    if transposed:
        return Pairs(small, tap, place, big, inside)
    big, tap, place, small = big[inside], tap[inside], place[inside], small[inside]
    order = np.lexsort((flat(tap, geometry.kernel_size), flat(big, big_size)))
    return Pairs(big[order], tap[order], place[order], small[order], np.ones(len(order), bool))


def cells_of(size: Cell) -> Counts:
    """All cells of a grid in C order, a row each."""
    return np.indices(size, np.int64).reshape(len(size), -1).T


def flat(cells: Counts, size: Cell) -> Counts:
    """The cells' places in the raveled grid."""
    places: Counts = np.ravel_multi_index(tuple(cells.T), size)
    return places


def tuples(cells: Counts) -> tuple[Cell, ...]:
    return tuple(map(tuple, cells.tolist()))


def grid(name: str, values: Any) -> Array:
    """A read-only float64 copy of a bare grid, or an error that names it."""
    refuse_masked(name, values)
    try:
        array = np.array(values)
    except ValueError:
        raise GeometryError(f"{name} is {values!r}; expected a grid whose rows are equally long") from None
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} is of type {array.dtype}; expected a grid of real numbers")
    if not 1 <= array.ndim <= 3 or 0 in array.shape:
        raise GeometryError(
            f"{name} has shape {array.shape}; expected 1 to 3 dimensions, without batch and channels, and no empty one"
        )
    if not np.isfinite(array).all():
        raise GeometryError(f"{name} has entries that are infinite or not a number; expected finite ones")
    return frozen(array.astype(np.float64))


def number(name: str, value: Any) -> float:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        array = np.empty(2)
    if array.size != 1 or not np.isfinite(array).all():
        raise GeometryError(f"{name} is {value!r}; expected one finite number, as there are no channels")
    return float(array.reshape(()))


def cell(name: str, value: Any, size: Cell) -> Cell:
    """`value` as a cell of a grid of that size."""
    entries: Sequence[Any] = value if hasattr(value, "__len__") else (value,)
    try:
        place = tuple(int(entry) for entry in entries if entry == int(entry))
    except (TypeError, ValueError):
        place = ()
    if len(place) != len(size) or not all(0 <= a < n for a, n in zip(place, size, strict=True)):
        raise GeometryError(f"{name} is {value!r}; expected a cell of a grid of size {size}, counted from 0")
    return place


def frozen(array: Grid) -> Grid:
    array.flags.writeable = False
    return array
