"""Depth to space and cropping from Keras's own layers, so that a saved model opens without unstride.

Imported by the models when they are built.
"""

from __future__ import annotations

from typing import Any

from ..backends.keras.imported import keras


def depth_to_space(side: int, channels: int, name: str) -> list[Any]:
    """Layers from (n, side, side, 4 * channels) to (n, 2 * side, 2 * side, channels).

    Channel (i * 2 + j) * channels + q of a pixel becomes channel q of the pixel at (i, j) in its block of 2x2.
    """
    return [
        keras.layers.Reshape((side, side, 2, 2, channels), name=f"{name}_blocks"),
        keras.layers.Permute((1, 3, 2, 4, 5), name=f"{name}_rows"),
        keras.layers.Reshape((2 * side, 2 * side, channels), name=name),
    ]


def crop_like(channels: int, like_channels: int, name: str) -> Any:
    """A model of two images that crops the first, at its end, to the size of the second.

    Their sizes may be unknown until the call. Keras has no layer for that, but its operations are saved like layers.
    """
    image, like = keras.Input((None, None, channels)), keras.Input((None, None, like_channels))
    cropped = image
    for axis, line in ((1, like[0, :, 0, 0]), (2, like[0, 0, :, 0])):
        places = keras.ops.cumsum(keras.ops.ones_like(line, dtype="int32")) - 1
        cropped = keras.ops.take(cropped, places, axis=axis)
    return keras.Model([image, like], cropped, name=name)


# Layers of models that older versions saved, so that these can be loaded.


@keras.saving.register_keras_serializable("unstride")
class DepthToSpace(keras.layers.Layer):  # type: ignore[misc]
    """(n, h, w, c * block²) to (n, h * block, w * block, c): channel (i * block + j) * c + q of a pixel becomes channel
    q of the pixel at (i, j) in its block.
    """

    def __init__(self, block: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block = block

    def call(self, inputs: Any) -> Any:
        block, (_, height, width, channels) = self.block, inputs.shape
        channels //= block**2
        x = keras.ops.reshape(inputs, (-1, height, width, block, block, channels))
        x = keras.ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return keras.ops.reshape(x, (-1, height * block, width * block, channels))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block": self.block}


@keras.saving.register_keras_serializable("unstride")
class CropLike(keras.layers.Layer):  # type: ignore[misc]
    """Crops the first image, at its end, to the size of the second."""

    def call(self, inputs: Any) -> Any:
        image, like = inputs
        shape = keras.ops.shape(like)
        return image[:, : shape[1], : shape[2]]

    def compute_output_shape(self, input_shape: Any) -> Any:
        image, like = input_shape
        return (image[0], *like[1:3], image[3])
