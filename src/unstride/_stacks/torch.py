"""Stacks of PyTorch tensors: dense float32 on the CPU, forwards and backwards by the native core.

Derivatives of the derivative are computed stage by stage. No stack is used while each operation is observed (by a
compiler, a tracer, a transform, autocast or forward mode), see `takes`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.autograd import forward_ad

from .._core import core
from ..backends.numpy import dense
from ..backends.torch import dispatch as backend
from ..backends.torch import operators
from ..backends.torch.layout import grid_laid_out
from ..stack import Stack, Stage
from .choice import composed, keeps

Tensor = torch.Tensor


def takes(*tensors: Tensor) -> bool:
    """Whether a stack can compute with these tensors."""
    if torch.compiler.is_compiling() or operators.is_watched() or forward_ad._current_level >= 0:
        return False
    return all(operators.is_plain(tensor) and tensor.dtype is torch.float32 for tensor in tensors)


def applied(stack: Stack, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """The result of a stack for tensors that it `takes`, of its shapes, with any strides. The result and the gradients
    have the strides that PyTorch's have after all stages."""
    lasts = _lasts(stack, x, weights)
    if operators.needs_derivative(x, *weights):
        # The derivative computes the stages again. PyTorch's does not read a bias, so users may overwrite it before.
        copies = [one.clone() if one.dim() == 1 else one for one in weights]
        y: Tensor = _Applied.apply(stack, lasts, x, *copies)  # type: ignore[no-untyped-call]
        return y
    return _forward(stack, lasts, x, weights, None)


def _lasts(stack: Stack, x: Tensor, weights: Sequence[Tensor]) -> tuple[bool, ...]:
    """For each stage, whether PyTorch would compute it in channels_last, then the same for the result; () for none."""
    kernels = [one for one in weights if one.dim() > 1]
    rank = x.dim() - 2
    if rank == 1 or not any(backend.is_like_channels_last(one) for one in (x, *kernels)):
        return ()
    lasts: list[bool] = []
    arriving = backend.is_like_channels_last(x)
    given = x
    for stage, kernel, size in zip(stack.stages, kernels, stack.sizes[1:], strict=True):
        last = arriving or backend.is_like_channels_last(kernel)
        if last and rank == 3:
            last = backend.knows_channels_last(given, kernel, _fields(stage))
        lasts.append(last)
        # A result that is contiguous in both formats has the strides of the default one after an activation.
        arriving = last and not (stage.activation and (stage.channels == 1 or math.prod(size) == 1))
        if rank == 3:
            given = x.new_empty((x.shape[0], stage.channels, *size))
    return *lasts, arriving


def _fields(stage: Stage) -> tuple[Any, ...]:
    geometry = stage.geometry
    padding = tuple(max(b, 0) for b, _ in geometry.crops)
    none = (0,) * geometry.rank
    return geometry.stride, padding, geometry.dilation, stage.transposed, none, geometry.groups


def one_by_one(stack: Stack, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    y: Tensor = composed(stack, x, weights, activate)
    return y


def activate(name: str, slope: float, array: Tensor) -> Tensor:
    if name == "leaky_relu":
        return torch.nn.functional.leaky_relu(array, slope)
    if name == "elu":
        return torch.nn.functional.elu(array, slope)
    activated: Tensor = getattr(torch, name)(array)
    return activated


def _forward(stack: Stack, lasts: Sequence[bool], x: Tensor, weights: Sequence[Tensor], saved: Tensor | None) -> Tensor:
    y = torch.empty(stack.output_shape(x.shape[0]), dtype=torch.float32, device="cpu")
    if x.shape[0]:
        kept = None if saved is None else saved.numpy()
        core.stack_forward(stack.code, _memory(x), [_memory(one) for one in weights], y.numpy(), kept)
    return grid_laid_out(y, lasts[-1]) if lasts else y


def _memory(tensor: Tensor) -> Any:
    return dense(tensor.detach().numpy(), np.float32)


class _Applied(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, stack: Stack, lasts: tuple[bool, ...], x: Tensor, *weights: Tensor) -> Tensor:
        batch = x.shape[0]
        context.stack, context.lasts = stack, lasts
        saved = torch.empty(stack.saved(batch), dtype=torch.float32, device="cpu") if keeps(batch) else None
        context.save_for_backward(saved, x, *weights)
        return _forward(stack, lasts, x, weights, saved)

    @staticmethod
    def backward(context: Any, grad_output: Tensor) -> tuple[Any, ...]:
        saved, x, *weights = context.saved_tensors
        needed = context.needs_input_grad[2:]
        if not takes(grad_output, x, *weights) or torch.is_grad_enabled():
            return None, None, *_differentiable(context.stack, grad_output, x, weights, needed)
        batch = x.shape[0]
        gx = torch.empty_like(x, memory_format=torch.contiguous_format) if needed[0] else None
        gradients = [torch.zeros(shape, dtype=torch.float32, device="cpu") for shape in context.stack.weight_shapes]
        if batch:
            core.stack_backward(
                context.stack.code,
                _memory(x),
                [_memory(one) for one in weights],
                _memory(grad_output),
                None if saved is None else saved.numpy(),
                None if gx is None else gx.numpy(),
                [gradient.numpy() for gradient in gradients],
            )
        if context.lasts:
            gx = None if gx is None else grid_laid_out(gx, context.lasts[0])
            stages = iter(context.lasts)
            gradients = [grid_laid_out(one, next(stages)) if one.dim() > 1 else one for one in gradients]
        return None, None, gx, *(one if need else None for one, need in zip(gradients, needed[1:], strict=True))


def _differentiable(
    stack: Stack, grad_output: Tensor, x: Tensor, weights: Sequence[Tensor], needed: Sequence[bool]
) -> list[Tensor | None]:
    """The derivatives by PyTorch's operations, which can be differentiated again."""
    operands, again = (x, *weights), torch.is_grad_enabled()
    with torch.enable_grad():
        # Views, so that autograd walks only from the result to them.
        inner = [one.view_as(one) if need else one for one, need in zip(operands, needed, strict=True)]
        y = one_by_one(stack, inner[0], inner[1:])
        wanted = [one for one, need in zip(inner, needed, strict=True) if need]
        gradients = iter(torch.autograd.grad(y, wanted, grad_output, create_graph=again))
    return [next(gradients) if need else None for need in needed]
