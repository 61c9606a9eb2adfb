"""The three maps over the memory of PyTorch's CPU tensors, by the native kernels without a copy.

Tensors are ``(N, C, *space)`` and kernels ``(C_small, C_big / groups, *k)``, as everywhere in PyTorch; where their
numbers lie in memory is another matter. With `last` the result's channels are adjacent (PyTorch's ``channels_last``),
and grids that lie so are read where they are; without it the same holds for contiguous grids. A kernel may lie in any
of three ways.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .. import _native
from .numpy import Call, computed

Tensor = torch.Tensor
Ints = Sequence[int]

TO_LAST = {rank: (0, *range(2, rank + 2), 1) for rank in (1, 2, 3)}  # (N, C, *space) to (N, *space, C)
TO_FIRST = {rank: (0, rank + 1, *range(1, rank + 1)) for rank in (1, 2, 3)}
KERNEL_TO_LAST = {rank: (*range(2, rank + 2), 1, 0) for rank in (1, 2, 3)}  # to (*k, C_big / groups, C_small)
KERNEL_TO_FIRST = {rank: (rank + 1, rank, *range(rank)) for rank in (1, 2, 3)}
_AS_IT_IS = {rank: tuple(range(rank + 2)) for rank in (1, 2, 3)}
_LOGICAL = (_AS_IT_IS, KERNEL_TO_FIRST, TO_FIRST)  # from a kernel's memory to (C_small, C_big / groups, *k)
FIRST, LAST, TURNED = 0, 1, 2  # how a kernel lies: (C_small, C_big / groups, *k), (*k, C_big / groups, C_small), or
# (C_small, *k, C_big / groups), PyTorch's channels_last
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
    dtype = x.dtype
    if dtype is not torch.float32 and dtype is not torch.float64:
        x, kernel, bias = x.float(), kernel.float(), None if bias is None else bias.float()
        return forward(transposed, x, kernel, bias, size, stride, dilation, begin, groups, last).to(dtype)
    x, (kernel, lies) = _grid(x, last), _kernel(kernel)
    if bias is not None and not bias.is_contiguous():
        bias = bias.contiguous()
    fields = (tuple(size), tuple(stride), tuple(dilation), tuple(begin), groups, last)
    key = (transposed, dtype, x.shape, x.stride(), kernel.shape, lies, bias is None, fields)
    call = _calls.get(key)
    if call is None:
        call = _remember(key, _map_call(transposed, x, kernel, bias, *fields, lies))
    result = _new(call, dtype)
    if call.prepared is None:
        _without_plan(transposed, x, kernel, bias, result, *fields[1:-1])
    else:
        call.prepared(x.data_ptr(), kernel.data_ptr(), 0 if bias is None else bias.data_ptr(), result.data_ptr())
    return result


def gradient(
    big: Tensor,
    small: Tensor,
    size: Ints,
    stride: Ints,
    dilation: Ints,
    begin: Ints,
    groups: int,
    last: bool,
    kernel_lies: int,
) -> Tensor:
    """kernel_gradient, for a kernel of that size, which lies in memory as `kernel_lies` says."""
    dtype = big.dtype
    if dtype is not torch.float32 and dtype is not torch.float64:
        return gradient(big.float(), small.float(), size, stride, dilation, begin, groups, last, kernel_lies).to(dtype)
    big, small = _grid(big, last), _grid(small, last)
    fields = (tuple(size), tuple(stride), tuple(dilation), tuple(begin), groups, last, kernel_lies)
    key = (None, dtype, big.shape, big.stride(), small.shape, small.stride(), fields)
    call = _calls.get(key)
    if call is None:
        call = _remember(key, _gradient_call(big, small, *fields))
    result = _new(call, dtype)
    if call.prepared is None:
        result.zero_()
    else:
        call.prepared(big.data_ptr(), small.data_ptr(), 0, result.data_ptr())
    return result


class _Call(NamedTuple):
    """What is the same for all tensors of some shapes and strides."""

    memory: tuple[int, ...]  # the shape of the result's memory
    order: tuple[int, ...]  # of its axes in the result
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    bytes: int
    prepared: _native.Prepared | None  # None where the kernels have nothing to compute, or no plan


def _call(
    memory: tuple[int, ...], order: tuple[int, ...], dtype: torch.dtype, prepared: _native.Prepared | None
) -> _Call:
    steps = _steps(memory)
    shape, strides = tuple(memory[axis] for axis in order), tuple(steps[axis] for axis in order)
    return _Call(memory, order, shape, strides, math.prod(memory) * dtype.itemsize, prepared)


_calls: dict[Any, _Call] = {}
_MOST_CALLS = 1024


def _remember(key: Any, call: _Call) -> _Call:
    if len(_calls) >= _MOST_CALLS:
        _calls.clear()
    _calls[key] = call
    return call


def _map_call(
    transposed: bool,
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    begin: tuple[int, ...],
    groups: int,
    last: bool,
    lies: int,
) -> _Call:
    rank = len(stride)
    channels = kernel.shape[1] * groups if transposed else kernel.shape[0]
    shape = (x.shape[0], *size, channels) if last else (x.shape[0], channels, *size)
    order = TO_FIRST[rank] if last else _AS_IT_IS[rank]
    if x.numel() == 0 or (transposed and max(stride) > _native.most_phases):
        return _call(shape, order, x.dtype, None)
    grid = x.permute(TO_LAST[rank]) if last else x
    weights = kernel.shape if lies == FIRST else _kernel_shape(LAST, kernel.shape[2:], kernel.shape[1], kernel.shape[0])
    prepared = _native.prepare(
        "conv_transpose" if transposed else "conv",
        grid.shape,
        grid.stride(),
        weights,
        _steps(weights),
        shape,
        _steps(shape),
        bias is not None,
        stride,
        dilation,
        begin,
        groups,
        not last,
        lies == FIRST,
        lies == TURNED,
        x.dtype.itemsize,
    )
    return _call(shape, order, x.dtype, prepared)


def _gradient_call(
    big: Tensor,
    small: Tensor,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    begin: tuple[int, ...],
    groups: int,
    last: bool,
    kernel_lies: int,
) -> _Call:
    shape = _kernel_shape(kernel_lies, size, big.shape[1] // groups, small.shape[1])
    order = _LOGICAL[kernel_lies][len(stride)]
    if big.numel() == 0 or small.numel() == 0:
        return _call(shape, order, big.dtype, None)
    bigs, smalls = (grid.permute(TO_LAST[len(stride)]) if last else grid for grid in (big, small))
    described = shape if kernel_lies == FIRST else _kernel_shape(LAST, size, big.shape[1] // groups, small.shape[1])
    prepared = _native.prepare(
        "kernel_gradient",
        bigs.shape,
        bigs.stride(),
        smalls.shape,
        smalls.stride(),
        described,
        _steps(described),
        False,
        stride,
        dilation,
        begin,
        groups,
        not last,
        kernel_lies == FIRST,
        kernel_lies == TURNED,
        big.dtype.itemsize,
    )
    return _call(shape, order, big.dtype, prepared)


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of contiguous memory."""
    steps = [1]
    for length in shape[:0:-1]:
        steps.append(steps[-1] * length)
    return tuple(reversed(steps))


