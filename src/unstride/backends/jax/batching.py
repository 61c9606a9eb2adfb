"""The three maps under `jax.vmap`: many maps are one map with a larger batch, more channels or more groups.

* A batch of grids and one kernel: the images of all grids are one larger batch.
* One grid and a batch of kernels: the result has more channels. The same holds for the kernel gradient if only one of
  its grids is batched.
* A batch of both: every pair is a group. That moves channels in memory, and such groups may be small. So pairs that are
  large enough are computed one after the other instead.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.interpreters import batching

from ...geometry import Geometry
from .native import conv_p, conv_transpose_p, grid_axis, kernel_axes, kernel_gradient_p, space

Array = Any
# Multiply-adds of a pair. 64 pairs of 2,300 take 128 µs in groups and 172 µs in a loop; of 37,000 383 µs and 282 µs.
MOST_IN_GROUPS = 2**12


def register() -> None:
    for primitive in (conv_p, conv_transpose_p):
        batching.primitive_batchers[primitive] = partial(_map_rule, primitive)
    batching.primitive_batchers[kernel_gradient_p] = _gradient_rule


def _map_rule(
    primitive: Any, operands: Any, axes: Any, *, geometry: Geometry, channels: str, relu: bool
) -> tuple[Array, int]:
    x, kernel, *bias = (_in_front(array, axis) for array, axis in zip(operands, axes, strict=True))
    many_x, many_kernels, *many_biases = (axis is not None for axis in axes)
    bind = partial(primitive.bind, geometry=geometry, channels=channels)
    if many_x and not many_kernels and not any(many_biases):
        count, images, *shape = x.shape
        y = bind(x.reshape(count * images, *shape), kernel, *bias, relu=relu)
        return y.reshape(count, images, *y.shape[1:]), 0
    if not bias:
        y = _pairs(primitive, x, kernel, many_x, geometry, channels)
        return (jax.nn.relu(y) if relu else y), 0
    # One call would add the same bias to all results, so it is added afterwards.
    if many_x or many_kernels:
        both = (x, kernel), tuple(0 if many else None for many in (many_x, many_kernels))
        y, _ = _map_rule(primitive, *both, geometry=geometry, channels=channels, relu=False)
    else:
        y = bind(x, kernel, relu=False)[None]
    count = bias[0].shape[0] if many_biases[0] else 1
    shape = [count] + [1] * (y.ndim - 1)
    shape[1 + grid_axis(y.ndim - 1, channels)] = bias[0].shape[-1]
    y = y + bias[0].reshape(shape)
    return (jax.nn.relu(y) if relu else y), 0


def _pairs(primitive: Any, x: Array, kernel: Array, many_x: bool, geometry: Geometry, channels: str) -> Array:
    """The map for many kernels, and for many x or one."""
    transposed = primitive is conv_transpose_p
    count, dimensions, g = kernel.shape[0], geometry.rank + 2, geometry.groups
    axis, (big, small) = grid_axis(dimensions, channels), kernel_axes(dimensions, channels)
    fields: dict[str, Any] = {"channels": channels, "relu": False}
    if not many_x:
        # Each group has the channels of all kernels in the result.
        merged = _merge(kernel, big, 1) if transposed else _merge(kernel, small, g)
        return _split(primitive.bind(x, merged, geometry=geometry, **fields), axis, count, g)
    size = space(x.shape[1:], channels)
    cells = math.prod(size if transposed else geometry.conv_size(size))
    if _few(count, x.shape[1] * cells * math.prod(kernel.shape[1:])):
        grouped = _with_groups(geometry, count * g)
        y = primitive.bind(_merge(x, axis, 1), _merge(kernel, small, 1), geometry=grouped, **fields)
        return _split(y, axis, count, 1)
    return lax.map(lambda pair: primitive.bind(*pair, geometry=geometry, **fields), (x, kernel))


def _gradient_rule(operands: Any, axes: Any, *, geometry: Geometry, channels: str) -> tuple[Array, int]:
    big, small = (_in_front(array, axis) for array, axis in zip(operands, axes, strict=True))
    many_bigs, many_smalls = (axis is not None for axis in axes)
    count, dimensions = (big if many_bigs else small).shape[0], geometry.rank + 2
    axis, (big_axis, small_axis) = grid_axis(dimensions, channels), kernel_axes(dimensions, channels)
    bind, g = partial(kernel_gradient_p.bind, channels=channels), geometry.groups
    if not many_smalls:
        return _split(bind(_merge(big, axis, g), small, geometry=geometry), big_axis, count, 1), 0
    if not many_bigs:
        return _split(bind(big, _merge(small, axis, g), geometry=geometry), small_axis, count, g), 0
    channels_of_both = big.shape[1 + axis] // g * small.shape[1 + axis]
    cells = small.shape[1] * math.prod(space(small.shape[1:], channels))
    if _few(count, cells * math.prod(geometry.kernel_size) * channels_of_both):
        grouped = _with_groups(geometry, count * g)
        return _split(bind(_merge(big, axis, 1), _merge(small, axis, 1), geometry=grouped), small_axis, count, 1), 0
    return lax.map(lambda pair: bind(*pair, geometry=geometry), (big, small)), 0


def _few(count: int, multiply_adds: int) -> bool:
    return count > 0 and multiply_adds <= MOST_IN_GROUPS


def _with_groups(geometry: Geometry, groups: int) -> Geometry:
    return Geometry(geometry.kernel_size, geometry.stride, geometry.crops, None, geometry.dilation, groups)


def _in_front(array: Array, axis: int | None) -> Array:
    return array if axis is None else jnp.moveaxis(array, axis, 0)


def _merge(arrays: Array, axis: int, groups: int) -> Array:
    """Many arrays along the first axis as one array with more channels along `axis` (counted without the first axis).

    In each group of channels, the first array's channels are followed by the second's, and so on.
    """
    count, *shape = arrays.shape
    parts = arrays.reshape(count, *shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    return jnp.moveaxis(parts, 0, axis + 1).reshape(*shape[:axis], count * shape[axis], *shape[axis + 1 :])


def _split(array: Array, axis: int, count: int, groups: int) -> Array:
    """The inverse of `_merge`."""
    shape = array.shape
    each = shape[axis] // (groups * count)
    parts = array.reshape(*shape[:axis], groups, count, each, *shape[axis + 1 :])
    return jnp.moveaxis(parts, axis + 1, 0).reshape(count, *shape[:axis], groups * each, *shape[axis + 1 :])
