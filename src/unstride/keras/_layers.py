"""The layers of `unstride.keras`, and the computation of any convolution layer, Keras's or ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras

from .. import backends, ops
from ..geometry import Geometry, GeometryError, as_int, convolution, is_open, is_sequence, per_axis
from . import _saved

Ints = int | Sequence[int]
Tensor = Any
Shape = tuple[int | None, ...]
PLAIN = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
UNKNOWN = 2**20  # stands for a size that a symbolic shape leaves open: large enough for any kernel


# TensorFlow fuses its own ReLU with its own convolution in graphs.
FUSES_RELU = keras.backend.backend() != "tensorflow"
ON_TORCH = keras.backend.backend() == "torch"


def geometry_of(layer: Any, size: Shape) -> Geometry:
    """The geometry of a layer, Keras's or ours, for inputs of this spatial size. None and symbols are unknown sizes."""
    kernel_size, strides, padding, dilation = layer.kernel_size, layer.strides, layer.padding, layer.dilation_rate
    groups = getattr(layer, "groups", 1)  # Keras's transposed convolutions have no groups
    if isinstance(layer, TRANSPOSED):
        return Geometry(kernel_size, strides, padding, layer.output_padding, dilation, groups)
    if padding == "causal" and layer.rank == 1:
        padding = (((kernel_size[0] - 1) * dilation[0], 0),)
    known = [n if type(n) is int else UNKNOWN for n in size]
    return convolution(known, kernel_size, strides, padding, dilation, groups)


def computed(layer: Any, inputs: Tensor) -> Tensor:
    """The outputs of a convolution layer, plain or transposed, Keras's or ours."""
    bias = layer.bias if layer.use_bias else None
    if layer.activation is keras.activations.relu and FUSES_RELU:
        return mapped(layer, inputs, layer.kernel, bias, "relu")
    outputs = mapped(layer, inputs, layer.kernel, bias)
    return outputs if layer.activation is None else layer.activation(outputs)


def mapped(
    layer: Any, inputs: Tensor, kernel: Tensor, bias: Tensor | None, activation: Literal["relu"] | None = None
) -> Tensor:
    """The layer's map with these weights, and with this activation fused into it where possible."""
    last = layer.data_format == "channels_last"
    size = tuple(inputs.shape[1:-1] if last else inputs.shape[2:])
    transposed = isinstance(layer, TRANSPOSED)
    if bias is not None and _autocasts():
        outputs = mapped(layer, inputs, kernel, None) + keras.ops.reshape(
            bias, (-1,) if last else (-1, *(1,) * layer.rank)
        )
        return keras.ops.relu(outputs) if activation else outputs
    kernel = backends.unwrap(kernel)  # in the compute type, under mixed precision
    bias = None if bias is None else keras.ops.convert_to_tensor(bias)
    if not last:  # Keras keeps one kernel layout for both data formats
        kernel = keras.ops.transpose(kernel, (layer.rank + 1, layer.rank, *range(layer.rank)))
    channels: Any = "last" if last else "first"
    if transposed:
        geometry = geometry_of(layer, size)
        return ops.conv_transpose(inputs, kernel, bias, geometry, channels=channels, activation=activation)
    if layer.padding == "same" and is_open(size):  # the zeros depend on the size
        fields = {"stride": layer.strides, "padding": "same", "dilation": layer.dilation_rate}
        fields |= {"groups": getattr(layer, "groups", 1)}
        return ops.conv(inputs, kernel, bias, **fields, channels=channels, activation=activation)
    return ops.conv(inputs, kernel, bias, geometry_of(layer, size), channels=channels, activation=activation)


def _autocasts() -> bool:
    """Whether PyTorch casts the arguments of its convolutions. Keras then adds the bias in the bias's own type."""
    if not ON_TORCH:
        return False
    import torch

    return bool(torch._C._is_any_autocast_enabled())


class _Layer:
    """The common part of convolutions and transposed ones. It comes before Keras's class in the inheritance order."""

    rank: int
    filters: int
    groups: int
    data_format: str
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    dilation_rate: tuple[int, ...]
    padding: Any
    use_bias: bool
    bias: Any

    def _take_over(
        self, kernel_size: Ints, strides: Ints, padding: Any, output_padding: Any, dilation_rate: Ints, groups: int
    ) -> None:
        """Set the fields that Keras's constructor might refuse, after a check of the geometry that they describe."""
        if isinstance(padding, str):
            padding = padding.lower()
        elif is_sequence(padding):  # becomes a plain tuple like the other fields; a saved config has lists
            padding = tuple(
                tuple(as_int("padding", end) for end in entry) if is_sequence(entry) else as_int("padding", entry)
                for entry in padding
            )
        else:
            padding = as_int("padding", padding)
        self.kernel_size = per_axis("kernel_size", kernel_size, self.rank, 1)
        self.strides = per_axis("strides", strides, self.rank, 1)
        self.dilation_rate = per_axis("dilation_rate", dilation_rate, self.rank, 1)
        self.padding = padding
        self.groups = as_int("groups", groups, 1)
        if isinstance(self, _ConvTranspose):
            if output_padding is not None:
                output_padding = per_axis("output_padding", output_padding, self.rank, 0)
            self.output_padding = output_padding
        geometry_of(self, (UNKNOWN,) * self.rank)
        if as_int("filters", self.filters, 1) % self.groups:
            raise GeometryError(f"filters is {self.filters}, which {self.groups} groups do not divide evenly")
        _saved.settle(self)

    def get_config(self) -> dict[str, Any]:
        return _saved.config(self, super().get_config())  # type: ignore[misc]

    def __reduce__(self) -> Any:
        reduced: Any = super().__reduce__()
        _, arguments = reduced
        return _saved.public(type(self))._unpickle_model, arguments  # type: ignore[attr-defined]

    def call(self, inputs: Tensor) -> Tensor:
        return computed(self, inputs)

    def _output_shape(self, input_shape: Shape, rule: Callable[[Geometry], Callable[[Any], tuple[int, ...]]]) -> Shape:
        if len(input_shape) != self.rank + 2:
            raise GeometryError(
                f"the input has shape {tuple(input_shape)}; expected {self.rank + 2} dimensions: batch, channels and "
                f"{self.rank} of space"
            )
        last = self.data_format == "channels_last"
        size = input_shape[1:-1] if last else input_shape[2:]
        known = rule(geometry_of(self, size))([n if type(n) is int else UNKNOWN for n in size])
        space = [length if type(n) is int else None for n, length in zip(size, known, strict=True)]
        return (input_shape[0], *space, self.filters) if last else (input_shape[0], self.filters, *space)


