"""The definitions of `unstride.reference` in float64 with NumPy's products of matrices, for tests with many channels.

Of whole batches: grids ``(batch, *space, channels)``. The reference's loops take minutes for hundreds of channels;
tests/mathematics/test_exact.py compares the two.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

import unstride as us
from unstride.reference import crop


def scatter(x: np.ndarray, kernel: np.ndarray, geometry: us.Geometry, bias: np.ndarray | float = 0.0) -> np.ndarray:
    batch, *size, _ = x.shape
    big, small = _channels(kernel, geometry)
    full = np.zeros((batch, *geometry.full_size(size), kernel.shape[-2] * geometry.groups))
    for tap, cells in _taps(geometry, size):
        for b, s in zip(big, small, strict=True):
            full[(*cells, b)] += x[..., s] @ kernel[tap][:, s].T
    return crop(full, [(0, 0), *geometry.crops]) + bias


def conv(u: np.ndarray, kernel: np.ndarray, geometry: us.Geometry, bias: np.ndarray | float = 0.0) -> np.ndarray:
    batch, *space, _ = u.shape
    size = geometry.conv_size(space)
    big, small = _channels(kernel, geometry)
    full, y = _extended(u, geometry, size), np.zeros((batch, *size, kernel.shape[-1]))
    for tap, cells in _taps(geometry, size):
        for b, s in zip(big, small, strict=True):
            y[..., s] += full[(*cells, b)] @ kernel[tap][:, s]
    return y + bias


def kernel_gradient(u: np.ndarray, v: np.ndarray, geometry: us.Geometry) -> np.ndarray:
    _, *size, c_small = v.shape
    gradient = np.zeros((*geometry.kernel_size, u.shape[-1] // geometry.groups, c_small))
    big, small = _channels(gradient, geometry)
    full = _extended(u, geometry, size)
    for tap, cells in _taps(geometry, size):
        for b, s in zip(big, small, strict=True):
            left, right = full[(*cells, b)], v[..., s]
            gradient[tap][:, s] = left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1])
    return gradient


def _channels(kernel: np.ndarray, geometry: us.Geometry) -> tuple[list[slice], list[slice]]:
    """The big and the small channels of each group."""
    big, small = kernel.shape[-2], kernel.shape[-1] // geometry.groups
    return [[slice(g * count, (g + 1) * count) for g in range(geometry.groups)] for count in (big, small)]


def _taps(geometry: us.Geometry, size: list[int]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Each tap, and the cells of the full grid (all images) that meet it, one for each small cell."""
    for tap in itertools.product(*map(range, geometry.kernel_size)):
        starts = [j * d for j, d in zip(tap, geometry.dilation, strict=True)]
        rows = zip(starts, size, geometry.stride, strict=True)
        yield tap, (slice(None), *(slice(a, a + (n - 1) * s + 1, s) for a, n, s in rows))


def _extended(u: np.ndarray, geometry: us.Geometry, size: list[int]) -> np.ndarray:
    """`u`, put back with zeros into the full grid that the crop takes it from; `size` is the small grid's."""
    rows = zip(u.shape[1:-1], geometry.full_size(size), geometry.crops, strict=True)
    return crop(u, [(0, 0), *((-b, n + b - full) for n, full, (b, _) in rows)])
