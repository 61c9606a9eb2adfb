"""The three maps over the memory of PyTorch's CPU tensors, by the native kernels without a copy.

Tensors are ``(N, C, *space)`` and kernels ``(C_small, C_big / groups, *k)``, as everywhere in PyTorch. Their layout in
memory is independent of that. With `last` the result's channels are adjacent (PyTorch's ``channels_last``), and grids
in this layout are read without a copy. Without `last` the same holds for contiguous grids. A kernel may have any of
three layouts in memory.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from ..._core import core
from ..numpy import Call, computed
from .layout import (
    LOGICAL,
    TO_FIRST,
    TO_LAST,
    KernelLayout,
    aligned,
    as_grid,
    as_kernel,
    grid_memory,
    kernel_shape,
    steps,
)

Tensor = torch.Tensor
Ints = Sequence[int]

_LARGE = 1 << 16  # bytes: larger results reuse the memory of earlier ones, because new pages take long to clear


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
    """conv_transpose or conv, for validated tensors of one floating-point type. `size` is the result's spatial size."""
    dtype = x.dtype
    if dtype is not torch.float32 and dtype is not torch.float64:
        x, kernel, bias = x.float(), kernel.float(), None if bias is None else bias.float()
        return forward(transposed, x, kernel, bias, size, stride, dilation, begin, groups, last).to(dtype)
    x, (kernel, weights_layout) = as_grid(x, last), as_kernel(kernel)
    if bias is not None and not bias.is_contiguous():
        bias = bias.contiguous()
    addresses = x.data_ptr(), kernel.data_ptr(), 0 if bias is None else bias.data_ptr()
    if (addresses[0] | addresses[1] | addresses[2]) % dtype.itemsize:
        bias = None if bias is None else aligned(bias)
        return forward(transposed, aligned(x), aligned(kernel), bias, size, stride, dilation, begin, groups, last)
    fields = (tuple(size), tuple(stride), tuple(dilation), tuple(begin), groups, last)
    key = (transposed, dtype, x.shape, x.stride(), kernel.shape, weights_layout, bias is None, fields)
    call = _calls.get(key)
    if call is None:
        call = _remember(_calls, key, map_call(transposed, x, kernel, bias, *fields, weights_layout))
    if call.prepared is not None:
        return call(dtype, *addresses)
    result = _new(call, dtype)
    _without_plan(transposed, x, kernel, bias, result, *fields[1:-1])
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
    kernel_layout: int,
) -> Tensor:
    """kernel_gradient, for a kernel of size `size` and layout `kernel_layout`."""
    dtype = big.dtype
    if dtype is not torch.float32 and dtype is not torch.float64:
        return gradient(big.float(), small.float(), size, stride, dilation, begin, groups, last, kernel_layout).to(
            dtype
        )
    big, small = as_grid(aligned(big), last), as_grid(aligned(small), last)
    fields = (tuple(size), tuple(stride), tuple(dilation), tuple(begin), groups, last, kernel_layout)
    key = (None, dtype, big.shape, big.stride(), small.shape, small.stride(), fields)
    call = _calls.get(key)
    if call is None:
        call = _remember(_calls, key, gradient_call(big, small, *fields))
    if call.prepared is not None:
        return call(dtype, big.data_ptr(), small.data_ptr(), 0)
    return _new(call, dtype).zero_()


