"""The three maps in NumPy, as matrix products.

A convolution multiplies a matrix of windows by the kernel: the matrix has a row for each small cell, with all the big
cells that the kernel meets there. The kernel gradient is the product of that matrix, transposed, and the small grid. A
transposed convolution is a convolution with stride 1 for each combination of phases, because the cells of a phase share
their taps (`Geometry.phases`).

Zeros stand around the grid in these products. Where a zero would meet a number that is not finite, and where too many
of them would be needed, the taps are computed one by one, without zeros.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from ..geometry import Geometry

Array = NDArray[Any]

_BLOCK = 1 << 22  # bytes of a matrix of windows: with more it leaves the cache, with less BLAS starts too often
_MOST_ZEROS = 4  # times the cells of both grids
max_phases = 1024  # along an axis: with more, one product for each tap is as good


class Axis(NamedTuple):
    """Result cells of one axis that share their taps. The q-th of them meets, at the t-th tap, the input cell
    ``begin + q*step + t*drop``."""

    cells: slice
    length: int
    taps: tuple[int, ...]
    begin: int
    step: int
    drop: int

    def last(self) -> int:
        """The last input cell that is read. The first one is `begin`."""
        return self.begin + (self.length - 1) * self.step + (len(self.taps) - 1) * self.drop


def compute(
    transposed: bool,
    x: Array,
    kernel: Array,
    bias: Array | None,
    out: Array,
    stride: Sequence[int],
    dilation: Sequence[int],
    begin: Sequence[int],
    groups: int,
    first: bool,
    kernel_first: bool,
    relu: bool,
) -> None:
    """Write conv_transpose or conv of x to out."""
    grid, result, weights = _last(x, first), _last(out, first), _kernel_last(kernel, kernel_first)
    small, big = (grid, result) if transposed else (result, grid)
    with np.errstate(all="ignore"):  # as of the native core, no warnings of numbers that are not finite
        result[...] = 0 if bias is None else bias
        if x.size and out.size:
            geometry = _geometry(weights.shape[:-2], stride, dilation, begin, groups, small, big)
            axes = _axes(transposed, geometry, result.shape[1:-1])
            padded = _padded(grid, axes, big.size + small.size) if axes and np.isfinite(weights).all() else None
            if padded is None:
                _by_taps(transposed, grid, weights, result, geometry)
            else:
                for combination in itertools.product(*axes):
                    _product(transposed, *padded, weights, result, combination, groups)
        if relu:
            np.maximum(out, 0, out=out)


def gradient(
    big: Array,
    small: Array,
    out: Array,
    stride: Sequence[int],
    dilation: Sequence[int],
    begin: Sequence[int],
    groups: int,
    first: bool,
    kernel_first: bool,
) -> None:
    """Write kernel_gradient of big and small to out."""
    grid, smalls, weights = _last(big, first), _last(small, first), _kernel_last(out, kernel_first)
    geometry = _geometry(weights.shape[:-2], stride, dilation, begin, groups, smalls, grid)
    axes = [_strided(geometry, axis, count) for axis, count in enumerate(smalls.shape[1:-1])]
    with np.errstate(all="ignore"):
        padded = (
            _padded(grid, [[axis] for axis in axes], grid.size + smalls.size) if np.isfinite(smalls).all() else None
        )
        if padded is None:
            _gradient_by_taps(grid, smalls, weights, geometry)
            return
        windows = _windows(*padded, axes)
        c_small = smalls.shape[-1] // groups
        total = np.zeros((groups, weights[..., :1].size, c_small), out.dtype)
        for block in _blocks(smalls.shape[:-1], weights[..., :1].size * groups * out.itemsize):
            rows = _rows(windows[block], geometry.rank, groups)
            columns = smalls[block].reshape(-1, groups, c_small).transpose(1, 0, 2)
            total += rows.transpose(0, 2, 1) @ columns
        weights[...] = total.transpose(1, 0, 2).reshape(weights.shape)


def _last(grid: Array, first: bool) -> Array:
    return np.moveaxis(grid, 1, -1) if first else grid


def _kernel_last(kernel: Array, first: bool) -> Array:
    return np.moveaxis(kernel, (0, 1), (-1, -2)) if first else kernel


def _geometry(
    taps: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    begin: Sequence[int],
    groups: int,
    small: Array,
    big: Array,
) -> Geometry:
    full = Geometry(taps, stride, 0, None, dilation).full_size(small.shape[1:-1])
    crops = [(b, F - b - n) for b, F, n in zip(begin, full, big.shape[1:-1], strict=True)]
    return Geometry(taps, stride, crops, None, dilation, groups)


def _axes(transposed: bool, geometry: Geometry, size: Sequence[int]) -> list[list[Axis]]:
    """For each axis the result cells that share their taps. Empty if an axis has too many phases."""
    if not transposed:
        return [[_strided(geometry, axis, count)] for axis, count in enumerate(size)]
    if max(geometry.stride) > max_phases:
        return []
    return [_phases(geometry, axis, count) for axis, count in enumerate(size)]


def _phases(geometry: Geometry, axis: int, big: int) -> list[Axis]:
    """The phases of a transposed convolution that have taps and cells."""
    s = geometry.stride[axis]
    axes = []
    for phase in geometry.phases(axis)[:big]:
        if phase.taps:  # the last one meets the lowest cell: counted from there the cells ascend, and are adjacent
            taps = tuple(reversed(phase.taps))
            count = len(range(phase.offset, big, s))
            axes.append(Axis(slice(phase.offset, None, s), count, taps, phase.shifts[-1], 1, -phase.shifts.step))
    return axes


def _strided(geometry: Geometry, axis: int, small: int) -> Axis:
    """All cells of a convolution's small grid."""
    s, d, (b, _) = geometry.stride[axis], geometry.dilation[axis], geometry.crops[axis]
    return Axis(slice(None), small, tuple(range(geometry.kernel_size[axis])), -b, s, d)


