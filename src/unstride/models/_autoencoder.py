"""The convolutional autoencoder: three convolutions down, three transposed convolutions back up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def autoencoder() -> keras.Sequential:
    """A 28x28 grey image to 22x22x8 and back, with 12,785 parameters; not compiled.

    Takes and returns images of shape (n, 28, 28, 1) from 0 to 1. No layer has a stride, and none but the last
    padding: each 3x3 convolution takes one pixel off every side, each transposed one puts it back.
    """
    # Here and not above, so that listing the models costs no import of Keras.
    import keras

    from ..keras import Conv2D, Conv2DTranspose

    relu: dict[str, Any] = {"kernel_size": 3, "activation": "relu", "kernel_initializer": "he_normal"}
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            Conv2D(32, name="conv2d_1", **relu),
            Conv2D(16, name="conv2d_2", **relu),
            Conv2D(8, name="conv2d_3", **relu),
            Conv2DTranspose(8, name="conv2d_transpose_1", **relu),
            Conv2DTranspose(16, name="conv2d_transpose_2", **relu),
            Conv2DTranspose(32, name="conv2d_transpose_3", **relu),
            Conv2D(1, 3, activation="sigmoid", padding="same", name="conv2d_4"),
        ],
        name="autoencoder",
    )
