"""Upscaling on NumPy arrays, without Keras: tile by tile, for any picture that Pillow can read.

The network enlarges luminance. Colours and transparency are enlarged by bicubic interpolation, and the difference
between the network's luminance and the interpolated one is added to each colour. The conversion to YCbCr being linear,
this equals enlarging Y with the network and Cb and Cr without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ....data import Samples, Values
from ....models._upscaler import DEPTH, MARGIN, bicubic, crop
from ....ops import conv, conv_transpose
from ...images.pixels import Pixels
from ...weights import ExportedModel

TILE = 256
"""The side of a tile of the small image, whose features fit into the processor's cache."""

LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
"""The weights of red, green and blue by BT.601, as in Pillow and JPEG."""
GREY = np.ones(1, np.float32)


class Upscaler:
    """A trained network. `scale` is the factor by which it enlarges."""

    def __init__(self, exported: ExportedModel) -> None:
        self.exported = exported
        self.scale = int(exported.about["scale"])
        self.padding = crop(self.scale)
        self.cubic = bicubic(self.scale)[..., None, None]
        kernel, self.bias = exported.layer("enlarge")
        # Without the interpolation, so that the last layer computes the difference to it.
        self.kernel = kernel.copy()
        self.kernel[..., -1:] -= self.cubic

    def luminance(self, image: Values, tile: int | None = TILE) -> Values:
        """Enlarge a grey image (height, width) from 0 to 1; in one piece if `tile` is None."""
        height, width = image.shape
        large = np.empty((height * self.scale, width * self.scale), np.float32)
        for (top, left, bottom, right), block in tiles(image[..., None], tile):
            here = np.s_[top * self.scale : bottom * self.scale, left * self.scale : right * self.scale]
            large[here] = self.enlarged(np.asarray(block, np.float32), GREY)[..., 0]
        return large

    def enlarged(self, block: Values, weights: Values) -> Values:
        """Enlarge a block (height, width, channels). Its outer `MARGIN` pixels are context and not in the result.

        `weights` are the shares of the first channels in the luminance. Further channels are only interpolated.
        """
        colours = len(weights)
        light = block[..., 0] if colours == 1 else block[..., :colours] @ weights
        edge = MARGIN - 2
        inner = block[edge:-edge, edge:-edge]
        planes = np.ascontiguousarray(inner.transpose(2, 0, 1))[..., None]
        large = conv_transpose(planes, self.cubic, stride=self.scale, padding=self.padding)[..., 0]
        large[:colours] += self._added(light)
        return np.asarray(large.transpose(1, 2, 0))

    def _added(self, light: Values) -> Values:
        """The difference between the network's result and the interpolation."""
        layer = self.exported.layer
        x = np.ascontiguousarray(light)[None, ..., None]
        image = x[:, 2 + DEPTH : -(2 + DEPTH), 2 + DEPTH : -(2 + DEPTH)]
        for name in ("features", "shrink", *(f"map_{number + 1}" for number in range(DEPTH)), "expand"):
            x = conv(x, *layer(name), activation="relu")
        both = np.concatenate([x, image], axis=-1)
        added: Values = conv_transpose(both, self.kernel, self.bias, stride=self.scale, padding=self.padding)
        return added[0, ..., 0]

    def picture(self, image: Image.Image | Pixels, advance: Callable[[int], None] | None = None) -> Image.Image:
        """Enlarge a picture. The mode stays, except that palettes become RGB.

        Transparency is kept, and so are the 16 bits of greys. `advance`, if given, is called with the number of pixels
        of the small image that each tile finishes. In addition to the two pictures this takes the memory of a few
        tiles, and that of a `Pixels` if `image` is an Image.

        Raises
        ------
        ValueError
            Samples that Pillow has no mode for; `numbers` enlarges them.
        """
        pixels = Pixels.of(image) if isinstance(image, Image.Image) else image
        kind = pixels.values.dtype
        if not holds(kind):
            raise ValueError(f"numbers of {kind}, for which Pillow has no mode; use Upscaler.numbers")
        mode = {"uint16": "I;16", "float32": "F"}.get(kind.name, pixels.mode)
        height, width, _ = pixels.values.shape
        large = Image.new(mode, (width * self.scale, height * self.scale))
        for top, left, values in self._tiles(pixels, advance):
            rows, columns, _ = values.shape
            large.paste(Image.frombytes(mode, (columns, rows), values.tobytes()), (left, top))
        return large

    def numbers(self, pixels: Pixels, advance: Callable[[int], None] | None = None) -> Samples:
        """As `picture`, but returns numbers (height, width, channels) of the picture's type, whatever it is.

        NaN, infinities and the file's "no data" value stay in place, each as a square of `scale` pixels a side. The
        network sees their nearest neighbours instead.
        """
        height, width, channels = pixels.values.shape
        large = np.empty((height * self.scale, width * self.scale, channels), pixels.values.dtype)
        for top, left, values in self._tiles(pixels, advance):
            large[top : top + values.shape[0], left : left + values.shape[1]] = values
        return large

    def _tiles(self, pixels: Pixels, advance: Callable[[int], None] | None) -> Iterator[tuple[int, int, Samples]]:
        """The enlarged tiles: top, left, and the numbers."""
        kind: Any = pixels.values.dtype
        low, high, _ = pixels.ends()
        span = (high - low) or 1.0
        usable = None if kind == np.uint8 else pixels.usable()
        source = pixels.values if usable is None else _filled(pixels.values[..., 0], usable)[..., None]
        least, most = (-np.inf, np.inf) if kind.kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
        if kind == np.uint16:
            most = pixels.white
        # Samples of 32 bits are exact in float64 only.
        exact: Any = np.float32 if kind.itemsize < 4 else np.float64
        for (top, left, bottom, right), block in tiles(source, TILE):
            shares: Any = (block.astype(exact) - exact(low)) / exact(span)
            large: Any = self._channels(pixels.mode, shares.astype(np.float32)).astype(exact, copy=False)
            large *= exact(span)
            large += exact(low)
            if kind.kind != "f":
                np.rint(large, out=large)
            np.clip(large, least, most, out=large)
            values = large.astype(kind)
            if pixels.empty is not None and kind.kind != "f":  # a computed number must not mean "no data" by accident
                values[values == pixels.empty] += kind.type(1 if pixels.empty < most else -1)
            if usable is not None:
                here = np.s_[top:bottom, left:right]
                wrong = np.kron(~usable[here], np.ones((self.scale, self.scale), bool))
                kept = np.kron(pixels.values[here][..., 0], np.ones((self.scale, self.scale), kind))
                values[wrong, 0] = kept[wrong]
            yield top * self.scale, left * self.scale, values
            if advance is not None:
                advance((bottom - top) * (right - left))

    def _channels(self, mode: str, block: Values) -> Values:
        if mode == "CMYK":  # each of the four inks as a luminance
            inks = [self.enlarged(block[..., at : at + 1], GREY) for at in range(4)]
            return np.concatenate(inks, axis=-1)
        return self.enlarged(block, LUMINANCE if mode in ("RGB", "RGBA") else GREY)


