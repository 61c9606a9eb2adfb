"""The three maps in TensorFlow's operators, for graphs and for accelerators; float32 and float64.

If TensorFlow has the geometry ("VALID" or "SAME"), its operator is called directly, and fuses with the operators that
follow. Any other geometry is computed as "VALID", and then cropped or extended: TensorFlow's transposed convolutions
refuse some crops and abort on others, and their explicit paddings take up to seven times as long. Measurements led to
two exceptions: transposed convolutions to a few channels are computed by phases, up to five times as fast; and if the
stride is the kernel's size, the kernel's gradient is a matrix product, up to twice as fast.

TensorFlow's CPU convolutions only take channels last, and its transposed convolutions are documented without groups. So
each group is a separate convolution here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import tensorflow as tf

from ...geometry import Crop, Geometry, full_sizes, span

Tensor = Any
_FEW = 4  # channels of a result: oneDNN takes as long for fewer channels than a vector has as for a whole vector
_MANY = 32  # channels from which on the matrix product is faster


def conv_transpose(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    small = _filled(_last(x, channels))
    taps = _kernel_last(kernel, channels)
    geometry = _without_idle_strides(geometry, small.shape[1:-1])
    plain = geometry.groups == 1 and max(geometry.dilation) == 1
    if plain and max(geometry.stride) > 1 and taps.shape[-2] <= _FEW:
        y = _through(_by_phases, geometry)(small, taps)
    elif _meets(geometry) and min(taps.shape[-2:]) >= _MANY:
        y = _through(_directly, geometry)(small, taps)
    else:
        y = _directly(small, taps, geometry)
    return _finished(y, bias, x, channels)


def conv(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    big = _filled(_last(x, channels))
    return _finished(_convolved(big, _kernel_last(kernel, channels), geometry), bias, x, channels)


def kernel_gradient(big: Tensor, small: Tensor, geometry: Geometry, channels: str) -> Tensor:
    gradient = _kernel_gradient(_last(big, channels), _last(small, channels), geometry)
    rank = geometry.rank
    return tf.transpose(gradient, [rank + 1, rank, *range(rank)]) if channels == "first" else gradient


def _through(how: Callable[[Tensor, Tensor, Geometry], Tensor], geometry: Geometry) -> Callable[..., Tensor]:
    """The transposed convolution computed by `how`, with our gradient: TensorFlow's would be slower."""

    def with_gradient(small: Tensor, kernel: Tensor) -> tuple[Tensor, Any]:
        def gradient(big: Tensor) -> tuple[Tensor, Tensor]:
            return _convolved(big, kernel, geometry), _kernel_gradient(big, small, geometry)

        return how(small, kernel, geometry), gradient

    differentiable: Callable[..., Tensor] = tf.custom_gradient(with_gradient)
    return differentiable


def _directly(small: Tensor, kernel: Tensor, geometry: Geometry) -> Tensor:
    batch, *size, _ = shape_of(small)
    transposed = (tf.nn.conv1d_transpose, tf.nn.conv2d_transpose, tf.nn.conv3d_transpose)[geometry.rank - 1]
    dilations = _dilation(geometry, kernel)
    if same := _is_same(geometry):
        length = tuple(n * s for n, s in zip(size, geometry.stride, strict=True))
    else:
        length = full_sizes(size, geometry.stride, geometry.spans)

    def one(part: Tensor, taps: Tensor) -> Tensor:
        shape, padding = [batch, *length, taps.shape[-2]], "SAME" if same else "VALID"
        return transposed(part, taps, shape, geometry.stride, padding, dilations=dilations)

    y = _grouped(one, small, _written(kernel, geometry), geometry.groups)
    return y if same else _crop(y, geometry.crops)


