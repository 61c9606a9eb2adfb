"""PyTorch's convolution layers, forwards and transposed, computed by the native kernels.

Each layer is a subclass of the layer of the same name in `torch.nn`, with its whole signature, weights and state_dict.
Beyond PyTorch's layers they take

* ``padding`` as one signed ``(begin, end)`` pair per axis: a negative number crops in a convolution, and extends in a
  transposed one;
* ``padding="same"`` with any stride, and in transposed convolutions too, in Keras's meaning (also ``"valid"``);
* ``output_padding`` of any size.

PyTorch's own convolutions compute the cases that the native kernels do not (other devices, half precision, a model that
is being exported), and plain convolutions of float32 in which PyTorch is as fast (`torch_wins`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch

from ..backends.torch import dispatch as backend
from ..backends.torch import operators
from ..geometry import (
    Crop,
    Geometry,
    GeometryError,
    conv_sizes,
    full_sizes,
    is_open,
    named_crops,
    per_axis,
    same_zeros,
    span,
    split,
    transposed_sizes,
)

Tensor = torch.Tensor
Ints = int | Sequence[int]
_HAS_ONEDNN = bool(torch._C._has_mkldnn)
Padding = str | int | Sequence[int] | Sequence[Sequence[int]]


def _goes_native(x: Tensor, weight: Tensor, bias: Tensor | None, rank: int) -> bool:
    """Whether the native kernels compute the layer. If not, PyTorch's do, and raise the errors for wrong arguments.

    PyTorch computes half precision: its kernels use the processor's instructions for it.
    """
    for tensor in (x, weight) if bias is None else (x, weight, bias):
        if type(tensor) is not Tensor and type(tensor) is not torch.nn.Parameter:
            return False
        if tensor.dtype is not torch.float32 and tensor.dtype is not torch.float64:
            return False
    return x.dim() == rank + 2 == weight.dim() and backend.is_native(x, weight, bias) and not backend.autocasting()


def torch_wins(weight: Tensor, groups: int) -> bool:
    """Whether PyTorch's own plain convolution is as fast as ours, or faster.

    With oneDNN it computes float32 in one or two dimensions at the processor's peak where the output channels fill more
    than one vector register. In stacks of five such layers with 48 to 512 channels and kernels of 3 and 5 our kernels
    mostly took 0.9 to 1.25 times as long. With kernels of a single cell, for which there is little to compute between
    two changes of layout, they took up to 2.5 times as long, also in three dimensions. With 16 output channels or fewer
    they were faster in one dimension, up to 5 times. In two dimensions, single layers with 12 or 16 output channels
    took 0.6 to 1.6 times as long, but whole models with such layers ran faster: our results reuse the memory of earlier
    results, and PyTorch's take new pages.
    """
    if weight.dtype is not torch.float32 or not _HAS_ONEDNN:
        return False
    if max(weight.shape[2:]) == 1:
        return True
    return weight.dim() < 5 and (groups > 1 or weight.shape[1] == 1 or weight.shape[0] > 16)


class _Layer:
    """The common part of convolutions and transposed ones. It comes before PyTorch's class in the inheritance order."""

    rank: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Any
    output_padding: Any
    padding_mode: Any
    groups: int
    weight: Tensor
    bias: Tensor | None

    def _read_padding(self, padding: Padding) -> Any:
        """The padding in the form of the field: a name, one int per axis, or one pair per axis if the ends differ."""
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise GeometryError(
                    f"padding is {padding!r}; expected 'same', 'valid', an int, one int an axis, or one (begin, end) "
                    "pair an axis"
                )
            return padding
        crops = Geometry((1,) * self.rank, padding=padding).crops
        return tuple(b for b, _ in crops) if all(b == e for b, e in crops) and min(crops)[0] >= 0 else crops

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open a layer of an old file as PyTorch's own layer.

        Earlier versions of `accelerate` gave changed layers one of these classes, also in files of the whole model.
        """
        super().__setstate__(state)  # type: ignore[misc]
        if self.__dict__.pop("_unstride_accelerated", False):
            self.__class__ = next(kind for kind in type(self).__mro__ if kind.__module__ == "torch.nn.modules.conv")

    @abstractmethod
    def _is_torchs(self) -> bool:
        """Whether PyTorch's layer takes these fields."""

    def extra_repr(self) -> str:
        base: Any = torch.nn.modules.conv._ConvNd
        shown = SimpleNamespace(**self.__dict__, bias=self.bias)
        if shown.output_padding is None:
            shown.output_padding = (0,) * self.rank
        text: str = base.extra_repr(shown)
        return text