def _without_plan(
    transposed: bool,
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    result: Tensor,
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    begin: tuple[int, ...],
    groups: int,
) -> None:
    """A result of no input, and of strides beyond what the kernels plan for, as NumPy's backend computes them."""
    grid, weights = x.detach().numpy(), kernel.detach().numpy()
    call = Call(transposed, tuple(result.shape), False, False, (stride, dilation, begin, groups), False)
    computed(call, grid, weights, None if bias is None else bias.detach().numpy(), result.numpy())


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
    kernel_lies: int,
) -> Tensor:
    """A tensor of the shape, type and strides of what `gradient` gives."""
    del dilation, begin, last
    shape = _kernel_shape(kernel_lies, size, big.shape[1] // groups, small.shape[1])
    return big.new_empty(shape).permute(_LOGICAL[kernel_lies][len(stride)])


def _new(call: _Call, dtype: torch.dtype) -> Tensor:
    """A tensor for a result; no view of another one, as forward mode would then ask how a derivative lies."""
    if call.bytes < _LARGE:
        return torch.empty_strided(call.shape, call.strides, dtype=dtype, device="cpu")
    try:
        if call.bytes >= 1 << 62:
            raise MemoryError
        return torch.from_numpy(_native.empty(call.memory, dtype.itemsize).transpose(call.order))
    except MemoryError:
        raise MemoryError(f"no memory for a result of shape {call.shape}, type {dtype}: {call.bytes:,} bytes") from None


def _grid(x: Tensor, last: bool) -> Tensor:
    """A grid as the kernels read it; copied only if it lies in another layout."""
    if not last:
        return x if x.is_contiguous() else x.contiguous()
    if x.stride(1) == 1 or x.shape[1] == 1:
        return x
    rank = x.dim() - 2
    return x.permute(TO_LAST[rank]).contiguous().permute(TO_FIRST[rank])


def kernel_lies(kernel: Tensor) -> int:
    """Which of the three ways a kernel lies in memory; FIRST for those that lie in none, too."""
    rank = kernel.dim() - 2
    if not kernel.is_contiguous():
        if kernel.permute(KERNEL_TO_LAST[rank]).is_contiguous():
            return LAST
        if kernel.permute(TO_LAST[rank]).is_contiguous():
            return TURNED
    return FIRST


def _kernel(kernel: Tensor) -> tuple[Tensor, int]:
    """A kernel as the kernels read it, and how it lies."""
    lies = kernel_lies(kernel)
    return kernel.contiguous() if lies == FIRST else kernel, lies


def _kernel_shape(lies: int, size: Ints, bigs: int, smalls: int) -> tuple[int, ...]:
    """The shape of a kernel's memory."""
    return ((smalls, bigs, *size), (*size, bigs, smalls), (smalls, *size, bigs))[lies]


def _borrow_threads() -> None:
    """PyTorch's threads watch for work for a while after each operation. Ours would share the processors with them: so
    that calls on tensors run on PyTorch's, where these are OpenMP's."""
    if sys.platform != "linux":
        return
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        found = [ctypes.cast(library[name], ctypes.c_void_p).value for name in ("GOMP_parallel", "omp_get_max_threads")]
    except (OSError, AttributeError):  # another build of PyTorch, with other threads
        return
    _native.set_team(*(address or 0 for address in found))


_borrow_threads()
