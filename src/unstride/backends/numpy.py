"""The three maps for NumPy arrays, by the native kernels.

Half precision is computed in float32, because sums lose too much precision in it. Arrays that the kernels cannot read
(channels that are not adjacent, another byte order, unaligned numbers) are copied first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import core, portable_maps
from ..geometry import Geometry
from . import common_type
from .limits import check_range

Array = NDArray[Any]


def owns(array: Any) -> bool:
    return isinstance(array, np.ndarray)


def convert(*arrays: Any) -> tuple[Any, ...]:
    converted = [None if array is None else np.asarray(array) for array in arrays]
    common = common_type(arrays, converted, lambda types: np.result_type(*types), lambda t: t.kind in "biu")
    with np.errstate(over="ignore"):  # the checks raise a better error for numbers that do not fit
        return tuple(None if array is None else array.astype(common, copy=False) for array in converted)


def as_float(array: Array) -> Array:
    return array.astype(np.float64)


@dataclass(frozen=True)
class Call:
    """conv or conv_transpose for arrays of known shapes, in the form of the native core's arguments."""

    transposed: bool
    shape: tuple[int, ...]  # the shape of the result
    last: bool
    relu: bool
    fields: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]  # stride, dilation, crops' begins, groups
    planned: bool  # whether the kernels have a plan for it


def call(
    transposed: bool,
    geometry: Geometry,
    size: tuple[int, ...],
    kernel: Array,
    x: Array,
    channels: str,
    activation: str | None = None,
) -> Call:
    """The call whose result has the spatial size `size`."""
    last = channels == "last"
    c_big, c_small = (kernel.shape[-2], kernel.shape[-1]) if last else (kernel.shape[1], kernel.shape[0])
    c_out = c_big * geometry.groups if transposed else c_small
    shape = (x.shape[0], *size, c_out) if last else (x.shape[0], c_out, *size)
    given = x.shape[1:-1] if last else x.shape[2:]
    small, big = (given, size) if transposed else (size, given)
    check_range(geometry, small, big, shape)
    planned = x.size > 0 and not (transposed and max(geometry.stride) > core.max_phases)
    return Call(transposed, shape, last, activation == "relu", _fields(geometry), planned)


def computed(call: Call, x: Array, kernel: Array, bias: Array | None, out: Array | None = None) -> Array:
    """The result of `call` for validated arrays, written to `out` if given."""
    result = _new(call.shape, x.dtype) if out is None else out
    if not call.planned:
        target = result if x.itemsize >= 4 else _new(call.shape, _working(x.dtype))
        x, kernel = x.astype(target.dtype, copy=False), kernel.astype(target.dtype, copy=False)
        first = not call.last
        portable_maps.compute(call.transposed, x, kernel, bias, target, *call.fields, first, first, call.relu)
        if target is not result:
            _narrow(target, result)
        return result
    if (out is None and x.itemsize >= 4) or _whole(result) or (call.last and _walkable(result)):
        target = result
    else:
        target = _new(call.shape, _working(x.dtype))
    core.compute(
        call.transposed,
        _readable(x, call.last),
        _readable(kernel, False),
        None if bias is None else _readable(bias, False),
        target,
        *call.fields,
        not call.last,
        not call.last,
        call.relu,
    )
    if target is not result:
        _narrow(target, result)
    return result


def known(map: str, call: Call | GradientCall, bytes: int) -> core.CachedCall | None:
    """The call for arrays of its shapes and numbers of `bytes` bytes; None if the kernels have no plan for it."""
    if isinstance(call, Call) and not call.planned:
        return None
    relu = isinstance(call, Call) and call.relu
    return core.CachedCall(map, call.shape, bytes, *call.fields, not call.last, not call.last, relu)


def conv_transpose(x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str) -> Array:
    size = geometry.output_size(x.shape[1:-1] if channels == "last" else x.shape[2:])
    return computed(call(True, geometry, size, kernel, x, channels), x, kernel, bias)


