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
Described = tuple[Ints, Ints]
"""The shape of an array, and its strides in numbers."""

_LARGE = 1 << 16  # bytes: larger results reuse the memory of earlier ones, because new pages take long to clear


class Fields(NamedTuple):
    """The arguments of all three maps except the arrays and the result's size."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]  # the crops' begins
    groups: int
    last: bool  # whether the channels of a resulting grid are adjacent in memory


def forward(transposed: bool, x: Tensor, kernel: Tensor, bias: Tensor | None, size: Ints, *flat: Any) -> Tensor:
    """conv_transpose or conv, for validated tensors of one floating-point type. `size` is the result's spatial size,
    `flat` are `Fields`."""
    dtype = x.dtype
    if dtype is not torch.float32 and dtype is not torch.float64:
        x, kernel, bias = x.float(), kernel.float(), None if bias is None else bias.float()
        return forward(transposed, x, kernel, bias, size, *flat).to(dtype)
    stride, dilation, begin, groups, last = flat
    x, (kernel, weights_layout) = as_grid(x, last), as_kernel(kernel)
    if bias is not None and not bias.is_contiguous():
        bias = bias.contiguous()
    addresses = x.data_ptr(), kernel.data_ptr(), 0 if bias is None else bias.data_ptr()
    if (addresses[0] | addresses[1] | addresses[2]) % dtype.itemsize:
        bias = None if bias is None else aligned(bias)
        return forward(transposed, aligned(x), aligned(kernel), bias, size, *flat)
    size, fields = tuple(size), (tuple(stride), tuple(dilation), tuple(begin), groups, last)
    key = (transposed, dtype, x.shape, x.stride(), kernel.shape, weights_layout, bias is None, size, fields)
    call = _calls.get(key)
    if call is None:
        call = _remember(_calls, key, map_call(transposed, x, kernel, bias, size, Fields(*fields), weights_layout))
    if call.bound is not None:
        return call(dtype, *addresses)
    result = _new(call, dtype)
    _without_plan(transposed, x, kernel, bias, result, Fields(*fields))
    return result


def gradient(big: Tensor, small: Tensor, size: Ints, *flat: Any) -> Tensor:
    """kernel_gradient, for a kernel of size `size`. `flat` are `Fields` and the kernel's layout."""
    dtype = big.dtype
    if dtype is not torch.float32 and dtype is not torch.float64:
        return gradient(big.float(), small.float(), size, *flat).to(dtype)
    stride, dilation, begin, groups, last, kernel_layout = flat
    big, small = as_grid(aligned(big), last), as_grid(aligned(small), last)
    size, fields = tuple(size), (tuple(stride), tuple(dilation), tuple(begin), groups, last)
    key = (None, dtype, big.shape, big.stride(), small.shape, small.stride(), size, fields, kernel_layout)
    call = _calls.get(key)
    if call is None:
        call = _remember(_calls, key, gradient_call(big, small, size, Fields(*fields), kernel_layout))
    if call.bound is not None:
        return call(dtype, big.data_ptr(), small.data_ptr(), 0)
    return _new(call, dtype).zero_()


def gradients(
    transposed: bool, x: Tensor, kernel: Tensor, grad_output: Tensor, *flat: Any
) -> tuple[Tensor, Tensor] | None:
    """Both gradients of conv_transpose or conv, with respect to x and to the kernel, which has the kernel's layout.

    They are computed by one call, so arrays that both read are rearranged once. None if the kernels have nothing to
    compute, or no plan. `flat` are `Fields`.
    """
    dtype = x.dtype
    if dtype is not torch.float32 and dtype is not torch.float64:
        pair = gradients(transposed, x.float(), kernel.float(), grad_output.float(), *flat)
        return pair and (pair[0].to(dtype), pair[1].to(dtype))
    stride, dilation, begin, groups, last = flat
    fields = (tuple(stride), tuple(dilation), tuple(begin), groups, last)
    x, grad_output = as_grid(aligned(x), last), as_grid(aligned(grad_output), last)
    kernel, weights_layout = as_kernel(aligned(kernel))
    grids = x.shape, x.stride(), grad_output.shape, grad_output.stride()
    key = (transposed, dtype, *grids, kernel.shape, weights_layout, fields)
    calls = _pairs.get(key)
    if calls is None:
        calls = _remember(
            _pairs, key, _gradients_calls(transposed, x, kernel, grad_output, Fields(*fields), weights_layout)
        )
    by_x, by_kernel = calls
    if by_x.bound is None:
        return None
    results = _new(by_x, dtype), _new(by_kernel, dtype)
    by_x.bound.gradients(
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
    bound: core.BoundCall | None  # None if the kernels have nothing to compute, or no plan

    def __call__(self, dtype: torch.dtype, first: int, second: int, bias: int) -> Tensor:
        """The result for arrays at these addresses; 0 stands for no bias."""
        assert self.bound is not None
        result = _new(self, dtype)
        self.bound(first, second, bias, result.data_ptr())
        return result


def _call(
    memory: tuple[int, ...], order: tuple[int, ...], dtype: torch.dtype, bound: core.BoundCall | None
) -> BoundCall:
    memory_strides = steps(memory)
    shape, strides = tuple(memory[axis] for axis in order), tuple(memory_strides[axis] for axis in order)
    return BoundCall(memory, order, shape, strides, math.prod(memory) * dtype.itemsize, bound)


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
    fields: Fields,
    weights_layout: int,
) -> BoundCall:
    channels = kernel.shape[1] * fields.groups if transposed else kernel.shape[0]
    memory, order = grid_memory(x.shape[0], channels, size, fields.last)
    bound = None
    if x.numel() and not _unplanned(transposed, fields):
        bound = _bind_map(transposed, x, kernel, (memory, steps(memory)), bias is not None, fields, weights_layout)
    return _call(memory, order, x.dtype, bound)