def holds(kind: np.dtype[Any]) -> bool:
    """Whether Pillow has a mode for numbers of this type."""
    return kind in (np.uint8, np.uint16, np.float32)


def _filled(values: Samples, usable: npt.NDArray[np.bool_]) -> Samples:
    """Replace unusable numbers by the next usable one to the left, or else to the right.

    A row without usable numbers becomes the row above it, or else below it.
    """
    if not usable.any():
        return np.zeros_like(values)
    filled = _carried(values, usable)
    rows = usable.any(1)
    return _carried(filled.T, np.broadcast_to(rows, filled.T.shape)).T


def _carried(values: Samples, usable: npt.NDArray[np.bool_]) -> Samples:
    """Carry usable numbers to the right along each row. Numbers before the first usable one become that one."""
    at = np.where(usable, np.arange(usable.shape[1]), -1)
    at = np.maximum.accumulate(at, axis=1)
    at = np.where(at < 0, usable.argmax(1)[:, None], at)
    return np.asarray(np.take_along_axis(values, at, 1))


def tiles(image: Samples, side: int | None) -> Iterator[tuple[tuple[int, int, int, int], Samples]]:
    """Boxes (top, left, bottom, right) that cover the image, each with its pixels and `MARGIN` more on every side.

    Beyond the edge of the image, its last pixels repeat.
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
