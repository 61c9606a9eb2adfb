"""The compressor: a strided encoder, a code of a few numbers, and a decoder that upsamples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

UPSAMPLE = ("transposed", "resize", "subpixel")
SMALL, WIDTHS = 7, (64, 32)
"""The side of the decoder's first grid, and the channels of its layers."""


def compressor(code: int = 32, upsample: str = "transposed", kernel: int = 4) -> keras.Model:
    """A 28x28 grey image to `code` numbers and back; not compiled.

    Takes and returns images of shape (n, 28, 28, 1) from 0 to 1. It consists of two models, its layers "encoder",
    from (n, 28, 28, 1) to (n, code), and "decoder", back again.

    Parameters
    ----------
    code : int
        The length of the code, at least 1.
    upsample : {"transposed", "resize", "subpixel"}
        How the decoder doubles the grid, twice. "transposed": a transposed convolution with stride 2. "resize": repeat
        each pixel 2x2, then a convolution. "subpixel": a convolution to four times as many channels, which become
        the 2x2 pixels.
    kernel : int
        The side of the decoder's kernels, at least 2. If it is not a multiple of the stride 2, a transposed
        convolution reaches some pixels by more taps than others: the checkerboard.

    Raises
    ------
    ValueError
        An argument is invalid.
    """
    if not isinstance(code, int) or code < 1:
        raise ValueError(f"code is {code!r}; expected how many numbers, at least 1")
    if upsample not in UPSAMPLE:
        raise ValueError(f"upsample is {upsample!r}; expected one of: {', '.join(UPSAMPLE)}")
    if not isinstance(kernel, int) or kernel < 2:
        raise ValueError(f"kernel is {kernel!r}; expected a side of at least 2")
    from ..backends.keras.imported import keras
    from ..keras import Conv2D

    relu: dict[str, Any] = {"activation": "relu", "kernel_initializer": "he_normal"}
    encoder = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            # A padding of 1 for the stride 2, which Keras needs a layer for. At the end of the grid none is needed.
            keras.layers.ZeroPadding2D(((1, 0), (1, 0)), name="pad_1"),
            Conv2D(WIDTHS[1], 3, strides=2, name="conv_1", **relu),
            keras.layers.ZeroPadding2D(((1, 0), (1, 0)), name="pad_2"),
            Conv2D(WIDTHS[0], 3, strides=2, name="conv_2", **relu),
            keras.layers.Flatten(name="flatten"),
            keras.layers.Dense(256, name="dense", **relu),
            keras.layers.Dense(code, name="code"),
        ],
        name="encoder",
    )
    image = keras.Input((28, 28, 1), name="image")
    return keras.Model(image, decoder(code, upsample, kernel)(encoder(image)), name="compressor")


def decoder(code: int, upsample: str, kernel: int) -> keras.Sequential:
    """The second half of `compressor`: (n, code) to (n, 28, 28, 1)."""
    from ..backends.keras.imported import keras

    relu: dict[str, Any] = {"activation": "relu", "kernel_initializer": "he_normal"}
    return keras.Sequential(
        [
            keras.Input((code,)),
            keras.layers.Dense(256, name="dense", **relu),
            keras.layers.Dense(SMALL * SMALL * WIDTHS[0], name="grid", **relu),
            keras.layers.Reshape((SMALL, SMALL, WIDTHS[0]), name="reshape"),
            *_double(SMALL, WIDTHS[1], upsample, kernel, 1, relu),
            *_double(2 * SMALL, 1, upsample, kernel, 2, {"activation": "sigmoid"}),
        ],
        name="decoder",
    )


def _double(side: int, filters: int, upsample: str, kernel: int, number: int, settings: dict[str, Any]) -> list[Any]:
    """Layers that double a grid of this side."""
    from ..backends.keras.imported import keras
    from ..keras import Conv2D, Conv2DTranspose
    from ._layers import depth_to_space

    name = f"{upsample}_{number}"
    if upsample == "transposed":
        return [Conv2DTranspose(filters, kernel, strides=2, padding="same", name=name, **settings)]
    if upsample == "resize":
        return [
            keras.layers.UpSampling2D(2, name=f"repeat_{number}"),
            Conv2D(filters, kernel, padding="same", name=name, **settings),
        ]
    return [
        Conv2D(4 * filters, kernel, padding="same", name=name, **settings),
        *depth_to_space(side, filters, name=f"interleave_{number}"),
    ]
