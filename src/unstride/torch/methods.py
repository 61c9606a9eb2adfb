"""The methods that `accelerate` attaches to PyTorch's convolutions. They compute the same by the native kernels.

Like PyTorch's methods, they read the module's fields at each call: a field may be one number for all axes, and users
may set it at any time. They call the class's method in every other case, so errors are PyTorch's. They also call it
while PyTorch's method or function is patched, and under modes, which must see PyTorch's own operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import nn
from torch.nn.modules import conv as modules_of_torch

from ..backends.torch import dispatch as backend
from ..backends.torch import operators
from ..geometry import split
from . import layers
from .attached import Attached

Tensor = torch.Tensor
Numbers = tuple[int, ...]

CONVOLUTIONS: dict[type, int] = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
TRANSPOSED: dict[type, int] = {nn.ConvTranspose1d: 1, nn.ConvTranspose2d: 2, nn.ConvTranspose3d: 3}
_FILE = modules_of_torch._ConvNd.__init__.__code__.co_filename


def _pytorchs(kind: type, name: str) -> Any:
    """A class's method if it is PyTorch's own; None if it was patched before this import."""
    method = getattr(kind, name)
    code = getattr(method, "__code__", None)
    return method if code is not None and code.co_filename == _FILE else None


_CONV_FORWARD = {rank: _pytorchs(kind, "_conv_forward") for kind, rank in CONVOLUTIONS.items()}
_TRANSPOSED_FORWARD = {rank: _pytorchs(kind, "forward") for kind, rank in TRANSPOSED.items()}
_FUNCTIONS: dict[str, Any] = {
    name: getattr(torch, name) for name in ("conv1d", "conv2d", "conv3d", *(f"conv_transpose{n}d" for n in (1, 2, 3)))
}


def _is_observed() -> bool:
    """Whether a mode observes each operation. Compilers trace in another way, and do not count."""
    if torch.compiler.is_compiling():
        return False
    if torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack():
        return True
    return operators.is_functionalized()


def is_patched() -> bool:
    """Whether one of PyTorch's convolution functions has been replaced."""
    return any(getattr(F, name) is not function for name, function in _FUNCTIONS.items())


def numbers(value: Any, rank: int, least: int) -> Numbers | None:
    """One number per axis, read as PyTorch's functions do; None for values that only these functions should handle."""
    if type(value) is int:
        return (value,) * rank if value >= least else None
    if type(value) is not tuple and type(value) is not list:
        return None
    for one in value:
        if type(one) is not int or one < least:
            return None
    if len(value) == rank:
        return tuple(value)
    return tuple(value) * rank if len(value) == 1 else None


def read_convolution(module: Any, rank: int) -> tuple[Numbers, Numbers | str, Numbers, int] | None:
    """Stride, padding, dilation and groups of a convolution; None if PyTorch's method should read them."""
    fields = module.__dict__
    stride, dilation = numbers(fields.get("stride"), rank, 1), numbers(fields.get("dilation"), rank, 1)
    padding, groups = fields.get("padding"), fields.get("groups")
    if stride is None or dilation is None or type(groups) is not int or groups < 1:
        return None
    if type(padding) is str:
        if padding != "valid" and (padding != "same" or max(stride) != 1):
            return None
        return stride, padding, dilation, groups
    margins = numbers(padding, rank, 0)
    return None if margins is None else (stride, margins, dilation, groups)


def read_transposed(module: Any, rank: int) -> tuple[Numbers, Numbers, Numbers, Numbers, int] | None:
    """Stride, padding, output padding, dilation and groups of a transposed convolution; None as for a convolution."""
    fields = module.__dict__
    if type(fields.get("padding")) is not tuple or fields.get("padding_mode") != "zeros":
        return None
    stride, dilation = numbers(fields.get("stride"), rank, 1), numbers(fields.get("dilation"), rank, 1)
    padding, extra, groups = numbers(fields.get("padding"), rank, 0), fields.get("output_padding"), fields.get("groups")
    more = numbers(extra, rank, 0)
    if stride is None or dilation is None or padding is None or more is None:
        return None
    if type(groups) is not int or groups < 1:
        return None
    if not all(op < max(s, d) for op, s, d in zip(more, stride, dilation, strict=True)):
        return None
    return stride, padding, more, dilation, groups


class Method(Attached):
    rank: int
    function: str  # the function of torch.nn.functional that PyTorch's method calls
    # The immutable objects that were the fields in the last call, and the result of reading them.
    _seen: tuple[Any, ...] = (None,) * 7

    def _is_looked_at(self) -> bool:
        return getattr(F, self.function) is not _FUNCTIONS[self.function] or _is_observed()


