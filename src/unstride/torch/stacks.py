"""Runs of convolutions in ``torch.nn.Sequential`` modules, each executed as one stack.

A Sequential gets a `forward` (see `attached`) that looks for runs at each call, as its modules may change at any time.
Modules with hooks, another type, another device, or another forward are no part of a run, and are called as usual.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as modules_of_torch

from .._stacks import torch as torch_stack
from .._stacks.choice import FEWEST_IMAGES, MOST_CHANNELS, worthwhile
from ..backends.torch.dispatch import has_channels_last_strides
from ..geometry import Geometry, GeometryError, convolution
from ..stack import Stack, Stage, has_inverse
from . import layers, methods
from .attached import Attached

Module = torch.nn.Module
Tensor = torch.Tensor

_TRANSPOSED: tuple[type, ...] = (
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(layers.ConvTranspose1d, layers.ConvTranspose2d, layers.ConvTranspose3d),
)
_CONVOLUTIONS: frozenset[type] = frozenset(
    (nn.Conv1d, nn.Conv2d, nn.Conv3d, layers.Conv1d, layers.Conv2d, layers.Conv3d, *_TRANSPOSED)
)
_ACTIVATIONS: frozenset[type] = frozenset((nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Tanh, nn.Sigmoid))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_any_global_hook: Any = modules_of_torch._has_any_global_hook

Described = tuple[Any, ...]


# The forwards of the classes as PyTorch or our layers define them. Modules of a patched class are no part of a run.
_FORWARD = nn.Sequential.forward
_FORWARDS: dict[Any, tuple[Any, Any]] = {
    kind: (getattr(kind, "forward"), getattr(kind, "_conv_forward", None))  # noqa: B009 - `type` has no forward
    for kind in (*_CONVOLUTIONS, *_ACTIVATIONS)
}


class SequentialForward(Attached):
    """Replaces `torch.nn.Sequential.forward`: executes runs of convolutions as stacks if that is predicted to be
    faster."""

    name = "forward"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module: Any = self.module
        forward: Any = type(module).forward
        if forward is not _FORWARD or kwargs or len(args) != 1 or not _is_stackable(args[0]):
            return forward(module, *args, **kwargs)
        modules, input = list(module), args[0]
        if input.dim() == 0 or input.shape[0] < FEWEST_IMAGES:
            return _one_by_one(modules, input)
        index = 0
        while index < len(modules):
            end = run_at(modules, index) if _is_stackable(input) else index
            result = executed(modules[index:end], input) if end > index else None
            if result is None:
                end = max(end, index + 1)
                result = _one_by_one(modules[index:end], input)
            input, index = result, end
        return input


class Sequential(nn.Sequential):
    """The class that earlier versions gave a Sequential. Files of whole models name it, and open as plain ones."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.__class__ = nn.Sequential  # type: ignore[assignment]


def _one_by_one(modules: Sequence[Module], x: Any) -> Any:
    """The result of the modules one by one. A ReLU after a convolution overwrites the convolution's result.

    Nothing else uses that result, and no gradient of the convolution needs it. New memory would cost more than the ReLU
    itself. If an axis has one cell, ReLU may give its result other strides.
    """
    fresh = False
    for module in modules:
        plain = _is_plain(module)
        x = torch.relu_(x) if fresh and plain and type(module) is nn.ReLU and _has_own_strides(x) else module(x)
        fresh = plain and type(module) in _CONVOLUTIONS
    return x


def _has_own_strides(x: Any) -> bool:
    return _is_stackable(x) and (min(x.shape) > 1 or not has_channels_last_strides(x.shape, x.stride()))


def _is_stackable(x: Any) -> bool:
    return isinstance(x, Tensor) and torch_stack.takes(x) and not _any_global_hook()


def run_at(modules: Sequence[Module], begin: int) -> int:
    """The end of the longest run of at least two convolutions that begins here; `begin` if none does."""
    end, waits_for_activation, rank, convolutions = begin, False, None, 0
    for module in modules[begin:]:
        kind: type = type(module)
        if not _is_plain(module):
            break
        if kind in _CONVOLUTIONS:
            weight: Any = module.weight
            axes = weight.dim() - 2
            if rank not in (None, axes):
                break
            rank, waits_for_activation = axes, True
            convolutions += 1
        elif kind in _ACTIVATIONS and waits_for_activation and has_inverse(*_activation(module)):
            waits_for_activation = False
        else:
            break
        end += 1
    return end if convolutions >= 2 else begin


def _is_plain(module: Module) -> bool:
    """Whether calling the module only computes the function that its fields describe."""
    fields, kind = module.__dict__, type(module)
    forwards = _FORWARDS.get(kind)
    if forwards is None or forwards != (kind.forward, getattr(kind, "_conv_forward", None)):
        return False
    if not all(isinstance(fields.get(name), _ATTACHED) for name in ("forward", "_conv_forward")):
        return False
    if any(fields.get(name) for name in _HOOKS) or (kind in _CONVOLUTIONS and methods.is_patched()):
        return False
    return bool(fields.get("padding_mode", "zeros") == "zeros")


