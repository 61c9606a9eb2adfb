"""The definitions, in plain loops over float64. Every other code path of the package is tested against them.

One sample at a time, channels last: grids ``(*space, channels)``, kernels ``(*k, C_big / groups, C_small)``, in any
number of dimensions. The transposed convolution has three definitions, which agree:

* `scatter`: every small cell lays a scaled copy of the kernel onto the full grid;
* `grid`: the flipped kernel slides, one cell at a time, over the input with zeros between and around its cells;
* `by_matrix`: the convolution's matrix, transposed, times the input.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .geometry import Geometry

Array = NDArray[np.float64]
Cell = tuple[int, ...]


def scatter(x: ArrayLike, kernel: ArrayLike, geometry: Geometry, bias: ArrayLike | None = None) -> Array:
    """``conv_transpose`` by scattering: ``full[i*s + j*d] += x[i] * kernel[j]``, then the crop.

    >>> scatter([[0.], [1.], [2.]], [[[1.]], [[10.]]], Geometry(2, stride=2)).ravel()
    array([ 0.,  0.,  1., 10.,  2., 20.])
    """
    small, weights = _float64(x), _float64(kernel)
    full = np.zeros((*geometry.full_size(small.shape[:-1]), _big_channels(weights, geometry)))
    for i in _cells(small.shape[:-1]):
        for j in _cells(geometry.kernel_size):
            target = tuple(a * s + b * d for a, b, s, d in zip(i, j, geometry.stride, geometry.dilation, strict=True))
            for c_big, c_small, local in _channel_pairs(weights, geometry):
                full[(*target, c_big)] += small[(*i, c_small)] * weights[(*j, local, c_small)]
    return _with_bias(crop(full, geometry.crops), bias)


def grid(x: ArrayLike, kernel: ArrayLike, geometry: Geometry, bias: ArrayLike | None = None) -> Array:
    """``conv_transpose`` as a convolution with stride 1 of the zero-spaced, extended grid with the flipped kernel."""
    small, weights = _float64(x), _float64(kernel)
    spaced = extended_grid(small, geometry)
    flipped = weights[(slice(None, None, -1),) * geometry.rank]
    size = geometry.output_size(small.shape[:-1])
    y = np.zeros((*size, _big_channels(weights, geometry)))
    for o in _cells(size):
        for j in _cells(geometry.kernel_size):
            source = tuple(a + b * d for a, b, d in zip(o, j, geometry.dilation, strict=True))
            for c_big, c_small, local in _channel_pairs(weights, geometry):
                y[(*o, c_big)] += spaced[(*source, c_small)] * flipped[(*j, local, c_small)]
    return _with_bias(y, bias)


def extended_grid(x: ArrayLike, geometry: Geometry) -> Array:
    """The input with ``s - 1`` zeros between its cells and ``K - 1 - b``, ``K - 1 - e`` around them.

    >>> extended_grid([[5.], [7.]], Geometry(2, stride=3)).ravel()
    array([0., 5., 0., 0., 7., 0.])
    """
    small = _float64(x)
    size = small.shape[:-1]
    spaced = np.zeros((*((n - 1) * s + 1 for n, s in zip(size, geometry.stride, strict=True)), small.shape[-1]))
    spaced[tuple(slice(None, None, s) for s in geometry.stride)] = small
    ring = [(b - (K - 1), e - (K - 1)) for K, (b, e) in zip(geometry.spans, geometry.crops, strict=True)]
    return crop(spaced, ring)


def matrix(kernel: ArrayLike, geometry: Geometry, size: Sequence[int]) -> Array:
    """The matrix of the convolution for small grids of `size`.

    It has a row for each small cell and channel and a column for each big cell and channel, both in C order. Its
    transpose is the matrix of the transposed convolution.
    """
    weights = _float64(kernel)
    bigs = geometry.output_size(size)
    dense = np.zeros((*size, weights.shape[-1], *bigs, _big_channels(weights, geometry)))
    for i in _cells(size):
        for j in _cells(geometry.kernel_size):
            o = _big_cell(i, j, geometry)
            if _inside(o, bigs):
                for c_big, c_small, local in _channel_pairs(weights, geometry):
                    dense[(*i, c_small, *o, c_big)] += weights[(*j, local, c_small)]
    rows = int(np.prod([*size, weights.shape[-1]]))
    return dense.reshape(rows, dense.size // rows)


def by_matrix(x: ArrayLike, kernel: ArrayLike, geometry: Geometry, bias: ArrayLike | None = None) -> Array:
    """``conv_transpose`` as a matrix product: the convolution's matrix, transposed, times the input."""
    small, weights = _float64(x), _float64(kernel)
    size = small.shape[:-1]
    y = matrix(weights, geometry, size).T @ small.ravel()
    return _with_bias(y.reshape(*geometry.output_size(size), _big_channels(weights, geometry)), bias)


