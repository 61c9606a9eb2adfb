"""Cache of validated calls on PyTorch tensors, with the native core's calls bound to their strides."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from ...geometry import Geometry
from . import dispatch, native, operators
from .layout import KernelLayout, as_grid, as_kernel, steps

Tensor = torch.Tensor
Strides = tuple[tuple[int, ...], tuple[int, ...]]

_MOST_CALLS = 1024
_MOST_STRIDES = 16


@dataclass(slots=True)
class _Checked:
    """A validated call, for all tensors of its shapes, type and device."""

    geometry: Geometry
    size: tuple[int, ...] | None
    bound: dict[Strides, native.BoundCall | None] = field(default_factory=dict)
    """The bound call for the strides of both arrays; None if memory has to be rearranged first."""


_calls: dict[Any, _Checked] = {}


def repeated(op: str, arrays: tuple[Any, ...], fields: tuple[Any, ...]) -> Tensor | None:
    """The result of a call that is in the cache, or None. `fields` are those of the pipeline."""
    if (key := _key(op, arrays, fields)) is None:  # so a compiler does not trace the cache
        return None
    try:
        checked = _calls.get(key)
    except TypeError:  # a list among the fields
        return None
    return None if checked is None else _computed(checked, op, arrays, *fields[-2:])


def remember(
    op: str, arrays: tuple[Any, ...], fields: tuple[Any, ...], geometry: Geometry, size: tuple[int, ...] | None
) -> None:
    """Add a validated call to the cache."""
    if (key := _key(op, arrays, fields)) is None or dispatch.exporting():
        return
    if op != "kernel_gradient" and (size is None or 0 in size):
        return
    if len(_calls) >= _MOST_CALLS:
        _calls.clear()
    try:
        _calls[key] = _Checked(geometry, size)
    except TypeError:
        return


def _key(op: str, arrays: tuple[Any, ...], fields: tuple[Any, ...]) -> Any:
    """The cache key of a call on tensors of one type, on one device and of no subclass; None for others, and while a
    compiler traces."""
    if torch.compiler.is_compiling():
        return None
    first = arrays[0]
    shapes: list[torch.Size | None] = []
    for tensor in arrays:
        if tensor is None:
            shapes.append(None)
            continue
        if type(tensor) is not Tensor and type(tensor) is not torch.nn.Parameter:
            return None
        if tensor.dtype is not first.dtype or tensor.device != first.device:
            return None
        shapes.append(tensor.shape)
    # The key has the types too: a stride of True or 1.0 equals 1, but is not valid.
    return op, first.dtype, first.device, tuple(shapes), fields, _kinds(fields)


def _kinds(fields: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([_kinds(one) if type(one) is tuple else type(one) for one in fields])


def _computed(checked: _Checked, op: str, arrays: tuple[Any, ...], channels: str, activation: str | None) -> Tensor:
    first, second, bias = arrays
    if operators.at_once(first, second, bias) and not operators.needs_derivative(first, second, bias):
        strides = first.stride(), second.stride()
        try:
            bound = checked.bound[strides]
        except KeyError:
            bound = _bound(checked, op, first, second, bias, channels)
            if len(checked.bound) >= _MOST_STRIDES:
                checked.bound.clear()
            checked.bound[strides] = bound
        if bound is not None and (bias is None or bias.is_contiguous()):
            addresses = first.data_ptr(), second.data_ptr(), 0 if bias is None else bias.data_ptr()
            if not (addresses[0] | addresses[1] | addresses[2]) % first.element_size():
                result = bound(first.dtype, *addresses)
                return result if activation is None else result.relu_()
    y: Tensor
    if op == "kernel_gradient":
        y = dispatch.kernel_gradient(first, second, checked.geometry, channels)
    else:
        y = dispatch.mapped(op == "conv_transpose", first, second, bias, checked.geometry, channels, checked.size)
    return y if activation is None else torch.relu(y)


def _bound(
    checked: _Checked, op: str, first: Tensor, second: Tensor, bias: Tensor | None, channels: str
) -> native.BoundCall | None:
    """The native core's call for tensors of these strides. Its result has the strides of PyTorch's result."""
    if not dispatch.is_native(first, second, bias) or first.element_size() < 4:
        return None
    geometry = checked.geometry
    outside = channels == "last"  # whether the order in memory is the order of the tensors' axes
    last = outside or dispatch.has_channels_last_result(first, second)
    fields = native.Fields(*dispatch.fields_of(geometry), last)
    grid = first.movedim(-1, 1) if outside else first
    if as_grid(grid, last) is not grid:
        return None
    if op == "kernel_gradient":
        small = second.movedim(-1, 1) if outside else second
        if as_grid(small, last) is not small:
            return None
        kernel_layout = KernelLayout.LAST if outside else KernelLayout.FIRST
        call = native.gradient_call(grid, small, geometry.kernel_size, fields, kernel_layout)
    else:
        assert checked.size is not None
        kernel = second.movedim((-1, -2), (0, 1)) if outside else second
        weights, weights_layout = as_kernel(kernel)
        if weights is not kernel:
            return None
        call = native.map_call(op == "conv_transpose", grid, kernel, bias, checked.size, fields, weights_layout)
    if call.bound is None:
        return None
    return (
        call._replace(order=tuple(range(len(call.memory))), shape=call.memory, strides=steps(call.memory))
        if outside
        else call
    )