def conv(x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str) -> Array:
    size = geometry.conv_size(x.shape[1:-1] if channels == "last" else x.shape[2:])
    return computed(call(False, geometry, size, kernel, x, channels), x, kernel, bias)


@dataclass(frozen=True)
class GradientCall:
    """kernel_gradient for arrays of known shapes, in the form of the native core's arguments."""

    shape: tuple[int, ...]  # the shape of the result
    last: bool
    fields: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]


def gradient_call(geometry: Geometry, big: Array, small: Array, channels: str) -> GradientCall:
    last = channels == "last"
    ends = ((big.shape[-1] if last else big.shape[1]) // geometry.groups, small.shape[-1 if last else 1])
    shape = (*geometry.kernel_size, *ends) if last else (*ends[::-1], *geometry.kernel_size)
    sizes, bigs = (grid.shape[1:-1] if last else grid.shape[2:] for grid in (small, big))
    check_range(geometry, sizes, bigs, shape)
    return GradientCall(shape, last, _fields(geometry))


def computed_gradient(call: GradientCall, big: Array, small: Array, out: Array | None = None) -> Array:
    """The result of `call` for validated arrays, written to `out` if given."""
    result = _new(call.shape, big.dtype) if out is None else out
    if big.size == 0 or small.size == 0:
        result[...] = 0
        return result
    target = result if _whole(result) else _new(call.shape, _working(big.dtype))
    first = not call.last
    core.gradient(_readable(big, call.last), _readable(small, call.last), target, *call.fields, first, first)
    if target is not result:
        _narrow(target, result)
    return result


def kernel_gradient(big: Array, small: Array, geometry: Geometry, channels: str) -> Array:
    return computed_gradient(gradient_call(geometry, big, small, channels), big, small)


def _fields(geometry: Geometry) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
    return geometry.stride, geometry.dilation, tuple(b for b, _ in geometry.crops), geometry.groups


def _narrow(target: Array, result: Array) -> None:
    with np.errstate(over="ignore"):  # numbers beyond float16 become infinite, as in other float16 operations
        result[...] = target


_LARGE = 1 << 16


def _new(shape: tuple[int, ...], dtype: Any) -> Array:
    """A new array. The memory of large arrays is used again after their end, because new pages take long to clear."""
    size = math.prod(shape) * dtype.itemsize
    try:
        if math.prod(filter(None, shape)) * dtype.itemsize >= 1 << 62:  # an empty array needs valid strides too
            raise MemoryError
        return (
            core.empty(shape, dtype.itemsize)
            if dtype.char in "fd" and dtype.isnative and size >= _LARGE
            else np.empty(shape, dtype)
        )
    except MemoryError:
        raise MemoryError(f"no memory for a result of shape {shape}, type {dtype}: {size:,} bytes") from None


def _working(dtype: Any) -> Any:
    return np.dtype(np.float32) if dtype.itemsize < 4 else dtype.newbyteorder("=")


def _whole(array: Array) -> bool:
    """Whether the kernels can read it in either layout."""
    flags = array.flags
    return bool(flags.c_contiguous and flags.aligned and array.dtype.isnative and array.itemsize >= 4)


def _walkable(array: Array) -> bool:
    """Whether the kernels can read it with channels last. Only the channels must be adjacent."""
    step = array.itemsize
    return bool(
        array.dtype.isnative
        and step >= 4
        and array.flags.aligned
        and array.strides[-1] == step
        and not any(stride % step for stride in array.strides)
    )


def _readable(array: Array, strided: bool) -> Array:
    if _whole(array) or (strided and _walkable(array)):
        return array
    return dense(array, _working(array.dtype))


def dense(array: Array, dtype: Any) -> Array:
    """The array in this type and in the form that the native core reads: contiguous and aligned."""
    contiguous = np.ascontiguousarray(array, dtype)
    return contiguous if contiguous.flags.aligned else contiguous.copy()
