"""The three maps for TensorFlow tensors: by the native kernels in eager mode, by TensorFlow's operators in graphs.

A graph may be saved and run without Python, so it uses only TensorFlow's operators (`graph`). In eager mode on the CPU
the native kernels are up to ten times as fast, and are used (`eager`). Half precision is computed in float32, because
sums lose too much precision in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ...geometry import Geometry
from .. import common_type
from . import eager, graph

Tensor = Any


def owns(array: Any) -> bool:
    return isinstance(array, (tf.Tensor, tf.Variable))


def convert(*arrays: Any) -> tuple[Any, ...]:
    tensors = [None if array is None else tf.convert_to_tensor(array) for array in arrays]
    common = common_type(arrays, tensors, _promoted, lambda t: not t.is_floating)
    return tuple(None if tensor is None else tf.cast(tensor, common) for tensor in tensors)


def _promoted(types: list[Any]) -> Any:
    return tf.as_dtype(np.result_type(*(t.as_numpy_dtype for t in types)))


def as_float(array: Tensor) -> Tensor:
    return tf.cast(array, tf.float64)


def sizes(array: Tensor, channels: str) -> tuple[Any, ...]:
    shape = graph.shape_of(array)
    return tuple(shape[1:-1] if channels == "last" else shape[2:])


def padded(array: Tensor, zeros: Sequence[tuple[Any, Any]], channels: str) -> Tensor:
    return tf.pad(array, [(0, 0), *zeros, (0, 0)] if channels == "last" else [(0, 0), (0, 0), *zeros])


def relu(array: Tensor) -> Tensor:
    return tf.where(array < 0, tf.zeros_like(array), array)  # tf.nn.relu turns NaN into 0 on some devices


def conv_transpose(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    arrays = _working(x, kernel, bias)
    maps = eager if eager.can(*arrays) else graph
    return tf.cast(maps.conv_transpose(*arrays, geometry, channels), x.dtype)


def conv(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    arrays = _working(x, kernel, bias)
    maps = eager if eager.can(*arrays) else graph
    return tf.cast(maps.conv(*arrays, geometry, channels), x.dtype)


def kernel_gradient(big: Tensor, small: Tensor, geometry: Geometry, channels: str) -> Tensor:
    arrays = _working(big, small)
    maps = eager if eager.can(*arrays) else graph
    return tf.cast(maps.kernel_gradient(*arrays, geometry, channels), big.dtype)


def _working(*arrays: Tensor | None) -> list[Tensor | None]:
    return [a if a is None or a.dtype.size >= 4 else tf.cast(a, tf.float32) for a in arrays]