def _padded(grid: Array, axes: Sequence[Sequence[Axis]], cells: int) -> tuple[Array, list[int]] | None:
    """The grid with zeros, so that all reads fall into it, and the cell that each axis begins with. None if it would be
    much larger than both grids, which have `cells` numbers, together."""
    if not all(axes):
        return grid, [0] * len(axes)  # no cell meets a tap
    reads = [(min(a.begin for a in axis), max(a.last() for a in axis) + 1) for axis in axes]
    if all(b >= 0 and e <= n for (b, e), n in zip(reads, grid.shape[1:], strict=False)) and _is_dense(grid):
        return grid, [0] * len(axes)
    shape = (len(grid), *(e - b for b, e in reads), grid.shape[-1])
    if math.prod(shape) > _MOST_ZEROS * cells + 4096:
        return None
    padded = np.zeros(shape, grid.dtype)
    inside = [slice(max(b, 0), max(min(e, n), 0)) for (b, e), n in zip(reads, grid.shape[1:], strict=False)]
    there = tuple(slice(i.start - b, i.stop - b) for i, (b, _) in zip(inside, reads, strict=True))
    if all(i.start < i.stop for i in inside):
        padded[(slice(None), *there)] = grid[(slice(None), *inside)]
    return padded, [b for b, _ in reads]


def _is_dense(grid: Array) -> bool:
    return grid.strides[-1] == grid.itemsize or grid.shape[-1] == 1


def _windows(padded: Array, begins: Sequence[int], axes: Sequence[Axis]) -> Array:
    """A view ``(batch, *cells, *taps, channels)`` of the input cells that each result cell meets at each tap."""
    corner = padded[(slice(None), *(slice(a.begin - b, None) for a, b in zip(axes, begins, strict=True)))]
    along = padded.strides[1:-1]
    return as_strided(
        corner,
        (len(padded), *(a.length for a in axes), *(len(a.taps) for a in axes), padded.shape[-1]),
        (
            padded.strides[0],
            *(a.step * step for a, step in zip(axes, along, strict=True)),
            *(a.drop * step for a, step in zip(axes, along, strict=True)),
            padded.strides[-1],
        ),
        writeable=False,
    )


def _rows(windows: Array, rank: int, groups: int) -> Array:
    """The matrix of windows of each group: ``(groups, batch * cells, taps * channels / groups)``."""
    cells, taps = math.prod(windows.shape[: 1 + rank]), math.prod(windows.shape[1 + rank : -1])
    if groups == 1:
        return windows.reshape(1, cells, taps * windows.shape[-1])
    split = windows.reshape(*windows.shape[:-1], groups, -1)  # a view: only one axis is divided
    return np.moveaxis(split, -2, 0).reshape(groups, cells, -1)