def gradient_call(big: Tensor, small: Tensor, size: tuple[int, ...], fields: Fields, kernel_layout: int) -> BoundCall:
    channels = big.shape[1] // fields.groups, small.shape[1]
    bound = None
    if big.numel() and small.numel():
        arrays = _grid(big, fields), _grid(small, fields), _weights(kernel_layout, size, *channels)
        bound = _bind("kernel_gradient", arrays, False, fields, kernel_layout, big.dtype)
    memory = kernel_shape(kernel_layout, size, *channels)
    return _call(memory, LOGICAL[kernel_layout][len(size)], big.dtype, bound)


def _gradients_calls(
    transposed: bool, x: Tensor, kernel: Tensor, grad_output: Tensor, fields: Fields, weights_layout: int
) -> tuple[BoundCall, BoundCall]:
    by_x = grid_memory(x.shape[0], x.shape[1], x.shape[2:], fields.last)
    by_kernel = kernel_shape(weights_layout, kernel.shape[2:], kernel.shape[1], kernel.shape[0])
    bound = None
    if x.numel() and grad_output.numel() and kernel.numel() and not _unplanned(not transposed, fields):
        bound = _bind_map(transposed, x, kernel, _grid(grad_output, fields), False, fields, weights_layout)
    return (
        _call(*by_x, x.dtype, bound),
        _call(by_kernel, LOGICAL[weights_layout][x.dim() - 2], x.dtype, bound),
    )


def _unplanned(transposed: bool, fields: Fields) -> bool:
    return transposed and max(fields.stride) > core.max_phases


def _grid(grid: Tensor, fields: Fields) -> Described:
    """A grid as the native core takes it: with its axes in their order in memory."""
    grid = grid.permute(TO_LAST[grid.dim() - 2]) if fields.last else grid
    return grid.shape, grid.stride()


def _weights(weights_layout: int, size: Ints, bigs: int, smalls: int) -> Described:
    """A kernel as the native core takes it: SMALL_FIRST, which it transposes, is described as LAST."""
    described = KernelLayout.FIRST if weights_layout == KernelLayout.FIRST else KernelLayout.LAST
    shape = kernel_shape(described, size, bigs, smalls)
    return shape, steps(shape)


def _bind_map(
    transposed: bool, x: Tensor, kernel: Tensor, out: Described, bias: bool, fields: Fields, weights_layout: int
) -> core.BoundCall:
    weights = _weights(weights_layout, kernel.shape[2:], kernel.shape[1], kernel.shape[0])
    op = "conv_transpose" if transposed else "conv"
    return _bind(op, (_grid(x, fields), weights, out), bias, fields, weights_layout, x.dtype)


def _bind(
    op: str,
    arrays: tuple[Described, Described, Described],
    bias: bool,
    fields: Fields,
    weights_layout: int,
    dtype: torch.dtype,
) -> core.BoundCall:
    first, second, third = arrays
    described = *first, *second, *third, bias
    stride, dilation, begin, groups, last = fields
    return core.bind(op, *described, stride, dilation, begin, groups, not last, weights_layout, dtype.itemsize)


def _without_plan(
    transposed: bool, x: Tensor, kernel: Tensor, bias: Tensor | None, result: Tensor, fields: Fields
) -> None:
    """Compute empty inputs, and strides that the kernels have no plan for, by NumPy's backend."""
    grid, weights = x.detach().numpy(), kernel.detach().numpy()
    call = Call(transposed, tuple(result.shape), False, False, fields[:-1], False)
    computed(call, grid, weights, None if bias is None else bias.detach().numpy(), result.numpy())


def forward_meta(transposed: bool, x: Tensor, kernel: Tensor, bias: Tensor | None, size: Ints, *flat: Any) -> Tensor:
    """A tensor with the shape, type and strides of the result of `forward`."""
    del bias
    *_, groups, last = flat
    channels = kernel.shape[1] * groups if transposed else kernel.shape[0]
    if last:
        return x.new_empty((x.shape[0], *size, channels)).permute(TO_FIRST[len(size)])
    return x.new_empty((x.shape[0], channels, *size))


def gradient_meta(big: Tensor, small: Tensor, size: Ints, *flat: Any) -> Tensor:
    """A tensor with the shape, type and strides of the result of `gradient`."""
    *_, groups, _, kernel_layout = flat
    shape = kernel_shape(kernel_layout, size, big.shape[1] // groups, small.shape[1])
    return big.new_empty(shape).permute(LOGICAL[kernel_layout][len(size)])


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