class ConvForward(Method):
    """Replaces `_conv_forward`, which gets the weights from `forward`."""

    name = "_conv_forward"

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        module: Any = self.module
        of_class = type(module)._conv_forward
        y: Tensor | None = None
        if of_class is _CONV_FORWARD[self.rank] and len(args) == 3 and not kwargs and not self._is_looked_at():
            y = self._computed(module, *args)
        if y is None:
            y = of_class(module, *args, **kwargs)
        return y

    def _computed(self, module: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
        if not isinstance(x, Tensor) or not layers._goes_native(x, weight, bias, self.rank):
            return None
        read = self._read(module)
        if read is None or layers.torch_wins(weight, read[3]):
            return None
        return _convolved(module, x, weight, bias, self.rank, *read)

    def _read(self, module: Any) -> Any:
        if torch.compiler.is_compiling():
            return read_convolution(module, self.rank)
        fields = module.__dict__
        stride, padding, dilation, groups = (
            fields.get("stride"),
            fields.get("padding"),
            fields.get("dilation"),
            fields.get("groups"),
        )
        seen = self._seen
        if stride is seen[0] and padding is seen[1] and dilation is seen[2] and groups is seen[3]:
            return seen[4]
        read = read_convolution(module, self.rank)
        if list not in (type(stride), type(padding), type(dilation)):
            self._seen = (stride, padding, dilation, groups, read)
        return read


def _convolved(
    module: Any,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    rank: int,
    stride: Numbers,
    padding: Numbers | str,
    dilation: Numbers,
    groups: int,
) -> Tensor | None:
    if module.padding_mode != "zeros":
        x = F.pad(x, module._reversed_padding_repeated_twice, mode=module.padding_mode)
        padding = (0,) * rank
    size: list[int] = []
    begins: list[int] = []
    for axis in range(rank):
        span = (weight.shape[2 + axis] - 1) * dilation[axis]
        if padding == "same":
            begin, both = split(span)[0], span
        else:
            begin = 0 if isinstance(padding, str) else padding[axis]
            both = 2 * begin
        size.append((x.shape[2 + axis] + both - span - 1) // stride[axis] + 1)
        begins.append(begin)
    if (
        min(size) <= 0
        or x.shape[1] != weight.shape[1] * groups
        or weight.shape[0] % groups != 0
        or (bias is not None and bias.shape != weight.shape[:1])
    ):
        return None
    fields = (stride, "same" if padding == "same" else tuple(begins), dilation, False, (0,) * rank, groups)
    last = backend.has_channels_last_result(x, weight, fields)
    return operators.conv(x, weight, bias, size, stride, dilation, begins, groups, last)


class TransposedForward(Method):
    """Replaces `forward`."""

    name = "forward"

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        module: Any = self.module
        of_class = type(module).forward
        y: Tensor | None = None
        if of_class is _TRANSPOSED_FORWARD[self.rank] and not self._is_looked_at():
            if not kwargs and 0 < len(args) < 3:
                y = self._computed(module, *args)
            elif len(args) == 1 and tuple(kwargs) == ("output_size",):
                y = self._computed(module, args[0], kwargs["output_size"])
        if y is None:
            y = of_class(module, *args, **kwargs)
        return y

    def _computed(self, module: Any, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor | None:
        read = self._read(module) if isinstance(x, Tensor) else None
        if read is None:
            return None
        weight, bias = module.weight, module.bias
        if not layers._goes_native(x, weight, bias, self.rank):
            return self._pytorchs(module, x, weight, bias, output_size)
        stride, padding, extra, dilation, groups = read
        if output_size is not None:
            extra = module._output_padding(
                x, output_size, module.stride, module.padding, module.kernel_size, self.rank, module.dilation
            )
        y = _transposed(x, weight, bias, self.rank, stride, padding, extra, dilation, groups)
        return self._pytorchs(module, x, weight, bias, output_size) if y is None else y

    def _pytorchs(
        self, module: Any, x: Tensor, weight: Tensor, bias: Tensor | None, output_size: Sequence[int] | None
    ) -> Tensor:
        """The result of PyTorch's `forward` for these weights. Calling it would compute a parametrized weight again,
        and spectral norm's would then be another one."""
        extra = module._output_padding(
            x, output_size, module.stride, module.padding, module.kernel_size, self.rank, module.dilation
        )
        function = _FUNCTIONS[self.function]
        y: Tensor = function(x, weight, bias, module.stride, module.padding, extra, module.groups, module.dilation)
        return y

    def _read(self, module: Any) -> Any:
        if torch.compiler.is_compiling():
            return read_transposed(module, self.rank)
        fields = module.__dict__
        now = (
            fields.get("stride"),
            fields.get("padding"),
            fields.get("output_padding"),
            fields.get("dilation"),
            fields.get("groups"),
            fields.get("padding_mode"),
        )
        seen = self._seen
        if (
            now[0] is seen[0]
            and now[1] is seen[1]
            and now[2] is seen[2]
            and now[3] is seen[3]
            and now[4] is seen[4]
            and now[5] is seen[5]
        ):
            return seen[6]
        read = read_transposed(module, self.rank)
        if not any(type(field) is list for field in now):
            self._seen = (*now, read)
        return read


def _transposed(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    rank: int,
    stride: Numbers,
    padding: Numbers,
    extra: Sequence[int],
    dilation: Numbers,
    groups: int,
) -> Tensor | None:
    size = []
    for axis in range(rank):
        span = (weight.shape[2 + axis] - 1) * dilation[axis]
        size.append((x.shape[2 + axis] - 1) * stride[axis] + span + 1 - 2 * padding[axis] + extra[axis])
    if (
        min(size) <= 0
        or min(x.shape[2:]) <= 0
        or x.shape[1] != weight.shape[0]
        or weight.shape[0] % groups != 0
        or (bias is not None and (bias.dim() != 1 or bias.shape[0] != weight.shape[1] * groups))
    ):
        return None
    last = backend.has_channels_last_result(x, weight, (stride, padding, dilation, True, tuple(extra), groups))
    return operators.conv_transpose(x, weight, bias, size, stride, dilation, padding, groups, last)


def _methods(kind: type[Method], modules: dict[type, int], function: str) -> dict[type, type[Method]]:
    return {
        module: type(
            f"{module.__name__}{kind.__name__}",
            (kind,),
            {"rank": rank, "function": f"{function}{rank}d", "__module__": __name__, "__doc__": kind.__doc__},
        )
        for module, rank in modules.items()
    }


METHODS = _methods(ConvForward, CONVOLUTIONS, "conv") | _methods(TransposedForward, TRANSPOSED, "conv_transpose")
# pickle looks for the classes here when a new process is started
globals().update({method.__name__: method for method in METHODS.values()})
