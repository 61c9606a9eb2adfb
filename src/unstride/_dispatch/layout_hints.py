"""Hints for error messages: the layout, or the order of the kernel's axes, with which the arrays would fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..geometry import Geometry, GeometryError

OTHER = {"last": "first", "first": "last"}
Shape = tuple[Any, ...]

READ_AS = {"last": "(*k, C_big / groups, C_small)", "first": "(C_small, C_big / groups, *k)"}


def remedy(x: Any, kernel: Any, groups: int, taps: Shape | None, layout: str, *, small: bool) -> str:
    """All changes that would fit `x` to the kernel, as the end of an error message; "" if there are none.

    The channels of `x` are C_small if `small`. `taps` is the kernel's size if it is known from more than its shape.
    """
    x_shape, shape = tuple(x.shape), tuple(kernel.shape)
    other = OTHER[layout]
    ways = []
    if _fit(x_shape, shape, groups, taps, other, small):
        ways.append(f'channels="{other}", which reads the kernel as {READ_AS[other]}')
    for channels, start in ((layout, ""), (other, f'channels="{other}" and ')):
        for order, name in _orders(len(shape) - 2, channels, small):
            if _fit(x_shape, tuple(shape[axis] for axis in order), groups, taps, channels, small):
                ways.append(f"{start}the kernel's axes in the order {order}, if it is now {name}")
    return "; what would fit: " + "; or ".join(ways) if ways else ""


def other_layout(big: Any, small: Any, geometry: Geometry, layout: str) -> str:
    """The hint that the two grids of a gradient would fit each other in the other layout; "" if they would not."""
    other = OTHER[layout]
    try:
        geometry.fitted(*(array.shape[1:-1] if other == "last" else array.shape[2:] for array in (small, big)))
    except GeometryError:
        return ""
    return f'; what would fit: channels="{other}"'


def _fit(x: Shape, kernel: Shape, groups: int, taps: Shape | None, layout: str, small: bool) -> bool:
    per_group, c_small = (kernel[-2], kernel[-1]) if layout == "last" else (kernel[1], kernel[0])
    if taps not in (None, kernel[:-2] if layout == "last" else kernel[2:]):
        return False
    if None in (per_group, c_small) or c_small % groups:
        return False
    return bool((x[-1] if layout == "last" else x[1]) == (c_small if small else per_group * groups))


def _orders(rank: int, layout: str, transposed: bool) -> Iterator[tuple[tuple[int, ...], str]]:
    """For each other layout of kernels: the order of axes that converts it to `layout`, and its description."""
    last, first = tuple(range(rank)), tuple(range(2, rank + 2))
    flipped = ", as JAX's and Flax's (which are flipped too)", ", as Equinox's (which are flipped too)"
    swapped_last, swapped_first = flipped if transposed else ("", "")
    if layout == "last":
        yield (*first, 1, 0), f"{READ_AS['first']}, as PyTorch's and ONNX's"
        yield (*last, rank + 1, rank), f"(*k, C_small, C_big / groups){swapped_last}"
        yield (*first, 0, 1), f"(C_big / groups, C_small, *k){swapped_first}"
    else:
        yield (rank + 1, rank, *last), f"{READ_AS['last']}, as Keras's and TensorFlow's"
        yield (1, 0, *first), f"(C_big / groups, C_small, *k){swapped_first}"
        yield (rank, rank + 1, *last), f"(*k, C_small, C_big / groups){swapped_last}"
