"""The memory layouts of PyTorch's tensors: grids ``(N, C, *space)`` with channels first or last in memory, and kernels
``(C_small, C_big / groups, *k)`` in one of three orders."""

from __future__ import annotations

from collections.abc import Sequence

import torch

Tensor = torch.Tensor
Ints = Sequence[int]

TO_LAST = {rank: (0, *range(2, rank + 2), 1) for rank in (1, 2, 3)}  # (N, C, *space) to (N, *space, C)
TO_FIRST = {rank: (0, rank + 1, *range(1, rank + 1)) for rank in (1, 2, 3)}
KERNEL_TO_LAST = {rank: (*range(2, rank + 2), 1, 0) for rank in (1, 2, 3)}  # to (*k, C_big / groups, C_small)
KERNEL_TO_FIRST = {rank: (rank + 1, rank, *range(rank)) for rank in (1, 2, 3)}
AS_IT_IS = {rank: tuple(range(rank + 2)) for rank in (1, 2, 3)}
LOGICAL = (AS_IT_IS, KERNEL_TO_FIRST, TO_FIRST)  # from a kernel's memory to (C_small, C_big / groups, *k)


class KernelLayout:
    """The order of a kernel's axes in memory."""

    FIRST = 0
    """(C_small, C_big / groups, *k): PyTorch's default"""
    LAST = 1
    """(*k, C_big / groups, C_small): this package's layout"""
    SMALL_FIRST = 2
    """(C_small, *k, C_big / groups): PyTorch's channels_last"""


def steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of contiguous memory."""
    strides = [1]
    for length in shape[:0:-1]:
        strides.append(strides[-1] * length)
    return tuple(reversed(strides))


def grid_memory(batch: int, channels: int, size: Ints, last: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of a grid's memory, and the order of its axes in the tensor."""
    rank = len(size)
    return ((batch, *size, channels), TO_FIRST[rank]) if last else ((batch, channels, *size), AS_IT_IS[rank])


def as_grid(x: Tensor, last: bool) -> Tensor:
    """A grid in the layout that the kernels read; copied only if it has another one."""
    if not last:
        return x if x.is_contiguous() else x.contiguous()
    if x.stride(1) == 1 or x.shape[1] == 1:
        return x
    rank = x.dim() - 2
    return x.permute(TO_LAST[rank]).contiguous().permute(TO_FIRST[rank])


def aligned(tensor: Tensor) -> Tensor:
    """The tensor, copied if its memory is not aligned to the size of its elements, as in some views of bytes."""
    return tensor.clone() if tensor.data_ptr() % tensor.element_size() else tensor


def kernel_layout(kernel: Tensor) -> int:
    """The layout of a kernel in memory; also FIRST for kernels that have none of the three layouts."""
    rank = kernel.dim() - 2
    if not kernel.is_contiguous():
        if kernel.permute(KERNEL_TO_LAST[rank]).is_contiguous():
            return KernelLayout.LAST
        if kernel.permute(TO_LAST[rank]).is_contiguous():
            return KernelLayout.SMALL_FIRST
    return KernelLayout.FIRST


def gradient_layout(kernel: Tensor, last: bool) -> int:
    """The layout of a kernel's gradient. Like PyTorch's, it is channels_last if the result is. A kernel in the layout
    LAST, which PyTorch does not have, has a gradient in the same layout."""
    if not last:
        return KernelLayout.FIRST
    rank = kernel.dim() - 2
    ours = kernel.permute(KERNEL_TO_LAST[rank]).is_contiguous() and not kernel.permute(TO_LAST[rank]).is_contiguous()
    return KernelLayout.LAST if ours else KernelLayout.SMALL_FIRST


def laid_out(kernel: Tensor, weights_layout: int) -> Tensor:
    """A kernel with the strides of this layout; copied only if its strides differ."""
    memory = kernel_shape(weights_layout, kernel.shape[2:], kernel.shape[1], kernel.shape[0])
    return _with_memory(kernel, memory, LOGICAL[weights_layout][kernel.dim() - 2])


def grid_laid_out(grid: Tensor, last: bool) -> Tensor:
    """A grid, or a kernel, with its second axis last in memory if `last`; copied only if its strides differ."""
    return _with_memory(grid, *grid_memory(grid.shape[0], grid.shape[1], grid.shape[2:], last))


def _with_memory(tensor: Tensor, memory: tuple[int, ...], order: tuple[int, ...]) -> Tensor:
    memory_strides = steps(memory)
    strides = tuple(memory_strides[axis] for axis in order)
    if tensor.stride() == strides:
        return tensor
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device).copy_(tensor)


def as_kernel(kernel: Tensor) -> tuple[Tensor, int]:
    """A kernel in a layout that the native kernels read, and this layout."""
    weights_layout = kernel_layout(kernel)
    return kernel.contiguous() if weights_layout == KernelLayout.FIRST else kernel, weights_layout


def kernel_shape(weights_layout: int, size: Ints, bigs: int, smalls: int) -> tuple[int, ...]:
    """The shape of a kernel's memory."""
    return ((smalls, bigs, *size), (*size, bigs, smalls), (smalls, *size, bigs))[weights_layout]
