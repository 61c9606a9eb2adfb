"""The three maps for TensorFlow's eager tensors on the CPU, by the native kernels, without copies.

The derivatives of each map are the other two, so gradients of any order are computed here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from ..._core import why_missing
from ...geometry import Geometry
from .. import numpy as native

Tensor = Any
_ALIGNMENT = 64  # TensorFlow requires it of memory, and ends the process otherwise


def can(*arrays: Tensor | None) -> bool:
    """Whether the native kernels are there and can access all of these tensors."""
    return (
        why_missing is None
        and tf.executing_eagerly()
        and all("CPU" in array.backing_device for array in arrays if array is not None)
    )


def conv_transpose(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    return _conv_transpose(geometry, channels)(x, kernel, *(() if bias is None else (bias,)))


def conv(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    return _conv(geometry, channels)(x, kernel, *(() if bias is None else (bias,)))


def kernel_gradient(big: Tensor, small: Tensor, geometry: Geometry, channels: str) -> Tensor:
    return _kernel_gradient(geometry, channels)(big, small)


# In TensorFlow every argument of a function with a custom gradient is a tensor. So each geometry has its own function.


@functools.lru_cache(maxsize=1024)
def _conv_transpose(geometry: Geometry, channels: str) -> Callable[..., Tensor]:
    def with_gradient(small: Tensor, kernel: Tensor, *bias: Tensor) -> tuple[Tensor, Any]:
        def gradient(big: Tensor) -> tuple[Tensor, ...]:
            sums = [_over_cells(big, channels) for _ in bias]
            return conv(big, kernel, None, geometry, channels), kernel_gradient(big, small, geometry, channels), *sums

        y = native.conv_transpose(_array(small), _array(kernel), _array(*bias), geometry, channels)
        return _tensor(y), gradient

    return _differentiable(with_gradient)


@functools.lru_cache(maxsize=1024)
def _conv(geometry: Geometry, channels: str) -> Callable[..., Tensor]:
    def with_gradient(big: Tensor, kernel: Tensor, *bias: Tensor) -> tuple[Tensor, Any]:
        def gradient(small: Tensor) -> tuple[Tensor, ...]:
            sizes = (a.shape[1:-1] if channels == "last" else a.shape[2:] for a in (small, big))
            exact = geometry.fitted(*map(tuple, sizes))  # includes the cells that the convolution left unread
            sums = [_over_cells(small, channels) for _ in bias]
            grid = conv_transpose(small, kernel, None, exact, channels)
            return grid, kernel_gradient(big, small, exact, channels), *sums

        y = native.conv(_array(big), _array(kernel), _array(*bias), geometry, channels)
        return _tensor(y), gradient

    return _differentiable(with_gradient)


@functools.lru_cache(maxsize=1024)
def _kernel_gradient(geometry: Geometry, channels: str) -> Callable[..., Tensor]:
    def with_gradient(big: Tensor, small: Tensor) -> tuple[Tensor, Any]:
        def gradient(kernel: Tensor) -> tuple[Tensor, Tensor]:
            return conv_transpose(small, kernel, None, geometry, channels), conv(big, kernel, None, geometry, channels)

        return _tensor(native.kernel_gradient(_array(big), _array(small), geometry, channels)), gradient

    return _differentiable(with_gradient)


def _over_cells(array: Tensor, channels: str) -> Tensor:
    axes = [axis for axis in range(len(array.shape)) if axis != (len(array.shape) - 1 if channels == "last" else 1)]
    return tf.reduce_sum(array, axes)


def _differentiable(function: Callable[..., Any]) -> Callable[..., Tensor]:
    differentiable: Callable[..., Tensor] = tf.custom_gradient(function)
    return differentiable


def _array(tensor: Tensor | None = None) -> Any:
    """A view of the tensor's memory."""
    return None if tensor is None else np.asarray(memoryview(tensor))


def _tensor(array: Any) -> Tensor:
    """The array's memory as a tensor; a copy if TensorFlow cannot use the memory."""
    if array.size == 0 or array.ctypes.data % _ALIGNMENT:
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
