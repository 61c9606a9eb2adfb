"""The three maps for JAX arrays: primitives of JAX, on the CPU by the native kernels inside XLA's programs.

Half and bfloat16 are computed in float32: sums lose too much in them.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from ..geometry import Geometry
from . import common_type

Array = Any
OLDEST = (0, 4, 34)


def owns(array: Any) -> bool:
    return isinstance(array, jax.Array)


def convert(*arrays: Any) -> tuple[Any, ...]:
    found = [None if array is None else jnp.asarray(array) for array in arrays]
    common = common_type(
        arrays, found, lambda types: jnp.result_type(*types), lambda t: not jnp.issubdtype(t, jnp.inexact)
    )
    return tuple(None if array is None else array.astype(common) for array in found)


def as_float(array: Array) -> Array:
    return array.astype(float)


def relu(array: Array) -> Array:
    return jax.nn.relu(array)


def conv_transpose(
    x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str, *, relu: bool = False
) -> Array:
    operands = _working(x, kernel, bias)
    return primitives().conv_transpose(*operands, geometry, channels, relu=relu).astype(x.dtype)


def conv(
    x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str, *, relu: bool = False
) -> Array:
    operands = _working(x, kernel, bias)
    return primitives().conv(*operands, geometry, channels, relu=relu).astype(x.dtype)


def kernel_gradient(big: Array, small: Array, geometry: Geometry, channels: str) -> Array:
    return primitives().kernel_gradient(*_working(big, small), geometry, channels).astype(big.dtype)


@functools.cache
def primitives() -> ModuleType:
    """The module of the primitives, which is written for recent versions of JAX."""
    if jax.__version_info__ < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise ImportError(
            f"unstride needs jax {needed} or later to compute with JAX arrays, and this is {jax.__version__}; "
            f"upgrade it: pip install --upgrade 'jax>={needed}'"
        )
    from . import jax_batching, jax_native

    jax_batching.register()
    return jax_native


def _working(*arrays: Any) -> tuple[Any, ...]:
    """In the type to compute in."""
    return tuple(
        array if array is None or array.dtype.itemsize >= 4 else array.astype(jnp.float32) for array in arrays
    )
