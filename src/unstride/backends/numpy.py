"""The three maps for NumPy arrays, one matrix product for each kernel tap: no zero-spaced grid, no products with zero.

Each tap connects a strided slice of the big grid with a slice of the small one (`Geometry.taps`); within it the map is
a matrix product over the channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Geometry
from . import common_type

Array = NDArray[Any]


def owns(array: Any) -> bool:
    return isinstance(array, np.ndarray)


def convert(*arrays: Any) -> tuple[Any, ...]:
    found = [None if array is None else np.asarray(array) for array in arrays]
    common = common_type(arrays, found, lambda types: np.result_type(*types), lambda t: t.kind in "biu")
    return tuple(None if array is None else array.astype(common, copy=False) for array in found)


def as_float(array: Array) -> Array:
    return array.astype(np.float64)


def conv_transpose(x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str) -> Array:
    small, weights = _working(x, channels), _taps_first(kernel, geometry, channels)
    size = geometry.output_size(small.shape[1:-1])
    big = np.zeros((small.shape[0], *size, geometry.groups, weights.shape[-2]), weights.dtype)
    grouped = small.reshape(*small.shape[:-1], geometry.groups, weights.shape[-1])
    for j, here, there in _connections(geometry, small.shape[1:-1], size):
        big[there] += _mix(grouped[here], weights[j].swapaxes(-1, -2))
    return _finished(big, bias, x, channels)


def conv(x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str) -> Array:
    big, weights = _working(x, channels), _taps_first(kernel, geometry, channels)
    size = geometry.conv_size(big.shape[1:-1])
    small = np.zeros((big.shape[0], *size, geometry.groups, weights.shape[-1]), weights.dtype)
    grouped = big.reshape(*big.shape[:-1], geometry.groups, weights.shape[-2])
    for j, here, there in _connections(geometry, size, big.shape[1:-1]):
        small[here] += _mix(grouped[there], weights[j])
    return _finished(small, bias, x, channels)


def kernel_gradient(big: Array, small: Array, geometry: Geometry, channels: str) -> Array:
    bigs, smalls = _working(big, channels), _working(small, channels)
    g, c_big, c_small = geometry.groups, bigs.shape[-1] // geometry.groups, smalls.shape[-1] // geometry.groups
    gradient = np.zeros((*geometry.kernel_size, c_big, g, c_small), bigs.dtype)
    for j, here, there in _connections(geometry, smalls.shape[1:-1], bigs.shape[1:-1]):
        rows = bigs[there].reshape(-1, g, c_big).transpose(1, 2, 0)
        gradient[j] = (rows @ smalls[here].reshape(-1, g, c_small).swapaxes(0, 1)).swapaxes(0, 1)
    flat = gradient.reshape(*geometry.kernel_size, c_big, g * c_small)
    if channels == "first":
        flat = np.moveaxis(flat, (-1, -2), (0, 1))
    return flat.astype(big.dtype, copy=False)


def _connections(
    geometry: Geometry, small: tuple[int, ...], big: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]]:
    """For each kernel tap, its index and the index expressions of the small and big cells that it connects."""
    axes = [list(geometry.taps(axis, n, m)) for axis, (n, m) in enumerate(zip(small, big, strict=True))]
    for taps in itertools.product(*axes):
        j, here, there = zip(*taps, strict=True)
        yield j, (slice(None), *here), (slice(None), *there)


def _mix(cells: Array, weights: Array) -> Array:
    """``(..., groups, a)`` times ``(groups, a, b)``: for each group a matrix product over the channels."""
    product: Array
    if len(weights) == 1:  # one large product, which a broadcast one over the groups would not be
        product = (cells[..., 0, :] @ weights[0])[..., None, :]
    else:
        product = (cells[..., None, :] @ weights)[..., 0, :]
    return product


def _working(array: Array, channels: str) -> Array:
    """Channels last, in the type to compute in: half and bfloat16 lose too much in sums."""
    last = np.moveaxis(array, 1, -1) if channels == "first" else array
    return last.astype(np.float32, copy=False) if array.dtype.itemsize < 4 else last


def _taps_first(kernel: Array, geometry: Geometry, channels: str) -> Array:
    """The kernel as ``(*k, groups, C_big / groups, C_small / groups)``."""
    last = np.moveaxis(kernel, (0, 1), (-1, -2)) if channels == "first" else kernel
    split = last.reshape(*last.shape[:-1], geometry.groups, last.shape[-1] // geometry.groups)
    return np.ascontiguousarray(np.moveaxis(split, -2, -3), dtype=None if kernel.dtype.itemsize >= 4 else np.float32)


def _finished(grouped: Array, bias: Array | None, like: Array, channels: str) -> Array:
    y = grouped.reshape(*grouped.shape[:-2], grouped.shape[-2] * grouped.shape[-1])
    if bias is not None:
        y += bias
    if channels == "first":
        y = np.moveaxis(y, -1, 1)
    return np.ascontiguousarray(y, dtype=like.dtype)
