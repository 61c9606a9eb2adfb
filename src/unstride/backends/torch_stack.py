"""Stacks of PyTorch tensors: dense float32 on the CPU, forwards and backwards by the native core.

Derivatives of the derivative come from the stages, computed one after the other; where something looks on at each
operation (a compiler, a tracer, a transform, autocast, forward mode), there is no stack at all (`takes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd import forward_ad

from .. import _native
from ..stack import Stack, composed, keeps
from . import torch_ops

Tensor = torch.Tensor


def takes(*tensors: Tensor) -> bool:
    """Whether a stack computes with these tensors."""
    if torch.compiler.is_compiling() or torch_ops.is_watched() or forward_ad._current_level >= 0:
        return False
    return all(torch_ops.is_plain(tensor) and tensor.dtype is torch.float32 for tensor in tensors)


def applied(stack: Stack, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """The result of a stack for tensors that it `takes`, of its shapes, in whatever order in memory."""
    if torch_ops.needs_derivative(x, *weights):
        # The derivative computes the stages again. PyTorch's does not look at a bias, so that it may be written into.
        own = [one.clone() if one.dim() == 1 else one for one in weights]
        made: Tensor = _Applied.apply(stack, x, *own)  # type: ignore[no-untyped-call]
        return made
    return _forward(stack, x, weights, None)


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


def _forward(stack: Stack, x: Tensor, weights: Sequence[Tensor], saved: Tensor | None) -> Tensor:
    y = torch.empty(stack.output_shape(x.shape[0]), dtype=torch.float32, device="cpu")
    if x.shape[0]:
        kept = None if saved is None else saved.numpy()
        _native.stack_forward(stack.code, _memory(x), [_memory(one) for one in weights], y.numpy(), kept)
    return y


def _memory(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()


class _Applied(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, stack: Stack, x: Tensor, *weights: Tensor) -> Tensor:
        batch = x.shape[0]
        context.stack = stack
        saved = torch.empty(stack.saved(batch), dtype=torch.float32, device="cpu") if keeps(batch) else None
        context.save_for_backward(saved, x, *weights)
        return _forward(stack, x, weights, saved)

    @staticmethod
    def backward(context: Any, slope: Tensor) -> tuple[Any, ...]:
        saved, x, *weights = context.saved_tensors
        needed = context.needs_input_grad[1:]
        if not takes(slope, x, *weights) or torch.is_grad_enabled():
            return None, *_differentiable(context.stack, slope, x, weights, needed)
        batch = x.shape[0]
        gx = torch.empty_like(x, memory_format=torch.contiguous_format) if needed[0] else None
        gradients = [torch.zeros(shape, dtype=torch.float32, device="cpu") for shape in context.stack.weight_shapes]
        if batch:
            _native.stack_backward(
                context.stack.code,
                _memory(x),
                [_memory(one) for one in weights],
                _memory(slope),
                None if saved is None else saved.numpy(),
                None if gx is None else gx.numpy(),
                [gradient.numpy() for gradient in gradients],
            )
        return None, gx, *(one if need else None for one, need in zip(gradients, needed[1:], strict=True))


def _differentiable(
    stack: Stack, slope: Tensor, x: Tensor, weights: Sequence[Tensor], needed: Sequence[bool]
) -> list[Tensor | None]:
    """The derivatives as results of PyTorch's own, of which there are derivatives again."""
    operands, again = (x, *weights), torch.is_grad_enabled()
    with torch.enable_grad():
        # Views of their own: only what leads from them to the result is walked through.
        inner = [one.view_as(one) if need else one for one, need in zip(operands, needed, strict=True)]
        y = one_by_one(stack, inner[0], inner[1:])
        wanted = [one for one, need in zip(inner, needed, strict=True) if need]
        found = iter(torch.autograd.grad(y, wanted, slope, create_graph=again))
    return [next(found) if need else None for need in needed]
