"""The three maps by XLA's own convolution: on accelerators, in exported programs, and where no native kernel can run.

Zeros between the cells and signed pads are arguments of XLA's convolution. This module has no rules for derivatives:
the primitives of `native` have them, and are lowered to the functions here. Arrays have channels last.

On the CPU, a transposed convolution with both its gradients would take about 9 times as long with the gradients that
JAX derives (3×3, 16 to 32 channels, 26×26, 200 images: 1.0 s against 0.12 s), because a kernel gradient is then a
convolution with batch and channels exchanged. Here it is a matrix product over a few images at a time. The plain
convolution, too, is about 4 times as fast over a few images at a time if there are more than 16 input channels (32 to
16, 1,000 images: 0.41 s against 0.11 s).
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ...geometry import Crop, Geometry, is_open

Array = Any
_COLUMN_BYTES = 2**24  # the columns of one step: every input cell, once for each kernel tap that reads it


def conv_transpose(small: Array, kernel: Array, geometry: Geometry, cpu: bool) -> Array:
    if max(geometry.stride) > 1 and cpu:
        return _by_phases(small, kernel, geometry)
    g, c_small = geometry.groups, kernel.shape[-1]
    pads = [(K - 1 - b, K - 1 - e) for K, (b, e) in zip(geometry.spans, geometry.crops, strict=True)]
    # (*k, C_big / g, C_small) to the flipped (*k, C_small / g, C_big) of the convolution over the zero-spaced grid
    split = jnp.flip(kernel, range(geometry.rank)).reshape(*kernel.shape[:-1], g, c_small // g)
    turned = jnp.moveaxis(split, -1, -3).swapaxes(-1, -2).reshape(*geometry.kernel_size, c_small // g, -1)
    return _convolve(small, turned, (1,) * geometry.rank, pads, geometry.stride, geometry.dilation, g)


def _by_phases(small: Array, kernel: Array, geometry: Geometry) -> Array:
    """All phases as the output channels of one dense convolution, which are then interleaved.

    Big cell ``q*s + r`` is reached from small cell ``q - m`` by the tap at ``m*s + r + b`` of the dilated kernel. XLA's
    convolution over the zero-spaced grid would multiply by the zeros, and its compiler ends the process on some
    shapes (jaxlib 0.10.2; kernel (2, 4), strides (2, 3), input (3, 2), "same").
    """
    g, rank, c_small = geometry.groups, geometry.rank, kernel.shape[-1]
    edges, shape, pads, more = [], [], [], []
    for K, s, d, (b, e) in zip(geometry.spans, geometry.stride, geometry.dilation, geometry.crops, strict=True):
        first, last = -b // s, (K - 1 - b) // s  # the range of m
        edges.append((-b - first * s, last * s + s - K + b, d - 1))
        shape += [last - first + 1, s]
        beyond = K - s - b - e  # n small cells make n * s + beyond big ones
        pads.append((last, -(-beyond // s) - first))
        more.append(-beyond % s)  # surplus cells of the last phases
    blocks = lax.pad(kernel, jnp.zeros((), kernel.dtype), [*edges, (0, 0, 0), (0, 0, 0)])
    blocks = jnp.flip(blocks.reshape(*shape, -1, g, c_small // g), range(0, 2 * rank, 2))
    windows, phases = range(0, 2 * rank, 2), range(1, 2 * rank, 2)
    order = (*windows, 2 * rank + 2, 2 * rank + 1, *phases, 2 * rank)
    weights = blocks.transpose(order).reshape(*shape[::2], c_small // g, -1)
    ones = (1,) * rank
    y = _convolve(small, weights, ones, pads, ones, ones, g)
    y = y.reshape(*y.shape[:-1], g, *geometry.stride, kernel.shape[-2])
    interleave = [axis for a in range(rank) for axis in (1 + a, 2 + rank + a)]
    y = y.transpose(0, *interleave, 1 + rank, 2 + 2 * rank)
    cells = [count * s for count, s in zip(y.shape[1 : 2 * rank : 2], geometry.stride, strict=True)]
    y = y.reshape(y.shape[0], *cells, g * kernel.shape[-2])
    return lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), *((0, -m, 0) for m in more), (0, 0, 0)])


def conv(big: Array, kernel: Array, geometry: Geometry, cpu: bool) -> Array:
    if not cpu or is_open(big.shape) or big.shape[-1] <= 16:
        return _plain_conv(big, kernel, geometry)
    images = _images_a_step(big, geometry.conv_size(big.shape[1:-1]), geometry)
    if images >= len(big):
        return _plain_conv(big, kernel, geometry)
    return lax.map(lambda image: _plain_conv(image[None], kernel, geometry)[0], big, batch_size=images)


def _plain_conv(big: Array, kernel: Array, geometry: Geometry) -> Array:
    ones = (1,) * geometry.rank
    return _convolve(big, kernel, geometry.stride, list(geometry.crops), ones, geometry.dilation, geometry.groups)


def kernel_gradient(big: Array, small: Array, geometry: Geometry, cpu: bool) -> Array:
    shape = (*geometry.kernel_size, big.shape[-1] // geometry.groups, small.shape[-1])
    if not cpu or is_open((*big.shape, *small.shape)):
        kernel = jnp.zeros(shape, big.dtype)
        return jax.linear_transpose(lambda kernel: _plain_conv(big, kernel, geometry), kernel)(small)[0]
    images = max(1, min(_images_a_step(big, small.shape[1:-1], geometry), len(big)))
    steps = -(-len(big) // images)

    def split(array: Array) -> Array:  # the last step is filled with images of zeros, which add nothing
        filled = jnp.pad(array, [(0, steps * images - len(array)), *((0, 0),) * (array.ndim - 1)])
        return filled.reshape(steps, images, *array.shape[1:])

    def step(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        return total + _by_columns(*pair, geometry), None

    return lax.scan(step, jnp.zeros(shape, big.dtype), (split(big), split(small)))[0]


def _by_columns(big: Array, small: Array, geometry: Geometry) -> Array:
    """The kernel gradient as one matrix product: a column for each kernel tap and big channel, a row for each cell."""
    g, size = geometry.groups, small.shape[1:-1]
    # Every tap can be read at every small cell: cells that the crop removed are zeros.
    edges = [(b, e, 0) for b, e in geometry.crops]
    full = lax.pad(big, jnp.zeros((), big.dtype), [(0, 0, 0), *edges, (0, 0, 0)])
    columns = []
    for tap in itertools.product(*map(range, geometry.kernel_size)):
        begins = [j * d for j, d in zip(tap, geometry.dilation, strict=True)]
        ends = [at + (n - 1) * s + 1 for at, n, s in zip(begins, size, geometry.stride, strict=True)]
        columns.append(lax.slice(full, (0, *begins, 0), (len(full), *ends, full.shape[-1]), (1, *geometry.stride, 1)))
    rows = small.size // small.shape[-1]
    stacked = jnp.stack(columns, -2).reshape(rows, len(columns), g, big.shape[-1] // g)
    product = jnp.einsum("ntgb,ngs->tbgs", stacked, small.reshape(rows, g, small.shape[-1] // g))
    return product.reshape(*geometry.kernel_size, big.shape[-1] // g, small.shape[-1])


def _images_a_step(big: Array, size: tuple[int, ...], geometry: Geometry) -> int:
    numbers = math.prod(geometry.kernel_size) * math.prod(size) * big.shape[-1]
    return int(max(1, _COLUMN_BYTES // (numbers * big.dtype.itemsize)))


def _convolve(
    x: Array,
    kernel: Array,
    stride: tuple[int, ...],
    pads: list[Crop],
    x_dilation: tuple[int, ...],
    kernel_dilation: tuple[int, ...],
    groups: int,
) -> Array:
    space = "DHW"[-len(stride) :]
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=stride,
        padding=pads,
        lhs_dilation=x_dilation,
        rhs_dilation=kernel_dilation,
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
        feature_group_count=groups,
    )