class _Conv(_Layer):
    def __init__(
        self,
        filters: int,
        kernel_size: Ints,
        strides: Ints = 1,
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: Ints = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(  # type: ignore[call-arg]  # with fields that Keras accepts; the real ones follow
            filters=filters,
            kernel_size=1,
            data_format=data_format,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self._take_over(kernel_size, strides, padding, None, dilation_rate, groups)

    def build(self, input_shape: Shape) -> None:
        if input_shape[-1 if self.data_format == "channels_last" else 1] is None:
            raise GeometryError(f"the input has shape {tuple(input_shape)}; expected a known number of channels")
        super().build(input_shape)  # type: ignore[misc]

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        return mapped(self, inputs, kernel, None)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._output_shape(input_shape, lambda geometry: geometry.conv_size)


class _ConvTranspose(_Layer):
    output_padding: tuple[int, ...] | None

    def __init__(
        self,
        filters: int,
        kernel_size: Ints,
        strides: Ints = 1,
        padding: Any = "valid",
        output_padding: Ints | None = None,
        data_format: str | None = None,
        dilation_rate: Ints = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(  # type: ignore[call-arg]  # with fields that Keras accepts; the real ones follow
            filters=filters,
            kernel_size=1,
            data_format=data_format,
            activation=activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            **kwargs,
        )
        self._take_over(kernel_size, strides, padding, output_padding, dilation_rate, groups)

    def build(self, input_shape: Shape) -> None:
        axis = -1 if self.data_format == "channels_last" else 1
        channels = input_shape[axis]
        if channels is None or channels % self.groups:
            raise GeometryError(
                f"the input of shape {tuple(input_shape)} has {channels} channels; expected a known number that "
                f"{self.groups} groups divide evenly"
            )
        self.compute_output_shape(input_shape)  # refuses a size that fits no output, before weights are created
        # Keras's build creates the weights; groups change only the number of filters of the kernel.
        filters, self.filters = self.filters, self.filters // self.groups
        use_bias, self.use_bias = self.use_bias, self.use_bias and self.groups == 1
        try:
            super().build(input_shape)  # type: ignore[misc]
        finally:
            self.filters, self.use_bias = filters, use_bias
        if use_bias and self.groups > 1:
            layer: Any = self
            self.bias = layer.add_weight(
                name="bias",
                shape=(filters,),
                initializer=layer.bias_initializer,
                regularizer=layer.bias_regularizer,
                constraint=layer.bias_constraint,
            )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self._output_shape(input_shape, lambda geometry: geometry.output_size)


class Conv1D(_Conv, keras.layers.Conv1D):  # type: ignore[misc]
    """`keras.layers.Conv1D` and more (see `unstride.keras`), over ``(batch, steps, channels)``."""


class Conv1DTranspose(_ConvTranspose, keras.layers.Conv1DTranspose):  # type: ignore[misc]
    """`keras.layers.Conv1DTranspose` and more (see `unstride.keras`), over ``(batch, steps, channels)``."""


class Conv2D(_Conv, keras.layers.Conv2D):  # type: ignore[misc]
    """`keras.layers.Conv2D` and more (see `unstride.keras`), over ``(batch, height, width, channels)``."""


class Conv2DTranspose(_ConvTranspose, keras.layers.Conv2DTranspose):  # type: ignore[misc]
    """`keras.layers.Conv2DTranspose` and more (see `unstride.keras`), over ``(batch, height, width, channels)``."""


class Conv3D(_Conv, keras.layers.Conv3D):  # type: ignore[misc]
    """`keras.layers.Conv3D` and more (see `unstride.keras`), over ``(batch, depth, height, width, channels)``."""


class Conv3DTranspose(_ConvTranspose, keras.layers.Conv3DTranspose):  # type: ignore[misc]
    """`keras.layers.Conv3DTranspose` and more (see `unstride.keras`), over ``(batch, *three axes, channels)``."""

    def __init__(
        self,
        filters: int,
        kernel_size: Ints,
        strides: Ints = 1,
        padding: Any = "valid",
        data_format: str | None = None,  # before output_padding, as in Keras, which has this order only here
        output_padding: Ints | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, kernel_size, strides, padding, output_padding, data_format, *args, **kwargs)


PUBLIC = (Conv1D, Conv2D, Conv3D, Conv1DTranspose, Conv2DTranspose, Conv3DTranspose)
OWN = (*PUBLIC, *(form for kind in PUBLIC for form in _saved.register(kind)))
