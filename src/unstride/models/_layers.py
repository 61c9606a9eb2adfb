"""Layers that the models need beside the convolutions. Imported by them when they are built."""

from __future__ import annotations

from typing import Any

from .._keras import keras


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
