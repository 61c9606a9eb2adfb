"""The upscaler: convolutions on the small image, and a transposed convolution at the end that enlarges it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import keras

Values = npt.NDArray[np.float32]

SCALES = (2, 3, 4)
WIDE, NARROW, DEPTH = 32, 16, 4
MARGIN = 2 + DEPTH + 2
"""Pixels of the small image that are consumed on every side, because no layer pads."""


def upscaler(scale: int = 2) -> keras.Model:
    """Luminance to luminance `scale` times as wide and high, after FSRCNN; not compiled.

    Takes images of shape (n, height, width, 1) from 0 to 1 with 8 pixels of context on every side, and returns
    (n, (height - 16) * scale, (width - 16) * scale, 1). No layer pads, so that an image in tiles gives the same result
    as the whole.

    All layers but the last work on the small image. The last, a transposed convolution, sees their features and the
    image itself. It is initialised as bicubic interpolation, which is a transposed convolution with a fixed kernel, and
    learns a correction.

    Raises
    ------
    ValueError
        `scale` is not 2, 3 or 4.
    """
    if scale not in SCALES:
        raise ValueError(f"scale is {scale!r}; expected 2, 3 or 4")
    # Imported here, so that listing the models does not import Keras.
    from ..backends.keras.imported import keras
    from ..keras import Conv2D, Conv2DTranspose

    relu: dict[str, Any] = {"activation": "relu", "kernel_initializer": "he_normal"}
    image = keras.Input((None, None, 1), name="luminance")
    x = Conv2D(WIDE, 5, name="features", **relu)(image)
    x = Conv2D(NARROW, 1, name="shrink", **relu)(x)
    for number in range(DEPTH):
        x = Conv2D(NARROW, 3, name=f"map_{number + 1}", **relu)(x)
    x = Conv2D(NARROW, 1, name="expand", **relu)(x)
    both = keras.layers.Concatenate(name="both")([x, keras.layers.Cropping2D(2 + DEPTH, name="centre")(image)])
    last = Conv2DTranspose(1, taps(scale), strides=scale, padding="same", name="enlarge")
    enlarged = keras.layers.Cropping2D(2 * scale, name="inside")(
        last(both)
    )  # together `crop`, which Keras needs two steps for
    model = keras.Model(image, enlarged, name=f"upscaler_x{scale}")
    kernel = np.asarray(keras.ops.convert_to_numpy(last.kernel)) * 0.1
    kernel[..., -1] = bicubic(scale)[..., None]
    last.set_weights([kernel, np.zeros(1, np.float32)])
    return model


def taps(scale: int) -> int:
    """The side of the last kernel, that of bicubic interpolation: four small pixels, or 4 * scale cells."""
    return 4 * scale - scale % 2


def crop(scale: int) -> int:
    """The cells that the last layer crops on every side, for which it does not see the two nearest pixels."""
    return (taps(scale) - scale) // 2 + 2 * scale


def bicubic(scale: int) -> Values:
    """Keys's cubic, a = -1/2, as the kernel of a transposed convolution with stride `scale`.

    >>> (bicubic(2)[0] * 2**14).tolist()
    [9.0, 27.0, -87.0, -333.0, -333.0, -87.0, 27.0, 9.0]
    """
    side = taps(scale)
    t = np.abs((np.arange(side) - (side - 1) / 2) / scale)
    near = 1.5 * t**3 - 2.5 * t**2 + 1
    far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    line = np.where(t < 1, near, np.where(t < 2, far, 0))
    return np.outer(line, line).astype(np.float32)
