"""The models of models_torch.py in Keras, channels last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers as L  # noqa: N812 - read as L.Conv2D

Tensor = Any


def dcgan(shape: tuple[int, ...], width: int = 64) -> keras.Model:
    inputs = x = keras.Input(shape)
    for number, channels in enumerate((width * 8, width * 4, width * 2, width)):
        stride, padding = (2, "same") if number else (1, "valid")
        x = L.Conv2DTranspose(channels, 4, stride, padding, use_bias=False)(x)
        x = L.ReLU()(L.BatchNormalization()(x))
    return keras.Model(inputs, L.Conv2DTranspose(3, 4, 2, "same", activation="tanh")(x))


def unet(shape: tuple[int, ...], width: int, depth: int) -> keras.Model:
    rank = len(shape) - 1
    conv = (L.Conv2D, L.Conv3D)[rank - 2]
    transposed = (L.Conv2DTranspose, L.Conv3DTranspose)[rank - 2]
    pool = (L.MaxPooling2D, L.MaxPooling3D)[rank - 2]

    def block(x: Tensor, channels: int) -> Tensor:
        for _ in range(2):
            x = conv(channels, 3, padding="same", activation="relu")(x)
        return x

    inputs = x = keras.Input(shape)
    kept = []
    for level in range(depth):
        x = block(x, width * 2**level)
        kept.append(x)
        x = pool(2)(x)
    x = block(x, width * 2**depth)
    for level in reversed(range(depth)):
        x = transposed(width * 2**level, 2, 2)(x)
        x = block(L.Concatenate()([kept[level], x]), width * 2**level)
    return keras.Model(inputs, conv(2, 1)(x))


def fsrcnn(shape: tuple[int, ...], scale: int = 3, d: int = 56, s: int = 12, m: int = 4) -> keras.Model:
    inputs = x = keras.Input(shape)
    for channels, k in ((d, 5), (s, 1), *((s, 3),) * m, (d, 1)):
        x = L.PReLU(shared_axes=(1, 2))(L.Conv2D(channels, k, padding="same")(x))
    return keras.Model(inputs, L.Conv2DTranspose(1, 9, scale, "same")(x))


def hifi_gan(shape: tuple[int, ...], width: int) -> keras.Model:
    def leaky(x: Tensor, slope: float = 0.1) -> Tensor:
        return L.LeakyReLU(slope)(x)

    inputs = keras.Input(shape)
    x = L.Conv1D(width, 7, padding="same")(inputs)
    for s in (8, 8, 2, 2):
        width //= 2
        x = L.Conv1DTranspose(width, 2 * s, s, "same")(leaky(x))
        for d in (1, 3, 5):
            y = L.Conv1D(width, 3, padding="same", dilation_rate=d)(leaky(x))
            x = L.Add()([x, L.Conv1D(width, 3, padding="same")(leaky(y))])
    return keras.Model(inputs, L.Conv1D(1, 7, padding="same", activation="tanh")(leaky(x, 0.01)))


# The function that makes the model from the shape of one input, and the shape of a batch of inputs.
MODELS: dict[str, tuple[Callable[[tuple[int, ...]], keras.Model], tuple[int, ...]]] = {
    "DCGAN generator": (dcgan, (16, 1, 1, 100)),
    "U-Net, 2-D": (lambda shape: unet(shape, 16, 4), (1, 192, 192, 1)),
    "FSRCNN x3": (fsrcnn, (4, 64, 64, 1)),
    "HiFi-GAN, 1-D": (lambda shape: hifi_gan(shape, 256), (1, 48, 80)),
    "U-Net, 3-D": (lambda shape: unet(shape, 8, 3), (1, 48, 48, 48, 1)),
}
