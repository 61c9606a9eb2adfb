"""What the models need beside the convolutions, made of what Keras has, so that a saved model opens without unstride.

Imported by the models when they are built.
"""

from __future__ import annotations

from typing import Any

from .._keras import keras


def depth_to_space(side: int, channels: int, name: str) -> list[Any]:
    """Layers from (n, side, side, 4 * channels) to (n, 2 * side, 2 * side, channels).

    Channel (i * 2 + j) * channels + q of a pixel becomes channel q of the pixel at (i, j) of its block of 2x2.
    """
    return [
        keras.layers.Reshape((side, side, 2, 2, channels), name=f"{name}_blocks"),
        keras.layers.Permute((1, 3, 2, 4, 5), name=f"{name}_rows"),
        keras.layers.Reshape((2 * side, 2 * side, channels), name=name),
    ]


def crop_like(image: Any, like: Any) -> Any:
    """The first symbolic image, without the last rows and columns that the second does not have.

    Their sizes may be unknown. Keras has no layer for that; its operations are saved as layers are.
    """
    rows, columns = like[0, :, 0, 0], like[0, 0, :, 0]
    for axis, line in ((1, rows), (2, columns)):
        places = keras.ops.cumsum(keras.ops.ones_like(line, dtype="int32")) - 1
        image = keras.ops.take(image, places, axis=axis)
    return image


# The layers that did this in models of before, so that these load.


@keras.saving.register_keras_serializable("unstride")
class DepthToSpace(keras.layers.Layer):  # type: ignore[misc]
    """(n, h, w, c * block²) to (n, h * block, w * block, c): channel (i * block + j) * c + q of a pixel becomes channel
    q of the pixel at (i, j) of its block.
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
    """The first image, without the last rows and columns that the second does not have."""

    def call(self, inputs: Any) -> Any:
        image, like = inputs
        shape = keras.ops.shape(like)
        return image[:, : shape[1], : shape[2]]

    def compute_output_shape(self, input_shape: Any) -> Any:
        image, like = input_shape
        return (image[0], *like[1:3], image[3])