def gradients(
    transposed: bool,
    x: Tensor,
    kernel: Tensor,
    grad_output: Tensor,
    stride: Ints,
    dilation: Ints,
    begin: Ints,
    groups: int,
    last: bool,
) -> tuple[Tensor, Tensor] | None:
    """Both gradients of conv_transpose or conv, with respect to x and to the kernel, which has the kernel's layout.

    They are computed by one call, so arrays that both read are rearranged once. None if the kernels have nothing to
    compute, or no plan.
    """
    dtype = x.dtype
    if dtype is not torch.float32 and dtype is not torch.float64:
        pair = gradients(
            transposed, x.float(), kernel.float(), grad_output.float(), stride, dilation, begin, groups, last
        )
        return pair and (pair[0].to(dtype), pair[1].to(dtype))
    x, grad_output, (kernel, weights_layout) = (
        as_grid(aligned(x), last),
        as_grid(aligned(grad_output), last),
        as_kernel(aligned(kernel)),
    )
    fields = (tuple(stride), tuple(dilation), tuple(begin), groups, last)
    key = (
        "both",
        transposed,
        dtype,
        x.shape,
        x.stride(),
        grad_output.shape,
        grad_output.stride(),
        kernel.shape,
        weights_layout,
        fields,
    )
    calls = _pairs.get(key)
    if calls is None:
        calls = _remember(_pairs, key, _gradients_calls(transposed, x, kernel, grad_output, *fields, weights_layout))
    by_x, by_kernel = calls
    if by_x.prepared is None:
        return None
    results = _new(by_x, dtype), _new(by_kernel, dtype)
    by_x.prepared.gradients(
        x.data_ptr(), kernel.data_ptr(), grad_output.data_ptr(), results[0].data_ptr(), results[1].data_ptr()
    )
    return results


class BoundCall(NamedTuple):
    """A call bound to shapes and strides. Only the data pointers vary."""

    memory: tuple[int, ...]  # the shape of the result's memory
    order: tuple[int, ...]  # the order of these axes in the result
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    bytes: int
    prepared: core.BoundCall | None  # None if the kernels have nothing to compute, or no plan

    def __call__(self, dtype: torch.dtype, first: int, second: int, bias: int) -> Tensor:
        """The result for arrays at these addresses; 0 stands for no bias."""
        assert self.prepared is not None
        result = _new(self, dtype)
        self.prepared(first, second, bias, result.data_ptr())
        return result


def _call(
    memory: tuple[int, ...], order: tuple[int, ...], dtype: torch.dtype, prepared: core.BoundCall | None
) -> BoundCall:
    memory_strides = steps(memory)
    shape, strides = tuple(memory[axis] for axis in order), tuple(memory_strides[axis] for axis in order)
    return BoundCall(memory, order, shape, strides, math.prod(memory) * dtype.itemsize, prepared)


_calls: dict[Any, BoundCall] = {}
_pairs: dict[Any, tuple[BoundCall, BoundCall]] = {}
_MOST_CALLS = 1024


Kept = TypeVar("Kept")


def _remember(calls: dict[Any, Kept], key: Any, call: Kept) -> Kept:
    if len(calls) >= _MOST_CALLS:
        calls.clear()
    calls[key] = call
    return call


def map_call(
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
    weights_layout: int,
) -> BoundCall:
    channels = kernel.shape[1] * groups if transposed else kernel.shape[0]
    shape, order = grid_memory(x.shape[0], channels, size, last)
    if x.numel() == 0 or _unplanned(transposed, stride):
        return _call(shape, order, x.dtype, None)
    fields = (stride, dilation, begin, groups, last, weights_layout)
    return _call(
        shape, order, x.dtype, _prepare_map(transposed, x, kernel, shape, steps(shape), bias is not None, *fields)
    )


def _gradients_calls(
    transposed: bool,
    x: Tensor,
    kernel: Tensor,
    grad_output: Tensor,
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    begin: tuple[int, ...],
    groups: int,
    last: bool,
    weights_layout: int,
) -> tuple[BoundCall, BoundCall]:
    by_x = grid_memory(x.shape[0], x.shape[1], tuple(x.shape[2:]), last)
    by_kernel = kernel_shape(weights_layout, kernel.shape[2:], kernel.shape[1], kernel.shape[0])
    prepared = None
    if x.numel() and grad_output.numel() and kernel.numel() and not _unplanned(not transposed, stride):
        grad_outputs = grad_output.permute(TO_LAST[len(stride)]) if last else grad_output
        fields = (stride, dilation, begin, groups, last, weights_layout)
        prepared = _prepare_map(transposed, x, kernel, grad_outputs.shape, grad_outputs.stride(), False, *fields)
    return (
        _call(*by_x, x.dtype, prepared),
        _call(by_kernel, LOGICAL[weights_layout][len(stride)], x.dtype, prepared),
    )


