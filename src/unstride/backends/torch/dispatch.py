"""The three maps for PyTorch tensors: on the CPU by the native kernels. On other devices, and in exported models, by
PyTorch's own convolutions, with a crop or an extension if these cannot express the geometry."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere

from ..._core import why_missing
from ...conventions import torch_call
from ...geometry import Crop, Geometry, conv_sizes, is_open, transposed_sizes
from .. import common_type
from . import operators
from .layout import KERNEL_TO_FIRST, TO_FIRST, TO_LAST, KernelLayout

Tensor = torch.Tensor
_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def owns(array: Any) -> bool:
    return isinstance(array, Tensor)


def convert(*arrays: Any) -> tuple[Any, ...]:
    device = next(array.device for array in arrays if isinstance(array, Tensor))
    for array in arrays:
        if isinstance(array, Tensor) and array.device != device:
            raise TypeError(
                f"the arrays are on the devices {device} and {array.device}; move them to one of these first"
            )
    tensors = [None if array is None else torch.as_tensor(array, device=device) for array in arrays]
    common = common_type(
        arrays, tensors, lambda types: reduce(torch.promote_types, types), lambda t: not t.is_floating_point
    )
    return tuple(None if tensor is None else tensor.to(common) for tensor in tensors)


def as_float(array: Tensor) -> Tensor:
    return array.to(torch.float64)


def sizes(array: Tensor, channels: str) -> tuple[Any, ...]:
    return tuple(array.shape[1:-1] if channels == "last" else array.shape[2:])


def padded(array: Tensor, zeros: Sequence[tuple[Any, Any]], channels: str) -> Tensor:
    amounts = [amount for pair in reversed(zeros) for amount in pair]
    return F.pad(array, [0, 0, *amounts] if channels == "last" else amounts)


def relu(array: Tensor) -> Tensor:
    return torch.relu(array)


def kept(parameter: Tensor) -> Tensor:
    """A copy of a parameter if a derivative may need it, as it may be overwritten before the derivative is computed.

    PyTorch's own convolutions raise an error then ("modified by an inplace operation"). Keras's convolutions copy the
    kernel if they need another layout, and have the derivative at the kernel of the forward pass.
    """
    if not torch.is_grad_enabled() or not isinstance(parameter, torch.nn.Parameter) or exporting():
        return parameter
    return parameter.clone()


def exporting() -> bool:
    """Whether a graph is being exported, which may contain only PyTorch's own operators."""
    if torch.compiler.is_compiling():
        return bool(_is_exporting())
    return bool(torch._C._is_tracing())


def autocasting() -> bool:
    return torch.is_autocast_enabled("cpu")


# PyTorch 2.6 does not distinguish an export from a compilation.
_is_exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


def is_native(*tensors: Tensor | None) -> bool:
    """Whether the native kernels take them: dense tensors of one floating-point type on the CPU, outside of exports and
    of torch.func.functionalize, which PyTorch lacks for functions with a custom derivative."""
    if why_missing is not None:
        return False
    dtype = None
    for tensor in tensors:
        if tensor is not None:
            if tensor.device.type != "cpu" or tensor.layout is not torch.strided or tensor.dtype not in _FLOATS:
                return False
            if dtype is not None and tensor.dtype is not dtype:
                return False
            dtype = tensor.dtype
    return not exporting() and not operators.is_functionalized()


def has_channels_last_result(x: Tensor, kernel: Tensor, fields: tuple[Any, ...] | None = None) -> bool:
    """Whether PyTorch's own convolution of them would have its result in the memory format channels_last.

    PyTorch decides by the strides alone whether a tensor is channels_last, also by those of axes with one cell.
    `fields` are stride, padding, dilation, whether it is transposed, output padding and groups: in three dimensions
    PyTorch's choice depends on them too.
    """
    if x.dim() == 3:
        return False
    if torch.compiler.is_compiling():  # Dynamo cannot trace comparisons of dynamic strides
        return _is_channels_last(x) or _is_channels_last(kernel)
    if not is_like_channels_last(x) and not is_like_channels_last(kernel):
        return False
    return knows_channels_last(x, kernel, fields)


