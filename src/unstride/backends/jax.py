"""The three maps for JAX arrays, by XLA's convolution: zeros between the cells and signed pads are its own arguments.

Each map's derivative is another of the three. That is not left to XLA on the CPU, whose convolution with the roles of
batch and channels exchanged (a kernel gradient as JAX derives it) took up to 30 times as long as the same numbers as
matrix products.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..geometry import Crop, Geometry

Array = Any
_TAPS_AT_ONCE = 16  # the columns of so many kernel taps are held in memory together


def owns(array: Any) -> bool:
    return isinstance(array, jax.Array)


def convert(*arrays: Any) -> tuple[Any, ...]:
    common = jnp.result_type(*(array for array in arrays if array is not None))
    return tuple(None if array is None else jnp.asarray(array, common) for array in arrays)


def as_float(array: Array) -> Array:
    return array.astype(float)


def conv_transpose(x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str) -> Array:
    y = _conv_transpose(_working(x, channels), _kernel(kernel, channels), geometry)
    return _finished(y, bias, x, channels)


def conv(x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str) -> Array:
    return _finished(_conv(_working(x, channels), _kernel(kernel, channels), geometry), bias, x, channels)


def kernel_gradient(big: Array, small: Array, geometry: Geometry, channels: str) -> Array:
    gradient = _kernel_gradient(_working(big, channels), _working(small, channels), geometry).astype(big.dtype)
    return jnp.moveaxis(gradient, (-1, -2), (0, 1)) if channels == "first" else gradient


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv_transpose(small: Array, kernel: Array, geometry: Geometry) -> Array:
    g = geometry.groups
    pads = [(K - 1 - b, K - 1 - e) for K, (b, e) in zip(geometry.spans, geometry.crops, strict=True)]
    # (*k, C_big / g, C_small) to the (*k, C_small / g, C_big) of the convolution over the zero-spaced grid
    flipped = jnp.flip(kernel, range(geometry.rank))
    split = flipped.reshape(*kernel.shape[:-1], g, kernel.shape[-1] // g)
    turned = jnp.moveaxis(split, -1, -3)
    turned = jnp.swapaxes(turned, -1, -2).reshape(*geometry.kernel_size, kernel.shape[-1] // g, -1)
    return _convolve(small, turned, (1,) * geometry.rank, pads, geometry.stride, geometry.dilation, g)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(big: Array, kernel: Array, geometry: Geometry) -> Array:
    ones = (1,) * geometry.rank
    return _convolve(big, kernel, geometry.stride, list(geometry.crops), ones, geometry.dilation, geometry.groups)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _kernel_gradient(big: Array, small: Array, geometry: Geometry) -> Array:
    if jax.default_backend() != "cpu":
        shape = (*geometry.kernel_size, big.shape[-1] // geometry.groups, small.shape[-1])
        plain = _conv.fun
        return jax.linear_transpose(lambda kernel: plain(big, kernel, geometry), jnp.zeros(shape, big.dtype))(small)[0]
    g = geometry.groups
    size = small.shape[1:-1]
    # Room for every tap at every small cell: cells that the crop removed read zeros.
    reach = [(n - 1) * s + K for n, s, K in zip(size, geometry.stride, geometry.spans, strict=True)]
    edges = [(b, F - b - m) for (b, _), F, m in zip(geometry.crops, reach, big.shape[1:-1], strict=True)]
    full = lax.pad(big, jnp.zeros((), big.dtype), [(0, 0, 0), *((b, e, 0) for b, e in edges), (0, 0, 0)])
    taps = list(itertools.product(*map(range, geometry.kernel_size)))
    parts = []
    for start in range(0, len(taps), _TAPS_AT_ONCE):
        columns = []
        for tap in taps[start : start + _TAPS_AT_ONCE]:
            begins = [j * d for j, d in zip(tap, geometry.dilation, strict=True)]
            ends = [at + (n - 1) * s + 1 for at, n, s in zip(begins, size, geometry.stride, strict=True)]
            columns.append(
                lax.slice(full, (0, *begins, 0), (len(full), *ends, full.shape[-1]), (1, *geometry.stride, 1))
            )
        stacked = jnp.stack(columns, -2).reshape(-1, len(columns), g, big.shape[-1] // g)
        parts.append(jnp.einsum("ntgb,ngs->tbgs", stacked, small.reshape(-1, g, small.shape[-1] // g)))
    return jnp.concatenate(parts).reshape(*geometry.kernel_size, big.shape[-1] // g, small.shape[-1])


def _save(a: Array, b: Array, geometry: Geometry, *, of: Any) -> tuple[Array, tuple[Array, Array]]:
    return of(a, b, geometry), (a, b)


_conv_transpose.defvjp(
    partial(_save, of=_conv_transpose),
    lambda geometry, saved, y: (_conv(y, saved[1], geometry), _kernel_gradient(y, saved[0], geometry)),
)
_conv.defvjp(
    partial(_save, of=_conv),
    lambda geometry, saved, y: (
        _conv_transpose(y, saved[1], _exactly(geometry, y, saved[0])),
        _kernel_gradient(saved[0], y, _exactly(geometry, y, saved[0])),
    ),
)
_kernel_gradient.defvjp(
    partial(_save, of=_kernel_gradient),
    lambda geometry, saved, y: (_conv_transpose(saved[1], y, geometry), _conv(saved[0], y, geometry)),
)


def _exactly(geometry: Geometry, small: Array, big: Array) -> Geometry:
    return geometry.fitted(small.shape[1:-1], big.shape[1:-1])


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


def _working(array: Array, channels: str) -> Array:
    """Channels last, in the type to compute in: half and bfloat16 lose too much in sums."""
    last = jnp.moveaxis(array, 1, -1) if channels == "first" else array
    return last if array.dtype.itemsize >= 4 else last.astype(jnp.float32)


def _kernel(kernel: Array, channels: str) -> Array:
    last = jnp.moveaxis(kernel, (0, 1), (-1, -2)) if channels == "first" else kernel
    return last if kernel.dtype.itemsize >= 4 else last.astype(jnp.float32)


def _finished(y: Array, bias: Array | None, like: Array, channels: str) -> Array:
    if bias is not None:
        y = y + bias
    y = y.astype(like.dtype)
    return jnp.moveaxis(y, -1, 1) if channels == "first" else y