def _blocks(shape: Sequence[int], bytes: int) -> Iterator[tuple[slice, slice]]:
    """Parts of a grid ``(batch, *space)``, along its first two axes, whose rows of `bytes` bytes fill a block."""
    batch, length = shape[:2]
    row = max(math.prod(shape[2:]) * bytes, 1)
    most = max(_BLOCK // row, 1)  # positions of the two axes
    images, lines = max(most // max(length, 1), 1), min(most, length) or 1
    for n in range(0, batch, images):
        for line in range(0, length, lines):
            yield slice(n, n + images), slice(line, line + lines)


def _product(
    transposed: bool,
    padded: Array,
    begins: Sequence[int],
    weights: Array,
    result: Array,
    axes: Sequence[Axis],
    groups: int,
) -> None:
    """Add the products to the cells of one combination of phases."""
    windows = _windows(padded, begins, axes)
    target = result[(slice(None), *(axis.cells for axis in axes))]
    used = weights[np.ix_(*(axis.taps for axis in axes))].reshape(
        -1, weights.shape[-2], groups, weights.shape[-1] // groups
    )
    # (groups, taps, channels of the input, channels of the result), the channels of one group
    matrix = used.transpose((2, 0, 3, 1) if transposed else (2, 0, 1, 3))
    ins, outs = matrix.shape[2:]
    one_by_one = ins == 1 and groups > 1
    stacked = np.ascontiguousarray(matrix).reshape(groups, -1, outs)
    for block in _blocks(target.shape[:-1], stacked.shape[1] * groups * result.itemsize):
        part = target[block]
        if one_by_one:
            y = _depthwise(windows[block], stacked, len(axes))
        else:
            y = (_rows(windows[block], len(axes), groups) @ stacked).transpose(1, 0, 2)
        part += y.reshape(part.shape)


def _depthwise(windows: Array, matrix: Array, rank: int) -> Array:
    """The product with groups of one input channel: a sum over taps, with the channels in the lanes."""
    cells, taps = windows.shape[: 1 + rank], windows.shape[1 + rank : -1]
    groups, _, outs = matrix.shape
    y = np.zeros((*cells, groups, outs), windows.dtype)
    term = np.empty_like(y)
    for number, tap in enumerate(np.ndindex(*taps)):
        at = windows[(*(slice(None),) * len(cells), *tap)]
        y += np.multiply(at[..., None], matrix[:, number], out=term)
    return y


# Tap by tap, without zeros around the grid.


def _by_taps(transposed: bool, grid: Array, weights: Array, result: Array, geometry: Geometry) -> None:
    groups = geometry.groups
    small, big = (grid, result) if transposed else (result, grid)
    # (*k, C_big / groups, groups, C_small / groups)
    per_group = weights.reshape(*weights.shape[:-1], groups, -1)
    cells = grid.reshape(*grid.shape[:-1], groups, -1)
    rule = "...gs,bgs->...gb" if transposed else "...gb,bgs->...gs"
    for j, smalls, bigs in _connections(geometry, small, big):
        here, there = (smalls, bigs) if transposed else (bigs, smalls)
        product = np.einsum(rule, cells[here], per_group[j])
        result[there] += product.reshape(*product.shape[:-2], result.shape[-1])


def _gradient_by_taps(big: Array, small: Array, weights: Array, geometry: Geometry) -> None:
    groups = geometry.groups
    bigs, smalls = (grid.reshape(*grid.shape[:-1], groups, -1) for grid in (big, small))
    weights[...] = 0
    for j, at_small, at_big in _connections(geometry, small, big):
        product = np.einsum(
            "ngb,ngs->bgs", *(g.reshape(-1, groups, g.shape[-1]) for g in (bigs[at_big], smalls[at_small]))
        )
        weights[j] = product.reshape(weights.shape[-2:])


def _connections(geometry: Geometry, small: Array, big: Array) -> Iterator[tuple[Any, Any, Any]]:
    """Each tap, and the small and the big cells that it connects."""
    ends = zip(range(geometry.rank), small.shape[1:-1], big.shape[1:-1], strict=True)
    axes = [list(geometry.taps(*axis)) for axis in ends]
    for connection in itertools.product(*axes):
        j, here, there = zip(*connection, strict=True)
        yield j, (slice(None), *here), (slice(None), *there)