def _by_phases(small: Tensor, kernel: Tensor, geometry: Geometry) -> Tensor:
    """All phases of the full grid as the output channels of one dense convolution, interleaved and then cropped.

    Full cell ``q*s + r`` is reached from small cell ``q - m`` by tap ``m*s + r``, for m from 0 to `window` - 1.
    """
    rank, stride = geometry.rank, geometry.stride
    c_big, c_small = kernel.shape[-2:]
    window = [-(-k // s) for k, s in zip(geometry.kernel_size, stride, strict=True)]
    surplus = [w * s - k for w, s, k in zip(window, stride, geometry.kernel_size, strict=True)]
    blocks = tf.pad(kernel, [*((0, n) for n in surplus), (0, 0), (0, 0)])
    blocks = tf.reshape(blocks, [*(n for pair in zip(window, stride, strict=True) for n in pair), c_big, c_small])
    windows, phases = range(0, 2 * rank, 2), range(1, 2 * rank, 2)
    blocks = tf.transpose(tf.reverse(blocks, list(windows)), [*windows, 2 * rank + 1, *phases, 2 * rank])
    weights = tf.reshape(blocks, [*window, c_small, -1])
    y = tf.nn.convolution(tf.pad(small, [(0, 0), *((w - 1, w - 1) for w in window), (0, 0)]), weights, padding="VALID")
    batch, *cells, _ = shape_of(y)
    if rank == 2 and stride[0] == stride[1]:
        y = tf.nn.depth_to_space(y, stride[0])
    else:
        interleave = [axis for a in range(rank) for axis in (1 + a, 1 + rank + a)]
        y = tf.transpose(tf.reshape(y, [batch, *cells, *stride, c_big]), [0, *interleave, 1 + 2 * rank])
        y = tf.reshape(y, [batch, *(n * s for n, s in zip(cells, stride, strict=True)), c_big])
    return _crop(y, [(b, e + n) for (b, e), n in zip(geometry.crops, surplus, strict=True)])


def _convolved(big: Tensor, kernel: Tensor, geometry: Geometry) -> Tensor:
    if None in big.shape[1:-1]:
        same = _is_same(geometry) and max(geometry.stride) == 1
    else:
        size = geometry.conv_size(big.shape[1:-1])
        geometry = _without_idle_strides(geometry.fitted(size, big.shape[1:-1]), size)
        same = _is_same(geometry, big.shape[1:-1], size)
    if not same:
        big = _crop(big, [(-b, -e) for b, e in geometry.crops])
    convolved = (tf.nn.conv1d, tf.nn.conv2d, tf.nn.conv3d)[geometry.rank - 1]
    strides, dilations = geometry.stride, _dilation(geometry, kernel)
    if geometry.rank == 3:  # only tf.nn.conv3d needs entries for batch and channels
        strides, dilations = (1, *strides, 1), (1, *dilations, 1)

    def one(part: Tensor, taps: Tensor) -> Tensor:
        return convolved(part, taps, strides, "SAME" if same else "VALID", dilations=dilations)

    return _grouped(one, big, _written(kernel, geometry), geometry.groups)


def _kernel_gradient(big: Tensor, small: Tensor, geometry: Geometry) -> Tensor:
    k, per_group, c_small = geometry.kernel_size, big.shape[-1] // geometry.groups, small.shape[-1]
    if _meets(geometry) and min(per_group, c_small) >= _MANY:
        blocks = tf.reshape(tf.nn.space_to_depth(big, k[0]), [-1, k[0] * k[1] * per_group])
        product = tf.matmul(blocks, tf.reshape(small, [-1, c_small]), transpose_a=True)
        return tf.reshape(product, [*k, per_group, c_small])
    # The convolution is linear in the kernel, so its derivative at any kernel is the kernel gradient.
    with tf.GradientTape() as tape:
        kernel = tf.zeros((*k, per_group, c_small), big.dtype)
        tape.watch(kernel)
        y = _convolved(_filled(big), kernel, geometry)
    return tape.gradient(y, kernel, output_gradients=_filled(small))


def _is_same(geometry: Geometry, big: Sequence[int] = (), small: Sequence[int] = ()) -> bool:
    """Whether the crops are TensorFlow's "SAME": for these sizes, or else for `stride` big cells per small one."""
    if not all(b == max(b + e, 0) // 2 for b, e in geometry.crops):
        return False
    if big:
        return all(n == -(-N // s) for N, n, s in zip(big, small, geometry.stride, strict=True))
    axes = zip(geometry.spans, geometry.stride, geometry.crops, strict=True)
    return all(b + e == K - s for K, s, (b, e) in axes)


def _meets(geometry: Geometry) -> bool:
    """Whether the kernel's copies fill the big grid without gaps or overlap, with a square kernel on two axes."""
    k = geometry.kernel_size
    alike = geometry.rank == 2 and k == geometry.stride and k[0] == k[1] > 1
    return alike and max(geometry.dilation) == geometry.groups == 1 and not any(map(any, geometry.crops))


def _filled(array: Tensor) -> Tensor:
    """The array, or one image of zeros if it is empty: TensorFlow's result for an empty batch has the input's size."""
    return tf.zeros([1, *array.shape[1:]], array.dtype) + tf.reduce_sum(array) if array.shape[0] == 0 else array


def _without_idle_strides(geometry: Geometry, size: Sequence[Any]) -> Geometry:
    """The geometry with stride 1 along axes of one small cell, where a stride has no effect.

    TensorFlow 2.21 with oneDNN computes a convolution of one input channel with strides (1, s) wrongly if the result
    has one column.
    """
    strides = [1 if isinstance(n, int) and n == 1 else s for n, s in zip(size, geometry.stride, strict=True)]
    return Geometry(geometry.kernel_size, strides, geometry.crops, None, geometry.dilation, geometry.groups)


def _grouped(one: Callable[[Tensor, Tensor], Tensor], x: Tensor, kernel: Tensor, groups: int) -> Tensor:
    if groups == 1:
        return one(x, kernel)
    parts = map(one, tf.split(x, groups, -1), tf.split(kernel, groups, -1))
    return tf.concat(list(parts), -1)


def _written_out(geometry: Geometry, kernel: Tensor) -> bool:
    """Whether the dilation has to become zeros in the kernel. On a CPU, TensorFlow dilates both convolutions itself
    only in float32, in one or two dimensions, and with oneDNN."""
    return max(geometry.dilation) > 1 and (geometry.rank == 3 or kernel.dtype == tf.float64 or not _dilates())


@cache
def _dilates() -> bool:
    """Whether TensorFlow can dilate here. It needs oneDNN, which TensorFlow chooses by the processor, so we try it."""
    with tf.init_scope():  # runs eagerly even while a graph is being made
        if tf.config.list_logical_devices("GPU"):
            return True
        try:
            grid, kernel = tf.zeros((1, 2, 2, 1)), tf.zeros((2, 2, 1, 1))
            tf.nn.conv2d_transpose(grid, kernel, (1, 4, 4, 1), 1, "VALID", dilations=2)
        except tf.errors.InvalidArgumentError:
            return False
    return True


def _dilation(geometry: Geometry, kernel: Tensor) -> tuple[int, ...]:
    return (1,) * geometry.rank if _written_out(geometry, kernel) else geometry.dilation


def _written(kernel: Tensor, geometry: Geometry) -> Tensor:
    """The kernel, with its dilation written out as zeros if TensorFlow would refuse the dilation."""
    if not _written_out(geometry, kernel):
        return kernel
    for axis, (k, d) in enumerate(zip(geometry.kernel_size, geometry.dilation, strict=True)):
        # every tap is followed by d - 1 zeros; those after the last tap are dropped again
        spread = tf.expand_dims(kernel, axis + 1)
        spread = tf.pad(spread, [(0, (d - 1) * (at == axis + 1)) for at in range(len(spread.shape))])
        merged = [*kernel.shape[:axis], k * d, *kernel.shape[axis + 1 :]]
        kernel = tf.reshape(spread, merged)[(slice(None),) * axis + (slice(span(k, d)),)]
    return kernel


def _crop(grid: Tensor, crops: Sequence[Crop]) -> Tensor:
    """The grid without `begin` and `end` cells along the spatial axes; a negative number adds zeros instead."""
    if not any(map(any, crops)):
        return grid
    if min(map(min, crops)) < 0:  # the extension comes first: a crop may exceed the existing cells
        grid = tf.pad(grid, [(0, 0), *((max(-b, 0), max(-e, 0)) for b, e in crops), (0, 0)])
    if max(map(max, crops)) <= 0:
        return grid
    return grid[(slice(None), *(slice(max(b, 0), -e if e > 0 else None) for b, e in crops))]


def shape_of(tensor: Tensor) -> list[Any]:
    """The shape: known sizes as numbers, others as tensors."""
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if n is None else n for axis, n in enumerate(tensor.shape)]


def _last(array: Tensor, channels: str) -> Tensor:
    rank = len(array.shape) - 2
    return tf.transpose(array, [0, *range(2, rank + 2), 1]) if channels == "first" else array


def _kernel_last(kernel: Tensor, channels: str) -> Tensor:
    rank = len(kernel.shape) - 2
    return tf.transpose(kernel, [*range(2, rank + 2), 1, 0]) if channels == "first" else kernel


def _finished(y: Tensor, bias: Tensor | None, like: Tensor, channels: str) -> Tensor:
    if bias is not None:
        y = tf.nn.bias_add(y, bias)  # TensorFlow fuses it with the convolution, unlike a plain addition
    if like.shape[0] == 0:
        y = y[:0]
    rank = len(y.shape) - 2
    return tf.transpose(y, [0, rank + 1, *range(1, rank + 1)]) if channels == "first" else y
