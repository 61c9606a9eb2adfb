"""Upscaling without Keras: the trained network on NumPy arrays, tile by tile, for any picture that Pillow holds.

The network learned luminance. Colours and transparency are enlarged by bicubic interpolation, and what the network
adds to the luminance's interpolation is added to each colour: the same as enlarging Y with the network and Cb and Cr
without it, because both ways from RGB to YCbCr are linear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from .deployed import Deployed
from .models._upscaler import DEPTH, MARGIN, bicubic, crop
from .ops import conv, conv_transpose

Values = npt.NDArray[np.float32]

TILE = 256
"""The side of a tile of the small image: its features stay in the processor's cache."""

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""The shares of red, green and blue, BT.601's, as Pillow and JPEG have them."""
GREY = np.ones(1, np.float32)


class Upscaler:
    """A trained network; `scale` says how many times as wide and high its pictures become."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.scale = int(deployed.about["scale"])
        self.padding = crop(self.scale)
        self.cubic = bicubic(self.scale)[..., None, None]
        kernel, self.bias = deployed.layer("enlarge")
        # Less the interpolation, so that the last layer gives what there is to add.
        self.kernel = kernel.copy()
        self.kernel[..., -1:] -= self.cubic

    def luminance(self, image: Values, tile: int | None = TILE) -> Values:
        """A grey image (height, width) from 0 to 1, `scale` times as large; of one piece where `tile` is None."""
        height, width = image.shape
        made = np.empty((height * self.scale, width * self.scale), np.float32)
        for (top, left, bottom, right), block in tiles(image[..., None], tile):
            here = np.s_[top * self.scale : bottom * self.scale, left * self.scale : right * self.scale]
            made[here] = self.enlarged(np.asarray(block, np.float32), GREY)[..., 0]
        return made

    def enlarged(self, block: Values, weights: Values) -> Values:
        """A block with `MARGIN` pixels around it, (height, width, channels), without them, `scale` times as large.

        `weights` are the luminance's shares of the first channels; further ones are interpolated alone.
        """
        colours = len(weights)
        light = block[..., 0] if colours == 1 else block[..., :colours] @ weights
        edge = MARGIN - 2
        inner = block[edge:-edge, edge:-edge]
        planes = np.ascontiguousarray(inner.transpose(2, 0, 1))[..., None]
        made = conv_transpose(planes, self.cubic, stride=self.scale, padding=self.padding)[..., 0]
        made[:colours] += self._added(light)
        return np.asarray(made.transpose(1, 2, 0))

    def _added(self, light: Values) -> Values:
        """What the network adds to the interpolation."""
        layer = self.deployed.layer
        x = np.ascontiguousarray(light)[None, ..., None]
        image = x[:, 2 + DEPTH : -(2 + DEPTH), 2 + DEPTH : -(2 + DEPTH)]
        for name in ("features", "shrink", *(f"map_{number + 1}" for number in range(DEPTH)), "expand"):
            x = conv(x, *layer(name), activation="relu")
        both = np.concatenate([x, image], axis=-1)
        added: Values = conv_transpose(both, self.kernel, self.bias, stride=self.scale, padding=self.padding)
        return added[0, ..., 0]

    def picture(self, image: Image.Image | Pixels, advance: Callable[[int], None] | None = None) -> Image.Image:
        """A picture `scale` times as large, in its own mode, or one that holds its colours: palettes become RGB.

        Transparency stays, and the 16 bits of a grey picture. `advance`, if given, is told how many more pixels of
        the small image are done. Beside the two pictures it takes a few tiles of memory, and for an Image, which holds
        four bytes for every three, the Pixels that it is made to.
        """
        pixels = Pixels.of(image) if isinstance(image, Image.Image) else image
        low, high, kind = pixels.range()
        height, width, _ = pixels.values.shape
        made = Image.new(pixels.mode, (width * self.scale, height * self.scale))
        for (top, left, bottom, right), block in tiles(pixels.values, TILE):
            large = self._channels(pixels.mode, (block.astype(np.float32) - low) * np.float32(1 / (high - low)))
            large *= high - low
            large += low
            if kind != np.float32:
                np.rint(large, out=large)
                np.clip(large, low, high, out=large)
            size = ((right - left) * self.scale, (bottom - top) * self.scale)
            tile = Image.frombytes(pixels.mode, size, large.astype(kind).tobytes())
            made.paste(tile, (left * self.scale, top * self.scale))
            if advance is not None:
                advance((bottom - top) * (right - left))
        return made

    def _channels(self, mode: str, block: Values) -> Values:
        if mode == "CMYK":  # four inks, each a luminance of its own
            inks = [self.enlarged(block[..., at : at + 1], GREY) for at in range(4)]
            return np.concatenate(inks, axis=-1)
        return self.enlarged(block, LUMINANCE if mode in ("RGB", "RGBA") else GREY)


@dataclass(frozen=True)
class Pixels:
    """A picture's values (height, width, channels), and its Pillow mode: L, LA, RGB, RGBA, CMYK, I;16 or F."""

    mode: str
    values: npt.NDArray[np.generic]

    @classmethod
    def of(cls, image: Image.Image) -> Pixels:
        """Those of a picture in any mode."""
        image = _plain(image)
        values = np.asarray(image)
        return cls(image.mode, values[..., None] if values.ndim == 2 else values)

    def range(self) -> tuple[float, float, type[np.generic]]:
        """What black and white are, and the type of the values."""
        if self.mode == "F":  # fractions have no fixed range
            low, high = float(np.min(self.values)), float(np.max(self.values))  # type: ignore[call-overload]
            return low, high if high > low else low + 1, np.float32
        return (0.0, 65535.0, np.uint16) if self.mode == "I;16" else (0.0, 255.0, np.uint8)


def _plain(image: Image.Image) -> Image.Image:
    """In one of the modes that hold a value a channel and pixel."""
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "F"):
        if image.mode in ("L", "RGB") and "transparency" in image.info:
            return image.convert("LA" if image.mode == "L" else "RGBA")
        return image
    if image.mode.startswith("I"):  # Pillow's reading of 16-bit greys, in some formats
        return Image.fromarray(np.asarray(image).clip(0, 65535).astype(np.uint16))
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def tiles(
    image: npt.NDArray[np.generic], side: int | None
) -> Iterator[tuple[tuple[int, int, int, int], npt.NDArray[np.generic]]]:
    """Boxes (top, left, bottom, right) that cover the image, each with its pixels and `MARGIN` more on every side.

    Beyond the image's edge its last pixels repeat.
    """
    height, width = image.shape[:2]
    rows, columns = side or height, side or width
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            bottom, right = min(top + rows, height), min(left + columns, width)
            y0, x0 = max(0, top - MARGIN), max(0, left - MARGIN)
            y1, x1 = min(height, bottom + MARGIN), min(width, right + MARGIN)
            beyond = (
                (MARGIN - (top - y0), MARGIN - (y1 - bottom)),
                (MARGIN - (left - x0), MARGIN - (x1 - right)),
                (0, 0),
            )
            block = image[y0:y1, x0:x1]
            if any(map(any, beyond)):
                block = np.pad(block, beyond, mode="edge")
            yield (top, left, bottom, right), block