_ATTACHED = (methods.Method, type(None))  # the types that `forward` may have on an instance: ours, or none


def _activation(module: Any) -> tuple[str, float]:
    kind = type(module)
    if kind is nn.LeakyReLU:
        return "leaky_relu", float(module.negative_slope)
    if kind is nn.ELU:
        return "elu", float(module.alpha)
    return kind.__name__.lower(), 0.0


def _fields(module: Any) -> Described | None:
    """All properties of a convolution except its weights; None if only its own forward can read its fields."""
    kind, extra = type(module), None
    if kind in methods.CONVOLUTIONS:
        read = methods.read_convolution(module, methods.CONVOLUTIONS[kind])
        if read is None:
            return None
        stride, padding, dilation, groups = read
    elif kind in methods.TRANSPOSED:
        of_transposed = methods.read_transposed(module, methods.TRANSPOSED[kind])
        if of_transposed is None:
            return None
        stride, padding, extra, dilation, groups = of_transposed
    else:  # our layers have normalised fields
        stride, padding, dilation, groups = module.stride, module.padding, module.dilation, module.groups
        extra = module.output_padding if kind in _TRANSPOSED else None
    return (
        tuple(module.weight.shape[2:]),
        stride,
        padding,
        extra,
        dilation,
        groups,
        module.in_channels,
        module.out_channels,
        module.bias is not None,
        kind in _TRANSPOSED,
    )


@functools.lru_cache(maxsize=1024)
def _stack(shape: tuple[int, ...], described: tuple[Described, ...]) -> Stack | None:
    """The stack of these modules for inputs of this shape, without the batch; None if they do not fit it."""
    channels, *size = shape
    stages: list[Stage] = []
    taken = channels
    for one in described:
        if len(one) == 2:
            before, (name, slope) = stages.pop(), one
            slope = slope if name in ("leaky_relu", "elu") else None
            stages.append(Stage(before.transposed, before.channels, before.geometry, before.bias, name, slope))
            continue
        taps, stride, padding, extra, dilation, groups, c_in, c_out, bias, transposed = one
        if c_in != taken:
            return None
        try:
            if transposed:
                geometry = Geometry(taps, stride, padding, extra, dilation, groups)
                size = list(geometry.output_size(size))
            else:
                geometry = convolution(size, taps, stride, padding, dilation, groups)
                size = list(geometry.conv_size(size))
            stages.append(Stage(transposed, c_out, geometry, bias))
        except GeometryError:
            return None  # the layers raise the error, or can compute it
        taken = c_out
    try:
        return Stack(shape[1:], channels, stages, "first")
    except GeometryError:
        return None


def executed(modules: Sequence[Module], x: Tensor) -> Tensor | None:
    """The result of a run, or None if its modules are better computed one by one."""
    weights: list[Tensor] = []
    described: list[Described] = []
    for module in modules:
        if type(module) in _ACTIVATIONS:
            described.append(_activation(module))
            continue
        fields = _fields(module)
        if fields is None:
            return None
        described.append(fields)
        layer: Any = module
        weights += [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
    if x.dim() != len(described[0][0]) + 2:
        return None
    stack = _stack(tuple(x.shape[1:]), tuple(described))
    if stack is None or not worthwhile(stack, x.shape[0]) or not torch_stack.takes(*weights):
        return None
    if tuple(tuple(weight.shape) for weight in weights) != stack.weight_shapes:
        return None
    return torch_stack.applied(stack, x, weights)


# For `accelerate`.


def find(module: Module) -> tuple[list[Module], list[tuple[str, ...]]]:
    """The Sequentials of a model that can get our forward, and the names of the modules in each run.

    The runs are those that may be executed as stacks, as far as is known without the input's size. Sequentials that
    have our forward already are left out.
    """
    sequentials: list[Module] = []
    names_of_runs: list[tuple[str, ...]] = []
    for prefix, part in module.named_modules():
        if type(part) is not nn.Sequential or not isinstance(part.__dict__.get("forward"), _MAY_BE):
            continue
        runs = list(_runs(part))
        if not runs:
            continue
        if "forward" not in part.__dict__:
            sequentials.append(part)
        names = [f"{prefix}.{name}" if prefix else name for name, _ in part._modules.items()]
        names_of_runs += [tuple(names[begin:end]) for begin, end in runs]
    return sequentials, names_of_runs


_MAY_BE = (SequentialForward, type(None))


def _runs(sequential: Module) -> Iterator[tuple[int, int]]:
    modules: list[Any] = list(sequential._modules.values())
    begin = 0
    while begin < len(modules):
        end = run_at(modules, begin)
        if end > begin and all(_is_narrow(module) for module in modules[begin:end]):
            yield begin, end
        begin = max(end, begin + 1)


def _is_narrow(module: Any) -> bool:
    if type(module) in _ACTIVATIONS:
        return True
    cpu = module.weight.device.type == "cpu" and module.weight.dtype is torch.float32
    return bool(cpu and max(module.in_channels, module.out_channels) <= MOST_CHANNELS)
