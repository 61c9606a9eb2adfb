"""The three maps over the memory of PyTorch's CPU tensors, by the native kernels without a copy.

Tensors are ``(N, C, *space)`` and kernels ``(C_small, C_big / groups, *k)``, as everywhere in PyTorch; where their
numbers lie in memory is another matter. With `last` the result's channels are adjacent (PyTorch's ``channels_last``),
and grids that lie so are read where they are; without it the same holds for contiguous grids. A kernel may lie either
way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .. import _native
from .numpy import Call, computed

Tensor = torch.Tensor
Ints = Sequence[int]

TO_LAST = {rank: (0, *range(2, rank + 2), 1) for rank in (1, 2, 3)}  # (N, C, *space) to (N, *space, C)
TO_FIRST = {rank: (0, rank + 1, *range(1, rank + 1)) for rank in (1, 2, 3)}
KERNEL_TO_LAST = {rank: (*range(2, rank + 2), 1, 0) for rank in (1, 2, 3)}  # to (*k, C_big / groups, C_small)
KERNEL_TO_FIRST = {rank: (rank + 1, rank, *range(rank)) for rank in (1, 2, 3)}
_LARGE = 1 << 16  # bytes, from which on a result takes memory that an earlier one left: new pages cost much to clear


def forward(
    transposed: bool,
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    size: Ints,
    stride: Ints,
    dilation: Ints,
    begin: Ints,
    groups: int,
    last: bool,
) -> Tensor:
    """conv_transpose or conv, for checked tensors of one floating-point type, with a result of that spatial size."""
    channels = kernel.shape[1] * groups if transposed else kernel.shape[0]
    shape = (x.shape[0], *size, channels) if last else (x.shape[0], channels, *size)
    working = _working(x)
    result, out = _new(shape, working)
    if x.numel() == 0 or (transposed and max(stride) > _native.most_phases):
        weights = _memory(kernel, working)
        if last:
            weights = weights.transpose(KERNEL_TO_LAST[len(stride)])
        call = Call(transposed, shape, last, False, (tuple(stride), tuple(dilation), tuple(begin), groups), False)
        computed(call, _grid(x, working, last), weights, _bias(bias, working), out)
    else:
        grid, offset, (weights, kernel_first) = _grid(x, working, last), _bias(bias, working), _kernel(kernel, working)
        fields = (stride, dilation, begin, groups)
        _native.compute(transposed, grid, weights, offset, out, *fields, not last, kernel_first, False)
    if working != x.dtype:
        result = result.to(x.dtype)
    return result.permute(TO_FIRST[len(stride)]) if last else result


def gradient(
    big: Tensor,
    small: Tensor,
    size: Ints,
    stride: Ints,
    dilation: Ints,
    begin: Ints,
    groups: int,
    last: bool,
    kernel_last: bool,
) -> Tensor:
    """kernel_gradient, for a kernel of that size, which lies in memory as `kernel_last` says."""
    ends = big.shape[1] // groups, small.shape[1]
    shape = (*size, *ends) if kernel_last else (*ends[::-1], *size)
    working = _working(big)
    result, out = _new(shape, working)
    if big.numel() == 0 or small.numel() == 0:
        out[...] = 0
    else:
        grids = _grid(big, working, last), _grid(small, working, last)
        _native.gradient(*grids, out, stride, dilation, begin, groups, not last, not kernel_last)
    if working != big.dtype:
        result = result.to(big.dtype)
    return result.permute(KERNEL_TO_FIRST[len(stride)]) if kernel_last else result


def forward_meta(
    transposed: bool,
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    size: Ints,
    stride: Ints,
    dilation: Ints,
    begin: Ints,
    groups: int,
    last: bool,
) -> Tensor:
    """A tensor of the shape, type and strides of what `forward` gives."""
    del bias, dilation, begin
    channels = kernel.shape[1] * groups if transposed else kernel.shape[0]
    if last:
        return x.new_empty((x.shape[0], *size, channels)).permute(TO_FIRST[len(stride)])
    return x.new_empty((x.shape[0], channels, *size))


def gradient_meta(
    big: Tensor,
    small: Tensor,
    size: Ints,
    stride: Ints,
    dilation: Ints,
    begin: Ints,
    groups: int,
    last: bool,
    kernel_last: bool,
) -> Tensor:
    """A tensor of the shape, type and strides of what `gradient` gives."""
    del dilation, begin, last
    ends = big.shape[1] // groups, small.shape[1]
    if kernel_last:
        return big.new_empty((*size, *ends)).permute(KERNEL_TO_FIRST[len(stride)])
    return big.new_empty((*ends[::-1], *size))


def _working(x: Tensor) -> torch.dtype:
    """The type to compute in: half and bfloat16 lose too much in sums."""
    return x.dtype if x.dtype.itemsize >= 4 else torch.float32


def _new(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Any]:
    """A new contiguous tensor and its memory."""
    count = dtype.itemsize
    for length in shape:
        count *= length
    if count < _LARGE:
        small = torch.empty(shape, dtype=dtype, device="cpu")
        return small, small.numpy()
    try:
        if count >= 1 << 62:
            raise MemoryError
        large = _native.empty(shape, dtype.itemsize)
    except MemoryError:
        raise MemoryError(f"no memory for a result of shape {shape}, type {dtype}: {count:,} bytes") from None
    return torch.from_numpy(large), large


def _memory(tensor: Tensor, dtype: torch.dtype) -> Any:
    """Its numbers in that type: in place, if they have it."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    return (tensor if tensor.dtype is dtype else tensor.to(dtype)).numpy()


def _bias(bias: Tensor | None, dtype: torch.dtype) -> Any:
    return None if bias is None else _memory(bias if bias.is_contiguous() else bias.contiguous(), dtype)


def _grid(x: Tensor, dtype: torch.dtype, last: bool) -> Any:
    """A grid as the kernels read it; copied only if it lies in another layout."""
    if last:
        if x.stride(1) != 1 and x.shape[1] > 1:
            return _memory(x.permute(TO_LAST[x.dim() - 2]).contiguous(), dtype)
        return _memory(x, dtype).transpose(TO_LAST[x.dim() - 2])
    return _memory(x if x.is_contiguous() else x.contiguous(), dtype)


def _kernel(kernel: Tensor, dtype: torch.dtype) -> tuple[Any, bool]:
    """A kernel as the kernels read it, and whether its channels come first."""
    array = _memory(kernel, dtype)
    if not array.flags.c_contiguous:
        turned = array.transpose(KERNEL_TO_LAST[kernel.dim() - 2])
        if turned.flags.c_contiguous:
            return turned, False
        return _memory(kernel.contiguous(), dtype), True
    return array, True
