"""The convolutional autoencoder: convolutions down to the code, transposed convolutions back up.

Its layers are data, `Layer`, from which the Keras model, the sizes and the numbers of parameters are derived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..geometry import Geometry, GeometryError, convolution

if TYPE_CHECKING:
    import keras

SIDE = 28
KINDS = {"conv": "Conv2D", "up": "Conv2DTranspose"}
MAX_FILTERS = 512
"""The most filters of a layer, so that a typing error does not fill the memory."""


@dataclass(frozen=True)
class Layer:
    """One layer: a convolution ("conv") or a transposed one ("up"), with a square kernel and a ReLU.

    >>> Layer("up", 16, 3, 2)
    Layer(kind='up', filters=16, kernel=3, stride=2, padding='valid', activation='relu')
    """

    kind: str
    filters: int
    kernel: int
    stride: int = 1
    padding: str = "valid"
    activation: str = "relu"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"a layer is {self.kind!r}; expected one of: {', '.join(KINDS)}")
        for name, most in (("filters", MAX_FILTERS), ("kernel", SIDE), ("stride", SIDE)):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"{name} of a layer is {value!r}; expected a whole number from 1 to {most}")

    def geometry(self, side: int) -> Geometry:
        """The layer's geometry on a square grid with this side."""
        if self.kind == "up":
            return Geometry((self.kernel,) * 2, self.stride, self.padding)
        return convolution((side, side), (self.kernel,) * 2, self.stride, self.padding)

    def output_side(self, side: int) -> int:
        """The side of the output for a square input with this side."""
        geometry = self.geometry(side)
        size = geometry.output_size((side, side)) if self.kind == "up" else geometry.conv_size((side, side))
        return size[0]

    def __str__(self) -> str:
        return f"{self.kind} {self.filters} {self.kernel}" + (f" {self.stride}" if self.stride != 1 else "")


READING = (
    Layer("conv", 32, 3),
    Layer("conv", 16, 3),
    Layer("conv", 8, 3),
    Layer("up", 8, 3),
    Layer("up", 16, 3),
    Layer("up", 32, 3),
)
"""The layers of the reading, without the last, which every autoencoder has."""

LAST = Layer("conv", 1, 3, padding="same", activation="sigmoid")


@dataclass(frozen=True)
class Row:
    """A line of the model's summary. `channels` and `input_side` belong to the input, `side` to the output."""

    name: str
    layer: Layer
    channels: int
    side: int
    input_side: int
    parameters: int


def parsed(text: str) -> tuple[Layer, ...]:
    """Layers from text: kind, filters, kernel and, unless it is 1, stride, separated by commas.

    >>> [layer.kernel for layer in parsed("conv 8 3 2, up 8 4 2")]
    [3, 4]
    """
    layers = []
    for part in text.split(","):
        kind, *numbers = part.split() or [""]
        if not 2 <= len(numbers) <= 3 or not all(number.isdecimal() for number in numbers):
            raise ValueError(f"a layer is {part.strip()!r}; expected kind, filters, kernel, stride, as 'conv 16 3 2'")
        filters, kernel, *stride = (int(number) for number in numbers)
        layers.append(Layer(kind, filters, kernel, stride[0] if stride else 1))
    return tuple(layers)


def described(model: keras.Model) -> str:
    """The layers of an autoencoder as text that `parsed` reads."""
    from ..backends.keras.imported import keras

    layers = []
    for layer in model.layers[:-1]:
        kind = "up" if isinstance(layer, keras.layers.Conv2DTranspose) else "conv"
        layers.append(Layer(kind, layer.filters, layer.kernel_size[0], layer.strides[0]))
    return ", ".join(map(str, layers))


def table(layers: Sequence[Layer] = READING) -> tuple[Row, ...]:
    """The summary of an autoencoder with these layers and the last one. Its output may have any size.

    >>> sum(row.parameters for row in table())
    12785

    Raises
    ------
    GeometryError
        A kernel is larger than its grid. The message begins with the layer's name.
    """
    side, channels, counts = SIDE, 1, dict.fromkeys(KINDS, 0)
    rows = []
    for layer in (*layers, LAST):
        counts[layer.kind] += 1
        name = ("conv2d_" if layer.kind == "conv" else "conv2d_transpose_") + str(counts[layer.kind])
        try:
            output_side = layer.output_side(side)
        except GeometryError as error:
            raise GeometryError(f"{name}: {error}") from error
        parameters = layer.kernel**2 * channels * layer.filters + layer.filters
        rows.append(Row(name, layer, channels, output_side, side, parameters))
        side, channels = output_side, layer.filters
    return tuple(rows)


def autoencoder(layers: str | Sequence[Layer] | None = None) -> keras.Sequential:
    """A 28x28 grey image to 22x22x8 and back, with 12,785 parameters; not compiled.

    Takes and returns images of shape (n, 28, 28, 1) from 0 to 1. No layer has a stride, and only the last has
    padding: each 3x3 convolution removes one pixel on every side, and each transposed one adds it back.

    Parameters
    ----------
    layers : str or sequence of Layer, optional
        The layers, such as "conv 16 3 2, up 16 4 2": kind, filters, kernel and stride of each, where "up" is a
        transposed convolution. A last 3x3 convolution to one channel is always added. Default: the reading's.

    Raises
    ------
    TypeError
        `layers` is neither text nor a sequence of Layer.
    ValueError
        A layer is invalid, or the output is not 28x28.
    """
    chosen = READING if layers is None else parsed(layers) if isinstance(layers, str) else layers
    if not isinstance(chosen, list | tuple) or not all(isinstance(layer, Layer) for layer in chosen):
        raise TypeError(
            f"layers is {layers!r}; expected them as text, for example 'conv 16 3 2, up 16 4 2' (kind, filters, "
            "kernel, stride), or None for the reading's"
        )
    rows = table(chosen)
    if rows[-1].side != SIDE:
        raise ValueError(f"layers end with {rows[-1].side}x{rows[-1].side}; expected {SIDE}x{SIDE}, the images' size")
    # Imported here, so that listing the models does not import Keras.
    from ..backends.keras.imported import keras
    from ..keras import Conv2D, Conv2DTranspose

    kinds = {"conv": Conv2D, "up": Conv2DTranspose}

    def built(row: Row) -> keras.Layer:
        layer = row.layer
        settings: dict[str, Any] = {"kernel_initializer": "he_normal"} if layer.activation == "relu" else {}
        return kinds[layer.kind](
            layer.filters,
            layer.kernel,
            strides=layer.stride,
            padding=layer.padding,
            activation=layer.activation,
            name=row.name,
            **settings,
        )

    return keras.Sequential([keras.Input((SIDE, SIDE, 1)), *map(built, rows)], name="autoencoder")