def conv(x: ArrayLike, kernel: ArrayLike, geometry: Geometry, bias: ArrayLike | None = None) -> Array:
    """The convolution: ``small[i] = sum over j of big[i*s + j*d - b] * kernel[j]``.

    >>> conv([[1.], [2.], [3.], [4.]], [[[1.]], [[10.]]], Geometry(2, stride=2)).ravel()
    array([21., 43.])
    """
    big, weights = _float64(x), _float64(kernel)
    size = geometry.conv_size(big.shape[:-1])
    y = np.zeros((*size, weights.shape[-1]))
    for i in _cells(size):
        for j in _cells(geometry.kernel_size):
            o = _big_cell(i, j, geometry)
            if _inside(o, big.shape[:-1]):
                for c_big, c_small, local in _channel_pairs(weights, geometry):
                    y[(*i, c_small)] += big[(*o, c_big)] * weights[(*j, local, c_small)]
    return _with_bias(y, bias)


def kernel_gradient(big: ArrayLike, small: ArrayLike, geometry: Geometry) -> Array:
    """The derivative of ``<conv(big, kernel), small>`` with respect to the kernel."""
    bigs, smalls = _float64(big), _float64(small)
    c_small = smalls.shape[-1]
    gradient = np.zeros((*geometry.kernel_size, bigs.shape[-1] // geometry.groups, c_small))
    for i in _cells(smalls.shape[:-1]):
        for j in _cells(geometry.kernel_size):
            o = _big_cell(i, j, geometry)
            if _inside(o, bigs.shape[:-1]):
                for c_b, c_s, local in _channel_pairs(gradient, geometry):
                    gradient[(*j, local, c_s)] += bigs[(*o, c_b)] * smalls[(*i, c_s)]
    return gradient


def crop(full: NDArray[Any], crops: Sequence[tuple[int, int]]) -> NDArray[Any]:
    """`full` without ``begin`` and ``end`` cells along its first axes; a negative number adds zeros instead."""
    extensions = [(max(-b, 0), max(-e, 0)) for b, e in crops] + [(0, 0)] * (full.ndim - len(crops))
    extended = np.pad(full, extensions)
    return extended[tuple(slice(max(b, 0), extended.shape[axis] - max(e, 0)) for axis, (b, e) in enumerate(crops))]


def _big_cell(i: Cell, j: Cell, geometry: Geometry) -> Cell:
    """The big cell where small cell i and kernel tap j meet; outside the grid if it was cropped off."""
    rows = zip(i, j, geometry.stride, geometry.dilation, geometry.crops, strict=True)
    return tuple(a * s + t * d - b for a, t, s, d, (b, _) in rows)


def _inside(cell: Cell, size: Sequence[int]) -> bool:
    return all(0 <= a < n for a, n in zip(cell, size, strict=True))


def _cells(size: Sequence[int]) -> Iterator[Cell]:
    return itertools.product(*map(range, size))


def _channel_pairs(kernel: Array, geometry: Geometry) -> Iterator[tuple[int, int, int]]:
    """All pairs of channels of one group: big channel, small channel, and the big channel's index in the kernel."""
    per_group_big, c_small = kernel.shape[-2:]
    per_group_small = c_small // geometry.groups
    for small in range(c_small):
        group = small // per_group_small
        for local in range(per_group_big):
            yield group * per_group_big + local, small, local


def _big_channels(kernel: Array, geometry: Geometry) -> int:
    return int(kernel.shape[-2]) * geometry.groups


def _with_bias(y: Array, bias: ArrayLike | None) -> Array:
    return y if bias is None else y + _float64(bias)


def _float64(values: ArrayLike) -> Array:
    return np.asarray(values, np.float64)
