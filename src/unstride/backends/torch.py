"""The three maps for PyTorch tensors, by its own convolutions; what they cannot express is cropped or extended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere

from ..conventions import torch_call
from ..geometry import Crop, Geometry
from . import common_type

Tensor = torch.Tensor


def owns(array: Any) -> bool:
    return isinstance(array, Tensor)


def convert(*arrays: Any) -> tuple[Any, ...]:
    device = next(array.device for array in arrays if isinstance(array, Tensor))
    tensors = [None if array is None else torch.as_tensor(array, device=device) for array in arrays]
    common = common_type(
        arrays, tensors, lambda types: reduce(torch.promote_types, types), lambda t: not t.is_floating_point
    )
    return tuple(None if tensor is None else tensor.to(common) for tensor in tensors)


def as_float(array: Tensor) -> Tensor:
    return array.to(torch.float64)


def relu(array: Tensor) -> Tensor:
    return torch.relu(array)


def conv_transpose(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    arguments, crops = torch_call(geometry)
    del arguments["kernel_size"]  # the functions read it off the kernel
    transposed = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[geometry.rank - 1]
    exact = all(crop == (0, 0) for crop in crops)
    weights, offset = _kernel(kernel, channels), _working(bias)
    y = transposed(_first(x, channels), weights, offset if exact else None, **arguments)
    if not exact:
        y = _crop(y, crops)
        if offset is not None:  # after the crop: cells that an extension adds have the bias too
            y = y + offset.reshape(-1, *(1,) * geometry.rank)
    return _back(y, x, channels)


def conv(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    padding = tuple(max(min(crop), 0) for crop in geometry.crops)
    rest = [(p - b, p - e) for p, (b, e) in zip(padding, geometry.crops, strict=True)]
    convolved = (F.conv1d, F.conv2d, F.conv3d)[geometry.rank - 1]
    y = convolved(
        _crop(_first(x, channels), rest),
        _kernel(kernel, channels),
        _working(bias),
        geometry.stride,
        padding,
        geometry.dilation,
        geometry.groups,
    )
    return _back(y, x, channels)


def kernel_gradient(big: Tensor, small: Tensor, geometry: Geometry, channels: str) -> Tensor:
    axis = -1 if channels == "last" else 1
    per_group, c_small = big.shape[axis] // geometry.groups, small.shape[axis]
    k = geometry.kernel_size
    shape = (*k, per_group, c_small) if channels == "last" else (c_small, per_group, *k)
    # The map from kernel to convolution is linear, so that its derivative, anywhere, is what is asked for.
    linear = torch.func.vjp(lambda kernel: conv(big, kernel, None, geometry, channels), big.new_zeros(shape))
    gradient: Tensor = linear[1](small)[0]
    return gradient


def _crop(grid: Tensor, crops: Sequence[Crop]) -> Tensor:
    """Without `begin` and `end` cells along the spatial axes; a negative number adds zeros instead."""
    if all(crop == (0, 0) for crop in crops):
        return grid
    # The extension first: a crop may go beyond the cells that there are.
    amounts = [amount for crop in reversed(crops) for amount in crop]
    if min(amounts) < 0:
        grid = F.pad(grid, [max(-amount, 0) for amount in amounts])
    return F.pad(grid, [-max(amount, 0) for amount in amounts]) if max(amounts) > 0 else grid


def _first(array: Tensor, channels: str) -> Tensor:
    working: Tensor = _working(array)
    return working if channels == "first" else working.movedim(-1, 1)


def _kernel(kernel: Tensor, channels: str) -> Tensor:
    working: Tensor = _working(kernel)
    # contiguous, because PyTorch's float64 gradient of a strided kernel fails ("grad_weight must be contiguous")
    return working if channels == "first" else working.movedim((-1, -2), (0, 1)).contiguous()


def _working(array: Any) -> Any:
    """In the type to compute in: CPU half and bfloat16 lose too much in sums; accelerators sum in float32."""
    if array is None or array.dtype.itemsize >= 4 or array.device.type != "cpu":
        return array
    return array.to(torch.float32)


def _back(y: Tensor, like: Tensor, channels: str) -> Tensor:
    y = y.to(like.dtype)
    return y if channels == "first" else y.movedim(1, -1)
