"""The three maps as PyTorch operators on the CPU, ``torch.ops.unstride.*``. PyTorch can differentiate, compile,
transform and trace them.

The arguments are tensors, in the layouts of `layout`, and then the same fields for all three: the spatial size of the
result, stride, dilation, the crops' begins, groups, and the layout of the result in memory. The derivatives of each map
are the other two, so the maps are differentiable to any order, backwards and forwards.

`conv_transpose`, `conv` and `kernel_gradient` call the native core directly if only the numbers are needed, and the
operators if something observes them (see `is_watched`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch._C._functorch import TransformType, get_interpreter_stack
from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter
from torch.autograd import forward_ad
from torch.utils.flop_counter import register_flop_formula

from . import layout, native
from .vmap import batched_gradient, batched_map

Tensor = torch.Tensor

_FIELDS = "SymInt[] size, int[] stride, int[] dilation, SymInt[] begin, SymInt groups, bool last"
_SCHEMAS = {
    "conv_transpose": f"(Tensor x, Tensor kernel, Tensor? bias, {_FIELDS}) -> Tensor",
    "conv": f"(Tensor x, Tensor kernel, Tensor? bias, {_FIELDS}) -> Tensor",
    "kernel_gradient": f"(Tensor big, Tensor small, {_FIELDS}, int kernel_layout) -> Tensor",
}
# A compiled graph must pass the strides that it was traced with, because `last` was chosen by them.
_TAGS = (getattr(torch.Tag, "needs_exact_strides", torch.Tag.needs_fixed_stride_order), torch.Tag.pt2_compliant_tag)

with torch.inference_mode():
    _INFERENCE = torch.empty(0, device="cpu")
_IN_MEMORY = tuple(torch._C._dispatch_keys(tensor) for tensor in (torch.empty(0, device="cpu"), _INFERENCE))


def is_plain(tensor: Any) -> bool:
    """Whether it is a dense CPU tensor with data in memory: no subclass, and no wrapper of a transform."""
    kind = type(tensor)
    if kind is not Tensor and kind is not torch.nn.Parameter:
        return False
    keys = torch._C._dispatch_keys(tensor)
    return keys in _IN_MEMORY


def is_watched() -> bool:
    """Whether something observes each operator: a mode, a transform, a tracer, a profiler or autocast."""
    return bool(
        torch._C._len_torch_dispatch_stack()
        or torch._C._len_torch_function_stack()
        or torch._C._are_functorch_transforms_active()
        or torch._C._is_tracing()
        or torch.is_autocast_enabled("cpu")
        or torch._C._autograd._profiler_enabled()
    )


def is_functionalized() -> bool:
    """Whether torch.func.functionalize is among the active transforms."""
    if torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active():
        return False
    stack = get_interpreter_stack()
    return any(interpreter.key() == TransformType.Functionalize for interpreter in stack or ())


def needs_derivative(*tensors: Tensor | None) -> bool:
    if not torch.compiler.is_compiling() and forward_ad._current_level >= 0:
        return True
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def conv_transpose(x: Tensor, kernel: Tensor, bias: Tensor | None, *fields: Any) -> Tensor:
    """The map from the small grid to the big one. `fields`: size, stride, dilation, begin, groups, last."""
    if at_once(x, kernel, bias):
        if needs_derivative(x, kernel, bias):
            return _apply(_ConvTransposeAtOnce, x, kernel, bias, *fields)
        return native.forward(True, x, kernel, bias, *fields)
    return _tensor(torch.ops.unstride.conv_transpose.default(x, kernel, bias, *fields))


def conv(x: Tensor, kernel: Tensor, bias: Tensor | None, *fields: Any) -> Tensor:
    """The map from the big grid to the small one. `fields`: size, stride, dilation, begin, groups, last."""
    if at_once(x, kernel, bias):
        if needs_derivative(x, kernel, bias):
            return _apply(_ConvAtOnce, x, kernel, bias, *fields)
        return native.forward(False, x, kernel, bias, *fields)
    return _tensor(torch.ops.unstride.conv.default(x, kernel, bias, *fields))


def kernel_gradient(big: Tensor, small: Tensor, *fields: Any) -> Tensor:
    """The map from both grids to the kernel. `fields`: size, stride, dilation, begin, groups, last, kernel_layout."""
    if at_once(big, small, None):
        if needs_derivative(big, small):
            return _apply(_KernelGradientAtOnce, big, small, *fields)
        return native.gradient(big, small, *fields)
    return _tensor(torch.ops.unstride.kernel_gradient.default(big, small, *fields))


def at_once(x: Tensor, kernel: Tensor, bias: Tensor | None) -> bool:
    """Whether the native core may be called directly, because nothing observes the operators."""
    if torch.compiler.is_compiling() or is_watched():
        return False
    return is_plain(x) and is_plain(kernel) and (bias is None or is_plain(bias))


def _numbers_alone(*tensors: Tensor) -> bool:
    """Whether only the numbers are needed: no derivative, and nothing observes the operators."""
    watched = torch.compiler.is_compiling() or is_watched() or needs_derivative(*tensors)
    return not watched and all(is_plain(tensor) for tensor in tensors)


def _apply(function: Any, *arguments: Any) -> Tensor:
    return _tensor(function.apply(*arguments))


def _tensor(result: Any) -> Tensor:
    tensor: Tensor = result
    return tensor


# Derivatives. `context.saved_tensors` are the arguments that a derivative needs.


def _save(context: Any, first: Tensor, second: Tensor, fields: tuple[Any, ...]) -> None:
    needs = context.needs_input_grad
    context.save_for_backward(first if needs[1] else None, second if needs[0] else None)
    context.save_for_forward(first, second)
    context.sizes = first.shape[2:], second.shape[2:]
    context.fields = fields


def _save_map(context: Any, arguments: tuple[Any, ...], output: Any = None) -> None:  # noqa: ARG001 - PyTorch's signature
    x, kernel, _, *fields = arguments
    _save(context, x, kernel, tuple(fields))
    context.kernel_layout = layout.gradient_layout(kernel, fields[-1])


def _save_gradient(context: Any, arguments: tuple[Any, ...], output: Any = None) -> None:  # noqa: ARG001 - as above
    big, small, *fields = arguments
    _save(context, big, small, tuple(fields))


def _map_backward(transposed: bool, context: Any, grad_output: Tensor) -> tuple[Any, ...]:
    x, kernel = context.saved_tensors
    size, taps = context.sizes
    _, *fields = context.fields
    gx = gk = gb = None
    if all(context.needs_input_grad[:2]) and _numbers_alone(x, kernel, grad_output):
        both = native.gradients(transposed, x, kernel, grad_output, *fields)
        if both is not None:
            gx, gk = both[0], layout.laid_out(both[1], context.kernel_layout)
    if context.needs_input_grad[0] and gx is None:
        gx = (conv if transposed else conv_transpose)(grad_output, kernel, None, size, *fields)
    if context.needs_input_grad[1] and gk is None:
        big, small = (grad_output, x) if transposed else (x, grad_output)
        gk = kernel_gradient(big, small, taps, *fields, context.kernel_layout)
    if context.needs_input_grad[2]:
        gb = grad_output.sum((0, *range(2, grad_output.dim())))
    return gx, gk, gb, *(None,) * len(context.fields)


def _map_jvp(transposed: bool, context: Any, tx: Tensor | None, tk: Tensor | None, tb: Tensor | None, *_: Any) -> Any:
    x, kernel = context.saved_tensors
    rule = conv_transpose if transposed else conv
    total = None if tx is None else rule(tx, kernel, tb, *context.fields)
    if tk is not None:
        by_kernel = rule(x, tk, tb if tx is None else None, *context.fields)
        total = by_kernel if total is None else total + by_kernel
    if total is None and tb is not None:  # the same in every cell
        cells = (x.shape[0], -1, *context.fields[0])
        total = tb.reshape(-1, *(1,) * (x.dim() - 2)).expand(cells).contiguous()
    return total


def _gradient_backward(context: Any, grad_output: Tensor) -> tuple[Any, ...]:
    big, small = context.saved_tensors
    bigs, smalls = context.sizes
    _, *fields, _ = context.fields
    gb = conv_transpose(small, grad_output, None, bigs, *fields) if context.needs_input_grad[0] else None
    gs = conv(big, grad_output, None, smalls, *fields) if context.needs_input_grad[1] else None
    return gb, gs, *(None,) * len(context.fields)


def _gradient_jvp(context: Any, tb: Tensor | None, ts: Tensor | None, *_: Any) -> Any:
    big, small = context.saved_tensors
    total = None if tb is None else kernel_gradient(tb, small, *context.fields)
    if ts is not None:
        by_small = kernel_gradient(big, ts, *context.fields)
        total = by_small if total is None else total + by_small
    return total


def _function(name: str, compute: Callable[..., Tensor], save: Any, backward: Any, jvp: Any) -> Any:
    """PyTorch's faster kind of differentiable function, which torch.func does not support."""

    def forward(context: Any, *arguments: Any) -> Tensor:
        save(context, arguments)
        return compute(*arguments)

    rules = {"forward": forward, "backward": backward, "jvp": jvp}
    return type(name, (torch.autograd.Function,), {key: staticmethod(rule) for key, rule in rules.items()})


