"""The segmenter: a small U-Net that upsamples by transposed convolutions with 2x2 kernels and stride 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

WIDTHS = (16, 32, 64, 96)
"""The channels at full size and after each halving."""


def segmenter(classes: int = 11) -> keras.Model:
    """A colour image to the logits of each pixel's class; not compiled.

    Takes images of shape (n, height, width, 3) from 0 to 1, of any size, and returns (n, height, width, classes).
    Halving rounds up, so that an odd row or column is kept. After doubling, the excess is cropped.

    Raises
    ------
    ValueError
        `classes` is not an integer of at least 2.
    """
    if not isinstance(classes, int) or classes < 2:
        raise ValueError(f"classes is {classes!r}; expected how many there are, at least 2")
    # Imported here, so that listing the models does not import Keras.
    from ..backends.keras.imported import keras
    from ..keras import Conv2D, Conv2DTranspose
    from ._layers import crop_like

    def twice(x: Any, filters: int, name: str) -> Any:
        for number in (1, 2):
            x = Conv2D(
                filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_{number}"
            )(x)
            x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_{number}_norm")(x)
            x = keras.layers.ReLU(name=f"{name}_{number}_relu")(x)
        return x

    image = keras.Input((None, None, 3), name="image")
    x, skips = image, []
    for level, filters in enumerate(WIDTHS):
        x = twice(x, filters, f"down_{level}")
        if level < len(WIDTHS) - 1:
            skips.append(x)
            x = keras.layers.MaxPooling2D(2, padding="same", name=f"halve_{level}")(x)
    for level in reversed(range(len(skips))):
        x = Conv2DTranspose(WIDTHS[level], 2, strides=2, kernel_initializer="he_normal", name=f"double_{level}")(x)
        x = crop_like(WIDTHS[level], WIDTHS[level], name=f"fit_{level}")([x, skips[level]])
        x = keras.layers.Concatenate(name=f"join_{level}")([x, skips[level]])
        x = twice(x, WIDTHS[level], f"up_{level}")
    return keras.Model(image, Conv2D(classes, 1, name="logits")(x), name="segmenter")
