"""The three maps for TensorFlow tensors, by its own convolutions over the full grid, then crop or extension.

Its transposed convolutions refuse some crops and abort on others; over the whole full grid ("VALID") they are sound.
Its CPU convolutions take channels last alone, and its transposed convolutions are documented without groups: here each
group is a convolution of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..geometry import Crop, Geometry, span
from . import common_type

Tensor = Any


def owns(array: Any) -> bool:
    return isinstance(array, (tf.Tensor, tf.Variable))


def convert(*arrays: Any) -> tuple[Any, ...]:
    tensors = [None if array is None else tf.convert_to_tensor(array) for array in arrays]
    common = common_type(arrays, tensors, _promoted, lambda t: not t.is_floating)
    return tuple(None if tensor is None else tf.cast(tensor, common) for tensor in tensors)


def _promoted(types: list[Any]) -> Any:
    return tf.as_dtype(np.result_type(*(t.as_numpy_dtype for t in types)))


def as_float(array: Tensor) -> Tensor:
    return tf.cast(array, tf.float64)


def relu(array: Tensor) -> Tensor:
    return tf.where(array < 0, tf.zeros_like(array), array)  # tf.nn.relu turns NaN into 0 on some devices


def conv_transpose(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    small = _filled(_working(x, channels))
    batch, *size, _ = _shape(small)
    geometry = _without_idle_strides(geometry, size)
    full = [(n - 1) * s + K for n, s, K in zip(size, geometry.stride, geometry.spans, strict=True)]
    transposed = (tf.nn.conv1d_transpose, tf.nn.conv2d_transpose, tf.nn.conv3d_transpose)[geometry.rank - 1]
    dilations = _dilation(geometry, kernel)

    def one(part: Tensor, own: Tensor) -> Tensor:
        shape = [batch, *full, own.shape[-2]]
        return transposed(part, own, shape, geometry.stride, "VALID", dilations=dilations)

    y = _grouped(one, small, _kernel(kernel, geometry, channels), geometry.groups)
    return _finished(_crop(y, geometry.crops), bias, x, channels)


def conv(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    big = _filled(_working(x, channels))
    if None not in big.shape[1:-1]:
        size = geometry.conv_size(big.shape[1:-1])
        geometry = _without_idle_strides(geometry.fitted(size, big.shape[1:-1]), size)
    big = _crop(big, [(-b, -e) for b, e in geometry.crops])
    convolved = (tf.nn.conv1d, tf.nn.conv2d, tf.nn.conv3d)[geometry.rank - 1]
    strides, dilations = geometry.stride, _dilation(geometry, kernel)
    if geometry.rank == 3:  # alone in wanting entries for batch and channels
        strides, dilations = (1, *strides, 1), (1, *dilations, 1)

    def one(part: Tensor, own: Tensor) -> Tensor:
        return convolved(part, own, strides, "VALID", dilations=dilations)

    return _finished(_grouped(one, big, _kernel(kernel, geometry, channels), geometry.groups), bias, x, channels)


def _filled(array: Tensor) -> Tensor:
    """With one image of zeros if there is none: TensorFlow gives an empty batch back in the input's size."""
    return tf.zeros([1, *array.shape[1:]], array.dtype) + tf.reduce_sum(array) if array.shape[0] == 0 else array


def _without_idle_strides(geometry: Geometry, size: Sequence[Any]) -> Geometry:
    """The same with stride 1 along axes of one small cell, where a stride has no effect, but for this: TensorFlow 2.21
    with oneDNN computes a convolution of one input channel with strides (1, s) wrongly where it makes one column."""
    strides = [1 if isinstance(n, int) and n == 1 else s for n, s in zip(size, geometry.stride, strict=True)]
    return Geometry(geometry.kernel_size, strides, geometry.crops, None, geometry.dilation, geometry.groups)