def _transformable(name: str, compute: Callable[..., Tensor], save: Any, backward: Any, jvp: Any, vmap: Any) -> Any:
    """The kind of differentiable function for torch.func: the same rules, and one for vmap."""
    rules = {"forward": compute, "setup_context": save, "backward": backward, "jvp": jvp, "vmap": vmap}
    return type(name, (torch.autograd.Function,), {key: staticmethod(rule) for key, rule in rules.items()})


_library: Any = torch.library.Library("unstride", "DEF")  # type: ignore[no-untyped-call]


def _register(
    name: str, compute: Callable[..., Tensor], meta: Any, save: Any, backward: Any, jvp: Any, vmap: Any
) -> Any:
    """Register the operator of one map; return the function that calls the native core directly, with derivatives."""
    _library.define(name + _SCHEMAS[name], tags=_TAGS)
    operator = getattr(torch.ops.unstride, name).default

    def below(*arguments: Any) -> Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            return _tensor(operator(*arguments))

    tracked = _function(f"{name}_tracked", below, save, backward, jvp)
    transformed = _transformable(f"{name}_transformed", below, save, backward, jvp, vmap)

    def autograd(*arguments: Any) -> Tensor:
        if needs_derivative(*(a for a in arguments if isinstance(a, Tensor))):
            return _apply(tracked, *arguments)
        return below(*arguments)

    def transforms(*arguments: Any) -> Tensor:
        # This runs before any transform sees the operator. PyTorch's handling of such functions covers all levels of
        # transforms except functionalization, where an operator that changes nothing in place needs no rule.
        current = retrieve_current_functorch_interpreter()
        if current.key() == TransformType.Functionalize:
            return _functionalized(operator, current, arguments)
        if torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return _apply(transformed, *_autocast(arguments))
        return _apply(transformed, *arguments)

    def autocast(*arguments: Any) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return _tensor(operator(*_autocast(arguments)))

    _library.impl(name, compute, "CPU")
    torch.library.register_fake(f"unstride::{name}", meta, lib=_library)
    _library.impl(name, autograd, "Autograd")
    _library.impl(name, transforms, "FuncTorchDynamicLayerFrontMode")
    _library.impl(name, autocast, "AutocastCPU")
    return _function(f"{name}_at_once", compute, save, backward, jvp)