class _Conv(_Layer):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Padding = 0,
        dilation: Ints = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        taps, steps = per_axis("kernel_size", kernel_size, self.rank, 1), per_axis("stride", stride, self.rank, 1)
        spread, pads = per_axis("dilation", dilation, self.rank, 1), self._read_padding(padding)
        extra = not _torch_takes(pads, steps)
        super().__init__(  # type: ignore[call-arg]  # with a padding that PyTorch accepts; the real one follows
            in_channels,
            out_channels,
            taps,
            steps,
            0 if extra else pads,
            spread,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        if extra:
            self.padding = pads

    def _is_torchs(self) -> bool:
        return _torch_takes(self.padding, self.stride)

    def _crops(self, size: Sequence[int], taps: Sequence[int]) -> list[Crop]:
        padding: Any = self.padding
        if padding == "valid":
            return [(0, 0)] * self.rank
        if padding == "same":
            return [same_zeros(*axis) for axis in zip(size, taps, self.stride, self.dilation, strict=True)]
        return [(p, p) if isinstance(p, int) else (p[0], p[1]) for p in padding]

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        native = isinstance(input, Tensor) and _goes_native(input, weight, bias, self.rank)
        if not native or (torch_wins(weight, self.groups) and self._is_torchs()):
            if self._is_torchs():
                y: Tensor = super()._conv_forward(input, weight, bias)  # type: ignore[misc]
                return y
            return self._elsewhere(input, weight, bias)
        crops = self._crops(input.shape[2:], weight.shape[2:])
        if self.padding_mode != "zeros":
            input, crops = self._padded(input, crops)
        size = conv_sizes(input.shape[2:], weight.shape[2:], self.stride, self.dilation, crops)
        begins = [b for b, _ in crops]
        if not self._fits(input, weight, bias, size):
            return self._refused(input, weight, bias)
        last = backend.has_channels_last_result(input, weight)
        return operators.conv(input, weight, bias, size, self.stride, self.dilation, begins, self.groups, last)

    def _fits(self, x: Tensor, weight: Tensor, bias: Tensor | None, size: Sequence[int]) -> bool:
        return (
            min(size) > 0
            and x.shape[1] == weight.shape[1] * self.groups
            and weight.shape[0] % self.groups == 0
            and (bias is None or bias.shape == weight.shape[:1])
        )

    def _padded(self, x: Tensor, crops: list[Crop]) -> tuple[Tensor, list[Crop]]:
        """The input padded in the layer's padding mode, and the remaining crops, which are zero."""
        amounts = [amount for crop in reversed(crops) for amount in crop]
        return torch.nn.functional.pad(x, amounts, mode=self.padding_mode), [(0, 0)] * self.rank

    def _refused(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Raise the error for arguments that describe no convolution: PyTorch's, or ours if it has none."""
        if self._is_torchs():
            y: Tensor = super()._conv_forward(x, weight, bias)  # type: ignore[misc]
            return y
        return self._elsewhere(x, weight, bias)

    def _elsewhere(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute a padding that PyTorch's convolution lacks, by that convolution and a crop or by the operators."""
        if x.dim() == self.rank + 1:
            return self._conv_forward(x[None], weight, bias)[0]
        crops = self._crops(x.shape[2:], weight.shape[2:])
        if self.padding_mode != "zeros":
            x, crops = self._padded(x, crops)
        elif self.padding == "same" and backend.exporting():  # the exported size is dynamic
            x, crops = backend.padded(x, crops, "first"), [(0, 0)] * self.rank
        geometry = Geometry(tuple(weight.shape[2:]), self.stride, crops, None, self.dilation, self.groups)
        if not is_open(x.shape[2:]):
            geometry.conv_size(x.shape[2:])  # raises if the result is empty
        return backend.conv(x, weight, bias, geometry, "first")


def _torch_takes(padding: Any, stride: Sequence[int]) -> bool:
    if isinstance(padding, str):
        return padding == "valid" or max(stride) == 1
    return all(isinstance(p, int) for p in padding)


class _ConvTranspose(_Layer):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Padding = 0,
        output_padding: Ints | None = None,
        groups: int = 1,
        bias: bool = True,
        dilation: Ints = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        taps, steps = per_axis("kernel_size", kernel_size, self.rank, 1), per_axis("stride", stride, self.rank, 1)
        spread, pads = per_axis("dilation", dilation, self.rank, 1), self._read_padding(padding)
        if output_padding is None:  # 0 if the padding is numbers; Keras's None if it is a name
            more = None if isinstance(pads, str) else (0,) * self.rank
        else:
            more = per_axis("output_padding", output_padding, self.rank, 0)
        super().__init__(  # type: ignore[call-arg]  # with paddings that PyTorch accepts; the real ones follow
            in_channels, out_channels, taps, steps, 0, 0, groups, bias, spread, padding_mode, device, dtype
        )
        self.padding, self.output_padding = pads, more
        if self._is_torchs():  # as in PyTorch's constructor
            self._reversed_padding_repeated_twice = [p for p in reversed(pads) for _ in range(2)]

    def _is_torchs(self) -> bool:
        if isinstance(self.padding, str) or not all(isinstance(p, int) for p in self.padding):
            return False
        return all(op < max(s, d) for op, s, d in zip(self.output_padding, self.stride, self.dilation, strict=True))

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """The transposed convolution of ``(N, C, *space)`` or ``(C, *space)``. As in PyTorch, `output_size` chooses one
        of the sizes that are possible with the stride."""
        weight, bias = self.weight, self.bias
        if not isinstance(input, Tensor) or not _goes_native(input, weight, bias, self.rank):
            return self._elsewhere(input, output_size)
        cells, taps = input.shape[2:], weight.shape[2:]
        crops = self._crops(cells, taps, output_size)
        size = transposed_sizes(cells, taps, self.stride, self.dilation, crops)
        begins = [b for b, _ in crops]
        if not self._fits(input, weight, bias, size):
            return self._elsewhere(input, output_size)
        last = backend.has_channels_last_result(input, weight)
        return operators.conv_transpose(
            input, weight, bias, size, self.stride, self.dilation, begins, self.groups, last
        )

    def _fits(self, x: Tensor, weight: Tensor, bias: Tensor | None, size: Sequence[int]) -> bool:
        return (
            min(size) > 0
            and min(x.shape[2:]) > 0
            and x.shape[1] == weight.shape[0]
            and weight.shape[0] % self.groups == 0
            and (bias is None or (bias.dim() == 1 and bias.shape[0] == weight.shape[1] * self.groups))
        )

    def _crops(self, size: Sequence[int], taps: Sequence[int], output_size: Sequence[int] | None) -> Sequence[Crop]:
        spans = tuple(map(span, taps, self.dilation))
        padding: Any = self.padding
        if isinstance(padding, str):
            if output_size is None:
                return named_crops(padding, self.stride, spans, self.output_padding)
            crops = [split(K - 1) if padding == "same" else (0, 0) for K in spans]
        else:
            crops = [(p, p) if isinstance(p, int) else (p[0], p[1]) for p in padding]
            if output_size is None:
                return [(b, e - op) for (b, e), op in zip(crops, self.output_padding, strict=True)]
        full = full_sizes(size, self.stride, spans)
        wanted = list(output_size)[-self.rank :]
        if len(output_size) not in (self.rank, self.rank + 2):
            raise GeometryError(
                f"output_size has {len(output_size)} entries, {list(output_size)}; expected {self.rank}, one for each "
                f"axis of space, or {self.rank + 2} with batch and channels"
            )
        least = [F - b - e for F, (b, e) in zip(full, crops, strict=True)]
        if not all(low <= length < low + s for low, length, s in zip(least, wanted, self.stride, strict=True)):
            most = [low + s - 1 for low, s in zip(least, self.stride, strict=True)]
            raise GeometryError(
                f"output_size is {wanted}; with an input of {list(size)} cells it can be {least} to {most}"
            )
        if padding == "same":  # the corresponding convolution splits its zeros by the larger size
            return [split(F - length) for F, length in zip(full, wanted, strict=True)]
        return [(b, F - b - length) for (b, _), F, length in zip(crops, full, wanted, strict=True)]

    def _elsewhere(self, x: Tensor, output_size: Sequence[int] | None) -> Tensor:
        """Compute by PyTorch's layer, which also raises its errors; or by PyTorch's operators and a crop."""
        if self._is_torchs():
            y: Tensor = super().forward(x, output_size)  # type: ignore[misc]
            return y
        if x.dim() == self.rank + 1:
            return self.forward(x[None], None if output_size is None else list(output_size)[-self.rank :])[0]
        taps = tuple(self.weight.shape[2:])
        crops = self._crops(x.shape[2:], taps, output_size)
        geometry = Geometry(taps, self.stride, crops, None, self.dilation, self.groups)
        if not is_open(x.shape[2:]):
            geometry.output_size(x.shape[2:])  # raises if the crop exceeds the grid
        return backend.conv_transpose(x, self.weight, self.bias, geometry, "first")


class Conv1d(_Conv, torch.nn.Conv1d):
    """`torch.nn.Conv1d` and more (see `unstride.torch.layers`), over ``(N, C, L)`` or ``(C, L)``."""

    rank = 1


class Conv2d(_Conv, torch.nn.Conv2d):
    """`torch.nn.Conv2d` and more (see `unstride.torch.layers`), over ``(N, C, H, W)`` or ``(C, H, W)``."""

    rank = 2


class Conv3d(_Conv, torch.nn.Conv3d):
    """`torch.nn.Conv3d` and more (see `unstride.torch.layers`), over ``(N, C, D, H, W)`` or ``(C, D, H, W)``."""

    rank = 3


class ConvTranspose1d(_ConvTranspose, torch.nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` and more (see `unstride.torch.layers`), over ``(N, C, L)`` or ``(C, L)``."""

    rank = 1


class ConvTranspose2d(_ConvTranspose, torch.nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` and more (see `unstride.torch.layers`), over ``(N, C, H, W)`` or ``(C, H, W)``."""

    rank = 2


class ConvTranspose3d(_ConvTranspose, torch.nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` and more (see `unstride.torch.layers`), over ``(N, C, *three axes)`` or without N."""

    rank = 3