def _grouped(one: Callable[[Tensor, Tensor], Tensor], x: Tensor, kernel: Tensor, groups: int) -> Tensor:
    if groups == 1:
        return one(x, kernel)
    parts = map(one, tf.split(x, groups, -1), tf.split(kernel, groups, -1))
    return tf.concat(list(parts), -1)


def kernel_gradient(big: Tensor, small: Tensor, geometry: Geometry, channels: str) -> Tensor:
    axis = -1 if channels == "last" else 1
    per_group, c_small = big.shape[axis] // geometry.groups, small.shape[axis]
    k = geometry.kernel_size
    shape = (*k, per_group, c_small) if channels == "last" else (c_small, per_group, *k)
    # The map from kernel to convolution is linear, so that its derivative, anywhere, is what is asked for.
    with tf.GradientTape() as tape:
        kernel = tf.zeros(shape, big.dtype)
        tape.watch(kernel)
        y = conv(big, kernel, None, geometry, channels)
    return tape.gradient(y, kernel, output_gradients=small)


def _written_out(geometry: Geometry, kernel: Tensor) -> bool:
    """Whether the dilation has to become zeros in the kernel: what TensorFlow dilates itself on a CPU, in both
    directions, is float32 in one or two dimensions."""
    return max(geometry.dilation) > 1 and (geometry.rank == 3 or kernel.dtype == tf.float64)


def _dilation(geometry: Geometry, kernel: Tensor) -> tuple[int, ...]:
    return (1,) * geometry.rank if _written_out(geometry, kernel) else geometry.dilation


def _kernel(kernel: Tensor, geometry: Geometry, channels: str) -> Tensor:
    """The kernel channels last; with its dilation written out as zeros where TensorFlow would refuse it."""
    last = kernel if channels == "last" else tf.transpose(kernel, [*range(2, geometry.rank + 2), 1, 0])
    if last.dtype.size < 4:
        last = tf.cast(last, tf.float32)
    if not _written_out(geometry, kernel):
        return last
    for axis, (k, d) in enumerate(zip(geometry.kernel_size, geometry.dilation, strict=True)):
        # every tap followed by d - 1 zeros, of which the last tap's are dropped again
        spread = tf.expand_dims(last, axis + 1)
        spread = tf.pad(spread, [(0, (d - 1) * (at == axis + 1)) for at in range(len(spread.shape))])
        merged = [*last.shape[:axis], k * d, *last.shape[axis + 1 :]]
        last = tf.reshape(spread, merged)[(slice(None),) * axis + (slice(span(k, d)),)]
    return last


def _crop(grid: Tensor, crops: Sequence[Crop]) -> Tensor:
    """Without `begin` and `end` cells along the spatial axes; a negative number adds zeros instead."""
    if all(crop == (0, 0) for crop in crops):
        return grid
    # The extension first: a crop may go beyond the cells that there are.
    grid = tf.pad(grid, [(0, 0), *((max(-b, 0), max(-e, 0)) for b, e in crops), (0, 0)])
    return grid[(slice(None), *(slice(max(b, 0), -e if e > 0 else None) for b, e in crops))]


def _shape(tensor: Tensor) -> list[Any]:
    """The shape in numbers, as far as it is known, and else in tensors."""
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if n is None else n for axis, n in enumerate(tensor.shape)]


def _working(array: Tensor, channels: str) -> Tensor:
    """Channels last, in the type to compute in: half and bfloat16 lose too much in sums."""
    rank = len(array.shape) - 2
    last = tf.transpose(array, [0, *range(2, rank + 2), 1]) if channels == "first" else tf.convert_to_tensor(array)
    return last if last.dtype.size >= 4 else tf.cast(last, tf.float32)


def _finished(y: Tensor, bias: Tensor | None, like: Tensor, channels: str) -> Tensor:
    if bias is not None:
        y = y + tf.cast(bias, y.dtype)
    y = tf.cast(y, like.dtype)
    if like.shape[0] == 0:
        y = y[:0]
    rank = len(y.shape) - 2
    return tf.transpose(y, [0, rank + 1, *range(1, rank + 1)]) if channels == "first" else y