def _functionalized(operator: Any, interpreter: Any, arguments: Sequence[Any]) -> Tensor:
    level = interpreter.level()

    def is_wrapped(value: Any) -> bool:
        return isinstance(value, Tensor) and bool(torch._C._functorch.is_functionaltensor(value))

    given = [torch._C._functorch._unwrap_functional_tensor(a, False) if is_wrapped(a) else a for a in arguments]
    with interpreter.lower():
        result = _tensor(operator(*given))
    return _tensor(torch._C._functorch._wrap_functional_tensor(result, level))


def _autocast(arguments: Sequence[Any]) -> list[Any]:
    """The tensors in autocast's type, except float64, as in PyTorch's convolutions."""
    dtype = torch.get_autocast_dtype("cpu")
    return [
        a.to(dtype) if isinstance(a, Tensor) and a.is_floating_point() and a.dtype is not torch.float64 else a
        for a in arguments
    ]


def _register_map(name: str, transposed: bool) -> Any:
    rule = conv_transpose if transposed else conv
    return _register(
        name,
        partial(native.forward, transposed),
        partial(native.forward_meta, transposed),
        _save_map,
        partial(_map_backward, transposed),
        partial(_map_jvp, transposed),
        partial(batched_map, rule, transposed),
    )


_ConvTransposeAtOnce = _register_map("conv_transpose", True)
_ConvAtOnce = _register_map("conv", False)
_KernelGradientAtOnce = _register(
    "kernel_gradient",
    native.gradient,
    native.gradient_meta,
    _save_gradient,
    _gradient_backward,
    _gradient_jvp,
    partial(batched_gradient, kernel_gradient),
)


# The rules for torch.utils.flop_counter: a product and a sum for each cell of the small grid, weight and image.


def _flops_of_map(small: Sequence[int], kernel: Sequence[int]) -> int:
    return 2 * math.prod(kernel) * math.prod((small[0], *small[2:]))


def _count_flops() -> None:
    namespace: Any = torch.ops.unstride
    rules = {
        namespace.conv_transpose: lambda x, kernel, *_, **__: _flops_of_map(x, kernel),
        namespace.conv: lambda _x, kernel, *_, out_shape, **__: _flops_of_map(out_shape, kernel),
        namespace.kernel_gradient: lambda _big, small, *_, out_shape, **__: _flops_of_map(small, out_shape),
    }
    for operator, rule in rules.items():
        register: Any = register_flop_formula(operator)  # type: ignore[no-untyped-call]
        register(rule)


_count_flops()