def knows_channels_last(x: Tensor, kernel: Tensor, fields: tuple[Any, ...] | None) -> bool:
    """Whether PyTorch's convolution of such tensors can have channels_last results."""
    if x.dim() == 4 or fields is None:
        return True
    return x.dtype is torch.float32 and _is_onednns(x, kernel, fields)


def _is_channels_last(tensor: Tensor) -> bool:
    form = torch.channels_last if tensor.dim() == 4 else torch.channels_last_3d
    return tensor.is_contiguous(memory_format=form) and not tensor.is_contiguous()


def is_like_channels_last(tensor: Tensor) -> bool:
    """Whether PyTorch suggests channels_last for results that are computed from the tensor."""
    shape = tensor.shape
    if shape[1] > 1 and (shape[2] > 1 or shape[-1] > 1) and tensor.is_contiguous():
        return False  # most tensors
    return has_channels_last_strides(shape, tensor.stride())


def has_channels_last_strides(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """PyTorch's rule: the strides do not decrease from the channels to the last, then the first spatial axis and the
    batch. If they are ambiguous (one channel and one cell), they are not channels_last."""
    if strides[1] == 0:
        return False
    least = 0
    for axis in (1, *range(len(shape) - 1, 1, -1), 0):
        if shape[axis] == 0 or strides[axis] < least or (axis == 0 and least == strides[1]):
            return False
        least = strides[axis] * max(shape[axis], 1)
    return True


_onednns: dict[Any, bool] = {}


def _is_onednns(x: Tensor, kernel: Tensor, fields: tuple[Any, ...]) -> bool:
    """Whether PyTorch would use oneDNN for this convolution. Only oneDNN has channels_last in three dimensions."""
    key = (x.shape, kernel.shape, fields, torch.get_num_threads(), torch._C._get_mkldnn_enabled())
    answer = _onednns.get(key)
    if answer is None:
        stride, padding, dilation, transposed, extra, groups = fields
        chosen = torch._C._select_conv_backend(
            x.detach(), kernel.detach(), None, stride, padding, dilation, transposed, extra, groups
        )
        form = torch._C._conv_determine_backend_memory_format(x, kernel, chosen)
        if len(_onednns) >= 1024:
            _onednns.clear()
        answer = _onednns[key] = form is torch.channels_last_3d
    return answer


def conv_transpose(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    return mapped(True, x, kernel, bias, geometry, channels)


def conv(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    return mapped(False, x, kernel, bias, geometry, channels)


def mapped(
    transposed: bool,
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    channels: str,
    size: tuple[Any, ...] | None = None,
) -> Tensor:
    """conv_transpose or conv. `size` is the result's spatial size, if it is known already."""
    if not is_native(x, kernel, bias):
        return (_own_conv_transpose if transposed else _own_conv)(x, kernel, bias, geometry, channels)
    rule = operators.conv_transpose if transposed else operators.conv
    fields = size or _result_size(transposed, geometry, sizes(x, channels)), *fields_of(geometry)
    if channels == "first":
        return rule(x, kernel, bias, *fields, has_channels_last_result(x, kernel))
    y = rule(x.movedim(-1, 1), kernel.movedim((-1, -2), (0, 1)), bias, *fields, True)
    return y.movedim(1, -1)


def _result_size(transposed: bool, geometry: Geometry, size: tuple[Any, ...]) -> tuple[Any, ...]:
    """The result's spatial size, also for sizes that are not numbers yet."""
    if is_open(size):
        fields = geometry.kernel_size, geometry.stride, geometry.dilation, geometry.crops
        return (transposed_sizes if transposed else conv_sizes)(size, *fields)
    return (geometry.output_size if transposed else geometry.conv_size)(size)


def fields_of(geometry: Geometry) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
    """Stride, dilation, the crops' begins and groups."""
    return geometry.stride, geometry.dilation, tuple(b for b, _ in geometry.crops), geometry.groups


def kernel_gradient(big: Tensor, small: Tensor, geometry: Geometry, channels: str) -> Tensor:
    if not is_native(big, small):
        return _own_kernel_gradient(big, small, geometry, channels)
    fields = geometry.kernel_size, *fields_of(geometry)
    if channels == "first":
        return operators.kernel_gradient(big, small, *fields, has_channels_last_result(big, small), KernelLayout.FIRST)
    gradient = operators.kernel_gradient(big.movedim(-1, 1), small.movedim(-1, 1), *fields, True, KernelLayout.LAST)
    return gradient.movedim((0, 1), (-1, -2))


# PyTorch's own convolutions.


def _own_conv_transpose(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
    arguments, crops = torch_call(geometry)
    del arguments["kernel_size"]  # the functions read it from the kernel
    transposed = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[geometry.rank - 1]
    exact = all(crop == (0, 0) for crop in crops)
    weights, offset = _kernel(kernel, channels), _working(bias)
    y = transposed(_first(x, channels), weights, offset if exact else None, **arguments)
    if not exact:
        y = _crop(y, crops)
        if offset is not None:  # after the crop: the cells of an extension have the bias too
            y = y + offset.to(y.dtype).reshape(-1, *(1,) * geometry.rank)
    return _back(y, x, channels)


def _own_conv(x: Tensor, kernel: Tensor, bias: Tensor | None, geometry: Geometry, channels: str) -> Tensor:
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


def _own_kernel_gradient(big: Tensor, small: Tensor, geometry: Geometry, channels: str) -> Tensor:
    axis = -1 if channels == "last" else 1
    per_group, c_small = big.shape[axis] // geometry.groups, small.shape[axis]
    k = geometry.kernel_size
    if exporting():
        grid = _crop(_first(big, channels), [(-b, -e) for b, e in geometry.crops])
        grad_output = _first(small, channels)
        gradients: Any = torch.nn.grad  # type: ignore[attr-defined]
        weights = (gradients.conv1d_weight, gradients.conv2d_weight, gradients.conv3d_weight)
        fields = geometry.stride, 0, geometry.dilation, geometry.groups
        weight_gradient: Tensor = weights[geometry.rank - 1](grid, (c_small, per_group, *k), grad_output, *fields).to(
            big.dtype
        )
        return weight_gradient if channels == "first" else weight_gradient.movedim((0, 1), (-1, -2))
    shape = (*k, per_group, c_small) if channels == "last" else (c_small, per_group, *k)
    # The convolution is linear in the kernel, so its derivative at any kernel is the kernel gradient.
    linear = torch.func.vjp(lambda kernel: _own_conv(big, kernel, None, geometry, channels), big.new_zeros(shape))
    gradient: Tensor = linear[1](small.to(linear[0].dtype))[0]
    return gradient


def _crop(grid: Tensor, crops: Sequence[Crop]) -> Tensor:
    """The grid without `begin` and `end` cells along the spatial axes; a negative number adds zeros instead."""
    if all(crop == (0, 0) for crop in crops):
        return grid
    # The extension comes first: a crop may exceed the existing cells.
    amounts = [amount for crop in reversed(crops) for amount in crop]
    if min(amounts) < 0:
        grid = F.pad(grid, [max(-amount, 0) for amount in amounts])
    return F.pad(grid, [-max(amount, 0) for amount in amounts]) if max(amounts) > 0 else grid


def _first(array: Tensor, channels: str) -> Tensor:
    working: Tensor = _working(array)
    return working if channels == "first" else working.permute(TO_FIRST[working.dim() - 2])


def _kernel(kernel: Tensor, channels: str) -> Tensor:
    working: Tensor = _working(kernel)
    # contiguous, because PyTorch's float64 gradient of a strided kernel fails ("grad_weight must be contiguous")
    return working if channels == "first" else working.permute(KERNEL_TO_FIRST[working.dim() - 2]).contiguous()


def _working(array: Any) -> Any:
    """The array in the type for the computation. On the CPU, sums in half and bfloat16 lose too much precision;
    accelerators sum in float32."""
    if array is None or array.dtype.itemsize >= 4 or array.device.type != "cpu":
        return array
    return array.to(torch.float32)


def _back(y: Tensor, like: Tensor, channels: str) -> Tensor:
    if y.device.type == "meta" or not torch.is_autocast_enabled(y.device.type):  # autocast chooses the type
        y = y.to(like.dtype)
    return y if channels == "first" else y.permute(TO_LAST[y.dim() - 2])