def _unplanned(transposed: bool, stride: Ints) -> bool:
    return transposed and max(stride) > core.max_phases


def _prepare_map(
    transposed: bool,
    x: Tensor,
    kernel: Tensor,
    out: Ints,
    out_strides: Ints,
    bias: bool,
    stride: Ints,
    dilation: Ints,
    begin: Ints,
    groups: int,
    last: bool,
    weights_layout: int,
) -> core.BoundCall:
    grid = x.permute(TO_LAST[len(stride)]) if last else x
    weights = (
        kernel.shape
        if weights_layout == KernelLayout.FIRST
        else kernel_shape(KernelLayout.LAST, kernel.shape[2:], kernel.shape[1], kernel.shape[0])
    )
    return core.bind(
        "conv_transpose" if transposed else "conv",
        grid.shape,
        grid.stride(),
        weights,
        steps(weights),
        out,
        out_strides,
        bias,
        stride,
        dilation,
        begin,
        groups,
        not last,
        weights_layout,
        x.dtype.itemsize,
    )


def gradient_call(
    big: Tensor,
    small: Tensor,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    begin: tuple[int, ...],
    groups: int,
    last: bool,
    kernel_layout: int,
) -> BoundCall:
    shape = kernel_shape(kernel_layout, size, big.shape[1] // groups, small.shape[1])
    order = LOGICAL[kernel_layout][len(stride)]
    if big.numel() == 0 or small.numel() == 0:
        return _call(shape, order, big.dtype, None)
    bigs, smalls = (grid.permute(TO_LAST[len(stride)]) if last else grid for grid in (big, small))
    described = (
        shape
        if kernel_layout == KernelLayout.FIRST
        else kernel_shape(KernelLayout.LAST, size, big.shape[1] // groups, small.shape[1])
    )
    prepared = core.bind(
        "kernel_gradient",
        bigs.shape,
        bigs.stride(),
        smalls.shape,
        smalls.stride(),
        described,
        steps(described),
        False,
        stride,
        dilation,
        begin,
        groups,
        not last,
        kernel_layout,
        big.dtype.itemsize,
    )
    return _call(shape, order, big.dtype, prepared)


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
    """Compute empty inputs, and strides that the kernels have no plan for, by NumPy's backend."""
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
    """A tensor with the shape, type and strides of the result of `forward`."""
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
    kernel_layout: int,
) -> Tensor:
    """A tensor with the shape, type and strides of the result of `gradient`."""
    del dilation, begin, last
    shape = kernel_shape(kernel_layout, size, big.shape[1] // groups, small.shape[1])
    return big.new_empty(shape).permute(LOGICAL[kernel_layout][len(stride)])


def _new(call: BoundCall, dtype: torch.dtype) -> Tensor:
    """A tensor for a result. It is not a view: forward mode would then check the strides of a derivative."""
    if call.bytes < _LARGE:
        return torch.empty_strided(call.shape, call.strides, dtype=dtype, device="cpu")
    try:
        if call.bytes >= 1 << 62:
            raise MemoryError
        return torch.from_numpy(core.empty(call.memory, dtype.itemsize).transpose(call.order))
    except MemoryError:
        raise MemoryError(f"no memory for a result of shape {call.shape}, type {dtype}: {call.bytes:,} bytes") from None


def _borrow_threads() -> None:
    """Run calls on tensors on PyTorch's threads, if these are OpenMP's.

    PyTorch's threads spin for a while after each operation, and a second pool would share the processors with them.
    """
    if sys.platform != "linux":
        return
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        addresses = [
            ctypes.cast(library[name], ctypes.c_void_p).value for name in ("GOMP_parallel", "omp_get_max_threads")
        ]
    except (OSError, AttributeError):  # another build of PyTorch, with other threads
        return
    core.set_openmp(*(address or 0 for address in addresses))


_borrow_threads()
