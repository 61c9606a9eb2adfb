"""The three maps over an additional batch axis, for torch.func.vmap, by the same maps. An axis that only the grid has
becomes part of its batch; an axis of the kernel becomes part of the groups or of the result's channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from .layout import KERNEL_TO_LAST, TO_LAST, KernelLayout

Tensor = torch.Tensor
Map = Callable[..., Tensor]


def batched_map(
    rule: Map,
    transposed: bool,
    info: Any,
    dims: tuple[Any, ...],
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    *fields: Any,
) -> tuple[Tensor, int]:
    """conv_transpose or conv (`rule`) of arguments with a batch axis at `dims`. It is the first axis of the result."""
    count, (x_dim, kernel_dim, bias_dim) = info.batch_size, dims[:3]
    *before, groups, last = fields
    one_bias = bias if kernel_dim is None and bias_dim is None else None  # the map can add it
    if kernel_dim is None and x_dim is None:
        y = rule(x, kernel, None, *fields)[None]
    elif kernel_dim is None:
        x = x.movedim(x_dim, 0)
        y = _unflatten(rule(x.flatten(0, 1), kernel, one_bias, *fields), 0, x.shape[:2])
    elif x_dim is not None:
        x, kernel = x.movedim(x_dim, 0), kernel.movedim(kernel_dim, 0)
        y = rule(_side_by_side(x), kernel.flatten(0, 1), None, *before, groups * count, last)
        y = _unflatten(y, 1, (count, y.shape[1] // count)).movedim(1, 0)
    else:
        kernel = kernel.movedim(kernel_dim, 0)
        if transposed:  # each group has the channels of all kernels in the result
            y = rule(x, kernel.movedim(0, 1).flatten(1, 2), None, *fields)
        else:
            kernel = _unflatten(kernel, 1, (groups, kernel.shape[1] // groups)).movedim(1, 0)
            y = rule(x, kernel.flatten(0, 2), None, *fields)
        y = _unflatten(y, 1, (groups, count, y.shape[1] // (groups * count))).movedim(2, 0).flatten(2, 3)
    if bias is not None and one_bias is None:
        each = bias[None] if bias_dim is None else bias.movedim(bias_dim, 0)
        y = y + each.reshape(each.shape[0], 1, each.shape[1], *(1,) * (y.dim() - 3))
    return _laid_out(y, TO_LAST[y.dim() - 3] if last else None), 0


def batched_gradient(
    rule: Map, info: Any, dims: tuple[Any, ...], big: Tensor, small: Tensor, *fields: Any
) -> tuple[Tensor, int]:
    """kernel_gradient (`rule`) of arguments with a batch axis at `dims`. It is the first axis of the result."""
    count, (big_dim, small_dim) = info.batch_size, dims[:2]
    *before, groups, last, weights_layout = fields
    if big_dim is None and small_dim is None:
        kernel = rule(big, small, *fields)[None].expand(count, *(-1,) * big.dim())
    elif big_dim is not None and small_dim is not None:
        bigs, smalls = big.movedim(big_dim, 0), small.movedim(small_dim, 0)
        kernel = rule(_side_by_side(bigs), _side_by_side(smalls), *before, groups * count, last, weights_layout)
        kernel = _unflatten(kernel, 0, (count, smalls.shape[2]))
    elif small_dim is None:
        kernel = rule(_within_groups(big.movedim(big_dim, 0), groups), small, *fields)
        kernel = _unflatten(kernel, 1, (count, kernel.shape[1] // count)).movedim(1, 0)
    else:
        kernel = rule(big, _within_groups(small.movedim(small_dim, 0), groups), *fields)
        each = kernel.shape[0] // (groups * count)
        kernel = _unflatten(kernel, 0, (groups, count, each)).movedim(1, 0).flatten(1, 2)
    rank = kernel.dim() - 3
    order = {
        KernelLayout.FIRST: None,
        KernelLayout.LAST: KERNEL_TO_LAST[rank],
        KernelLayout.SMALL_FIRST: TO_LAST[rank],
    }[weights_layout]
    return _laid_out(kernel, order), 0


def _laid_out(many: Tensor, order: Sequence[int] | None) -> Tensor:
    """The tensors with the strides that the map gives a single one: contiguous in this order of axes. In forward mode a
    derivative must have the strides of its value."""
    if order is None:
        return many.contiguous()
    back = sorted(range(len(order)), key=lambda axis: order[axis])
    return many.permute(0, *(a + 1 for a in order)).contiguous().permute(0, *(a + 1 for a in back))


def _side_by_side(grids: Tensor) -> Tensor:
    """(B, N, C, *space) as (N, B * C, *space): the channels of one grid after another."""
    return grids.movedim(0, 1).flatten(1, 2)


def _within_groups(grids: Tensor, groups: int) -> Tensor:
    """(B, N, g * c, *space) as (N, g * B * c, *space): in every group the channels of one grid after another."""
    split = _unflatten(grids, 2, (groups, grids.shape[2] // groups))
    return split.movedim(0, 2).flatten(1, 3)


def _unflatten(tensor: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    unflattened: Tensor = torch.unflatten(tensor, dim, sizes)
    return unflattened
