"""The choice between a stack and its stages one by one, and the stages one by one."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import ops
from .._core import core, why_missing
from ..stack import Stack

MOST_KEPT = 64  # images: up to here the values for the derivative are kept; for more they are computed again
MOST_CHANNELS = 64  # with more, single layers fill the vectors with channels as well as a stack does with images
FEWEST_IMAGES = 16
MOST_BYTES = 1 << 23  # of the two largest consecutive grids of one group of images: more would leave the cache


def composed(stack: Stack, x: Any, weights: Sequence[Any], activate: Callable[[str, float, Any], Any]) -> Any:
    """The result of a stack, computed stage by stage with `ops`, for any library's arrays.

    `activate` computes an activation by the library's functions, from its name, its slope and the array.
    """
    rest = iter(weights)
    for stage in stack.stages:
        kernel = next(rest)
        bias = next(rest) if stage.bias else None
        op = ops.conv_transpose if stage.transposed else ops.conv
        fused = "relu" if stage.activation == "relu" else None
        x = op(x, kernel, bias, stage.geometry, channels=stack.layout, activation=fused)
        if stage.activation is not None and not fused:
            x = activate(stage.activation, stage.slope or 0.0, x)
    return x


@functools.lru_cache(maxsize=1024)
def worthwhile(stack: Stack, batch: int) -> bool:
    """Whether a stack is predicted to be faster than its layers one by one.

    It is if there are enough images to fill the vectors, too few channels for single layers to fill them, and the grids
    of a group stay in the cache.
    """
    if batch < FEWEST_IMAGES or len(stack.stages) < 2 or not computable(stack):
        return False
    counts = [stack.channels, *(stage.channels for stage in stack.stages)]
    if max(counts) > MOST_CHANNELS:
        return False
    cells = [math.prod(size) * count for size, count in zip(stack.sizes, counts, strict=True)]
    pairs = itertools.pairwise(cells)
    return max(map(sum, pairs)) * 4 * core.stack_lanes() <= MOST_BYTES


def computable(stack: Stack) -> bool:
    """Whether there is a native core, and the numbers of a stack are within its limits."""
    if why_missing is not None:
        return False
    for stage in stack.stages:
        geometry = stage.geometry
        if stage.transposed and max(geometry.stride) > core.max_phases:
            return False
        if (
            max(*geometry.kernel_size, *geometry.stride, *geometry.dilation, *(abs(b) for b, _ in geometry.crops))
            > 1 << 20
        ):
            return False
    return True


def keeps(batch: int) -> bool:
    """Whether the values for the derivative of `batch` images are kept, and not computed again."""
    return batch <= MOST_KEPT
