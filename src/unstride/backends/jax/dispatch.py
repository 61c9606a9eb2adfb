"""The three maps for JAX arrays: primitives of JAX, computed on the CPU by the native kernels inside XLA's programs.

Half and bfloat16 are computed in float32, because sums lose too much precision in them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from ...geometry import Geometry
from .. import common_type

Array = Any
FUSES_RELU = True


def owns(array: Any) -> bool:
    return isinstance(array, jax.Array)


def convert(*arrays: Any) -> tuple[Any, ...]:
    given = [array for array in arrays if array is not None]
    if all(isinstance(array, jax.Array) and array.dtype == given[0].dtype for array in given):
        return arrays  # faster: JAX takes long for conversions that change nothing
    converted = [None if array is None else jnp.asarray(array) for array in arrays]
    common = common_type(
        arrays, converted, lambda types: jnp.result_type(*types), lambda t: not jnp.issubdtype(t, jnp.inexact)
    )
    return tuple(None if array is None else array.astype(common) for array in converted)


def as_float(array: Array) -> Array:
    return array.astype(float)


def sizes(array: Array, channels: str) -> tuple[Any, ...]:
    return tuple(array.shape[1:-1] if channels == "last" else array.shape[2:])


def padded(array: Array, zeros: Sequence[tuple[Any, Any]], channels: str) -> Array:
    around = [(0, 0), *zeros, (0, 0)] if channels == "last" else [(0, 0), (0, 0), *zeros]
    return jax.lax.pad(array, jnp.zeros((), array.dtype), [(*pair, 0) for pair in around])


def relu(array: Array) -> Array:
    return jax.nn.relu(array)


def conv_transpose(
    x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str, *, relu: bool = False
) -> Array:
    operands = (_working(array) for array in (x, kernel, bias))
    return _as(x, primitives().conv_transpose(*operands, geometry, channels, relu=relu))


def conv(
    x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str, *, relu: bool = False
) -> Array:
    operands = (_working(array) for array in (x, kernel, bias))
    return _as(x, primitives().conv(*operands, geometry, channels, relu=relu))


def kernel_gradient(big: Array, small: Array, geometry: Geometry, channels: str) -> Array:
    return _as(big, primitives().kernel_gradient(_working(big), _working(small), geometry, channels))


@functools.cache
def primitives() -> ModuleType:
    """The module of the primitives, with their rules for vmap."""
    from . import batching, native

    batching.register()
    return native


def _working(array: Array | None) -> Array | None:
    """The array in the type for the computation."""
    return array if array is None or array.dtype.itemsize >= 4 else array.astype(jnp.float32)


def _as(like: Array, y: Array) -> Array:
    return y if y.dtype == like.dtype else y.astype(like.dtype)
