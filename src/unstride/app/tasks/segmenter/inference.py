"""Segmentation on NumPy arrays, without Keras: the U-Net, its metrics, and class maps as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from ....data import Bytes, Doubles, Values
from ....ops import conv, conv_transpose
from ...weights import ExportedModel

VOID = 255
"""The class of pixels that do not count, as in PASCAL VOC's masks."""
LEAST = 30
"""The smallest connected region for which a class is listed, in pixels: fewer than any digit has."""


def palette(count: int = 256) -> Bytes:
    """PASCAL VOC's colours, (count, 3): the bits of the class become, in turn, the highest bits of red, green and blue.

    >>> palette(4).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    numbers = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def logits(exported: ExportedModel, image: Values) -> Values:
    """The logits (height, width, classes) of an image (height, width, 3) from 0 to 1, of any size."""
    x, skips = image[None], []
    levels = int(exported.about["levels"])
    for level in range(levels):
        x = _twice(exported, x, f"down_{level}")
        if level < levels - 1:
            skips.append(x)
            x = _halved(x)
    for level in reversed(range(levels - 1)):
        skip = skips.pop()
        x = conv_transpose(x, *exported.layer(f"double_{level}"), stride=2)
        x = np.concatenate([x[:, : skip.shape[1], : skip.shape[2]], skip], axis=-1)
        x = _twice(exported, x, f"up_{level}")
    y: Values = conv(x, *exported.layer("logits"))[0]
    return y


def _twice(exported: ExportedModel, x: Values, name: str) -> Values:
    for number in (1, 2):
        x = conv(x, *exported.layer(f"{name}_{number}"), padding=1, activation="relu")
    return x


def _halved(x: Values) -> Values:
    """The maximum of each 2x2 block. An odd last row or column is kept."""
    _, height, width, _ = x.shape
    if height % 2 or width % 2:  # zeros change no maximum, as nothing is negative after a ReLU
        x = np.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    return np.maximum(
        np.maximum(x[:, ::2, ::2], x[:, 1::2, ::2]),
        np.maximum(x[:, ::2, 1::2], x[:, 1::2, 1::2]),
    )


def classes(exported: ExportedModel, image: Bytes) -> Bytes:
    """The class of every pixel of an image of uint8, (height, width, 3)."""
    return np.asarray(logits(exported, np.divide(image, 255, dtype=np.float32)).argmax(-1), np.uint8)


def confusion(mask: Bytes, predicted: Bytes, count: int) -> npt.NDArray[np.int64]:
    """The number of pixels of each true class (row) by predicted class (column), without those of class VOID."""
    counted = mask != VOID
    pairs = mask[counted].astype(np.int64) * count + predicted[counted]
    return np.bincount(pairs, minlength=count**2).reshape(count, count)


def ious(confusion: npt.NDArray[np.int64]) -> Doubles:
    """The intersection over union of each class; NaN for a class that is neither true nor predicted anywhere."""
    both = np.diag(confusion)
    either = confusion.sum(0) + confusion.sum(1) - both
    return np.asarray(np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0))


def as_palette(class_map: Bytes) -> Image.Image:
    """A class map as an image in mode P, with VOC's colours."""
    image = Image.fromarray(class_map)  # in mode L, whose bytes are those of mode P
    image = image.convert("L")
    image.putpalette(palette().tobytes())
    return image


def present(class_map: Bytes, least: int = LEAST, background: int = 0) -> list[int]:
    """The classes, except the background, with a connected region of at least `least` pixels.

    >>> class_map = np.zeros((8, 8), np.uint8)
    >>> class_map[1:5, 1:5], class_map[7, 7] = 2, 3
    >>> present(class_map, least=10), present(class_map, least=1)
    ([2], [2, 3])
    """
    return [at for at, size in sizes(class_map, background).items() if size >= least]


def sizes(class_map: Bytes, background: int = 0) -> dict[int, int]:
    """The size in pixels of each class's largest connected region, except the background's.

    >>> sizes(np.array([[1, 1, 0], [2, 0, 1]], np.uint8))
    {1: 3, 2: 1}
    """
    from scipy import ndimage  # type: ignore[import-untyped]

    classes = [int(at) for at in np.unique(class_map) if at not in (background, VOID)]
    eight = np.ones((3, 3), bool)  # with diagonal neighbours
    return {at: int(np.bincount(ndimage.label(class_map == at, eight)[0].ravel())[1:].max()) for at in classes}


def only(class_map: Bytes, classes: Sequence[int], background: int = 0) -> Bytes:
    """The class map with these classes only. All other pixels become background."""
    return np.where(np.isin(class_map, classes), class_map, np.uint8(background)).astype(np.uint8)


def noun(names: Sequence[str]) -> str:
    """The word for a network's classes: "digits" if they are the ten digits, otherwise "classes"."""
    return "digits" if tuple(names[1:]) == tuple("0123456789") else "classes"


def overlay(
    image: Bytes, class_map: Bytes, names: Sequence[str], background: int | None = 0, none: str | None = None
) -> Image.Image:
    """The greyed image in the colours of its classes, with a legend on the right.

    `none` is the legend if there are no classes. Default: "no digits found" or "no classes found".
    """
    picture = Image.fromarray(tinted(image, class_map, background))
    scale = max(1, round(320 / max(picture.size)))
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    shown = [int(at) for at in np.unique(class_map) if at != background]
    named = [names[at] if at < len(names) else f"class {at}" for at in shown]
    words = [noun(names), *named] if shown else [none or f"no {noun(names)} found"]
    size = max(14, min(picture.height // 16, 40))
    font = ImageFont.load_default(size)
    line, margin = round(size * 1.6), size
    width = max(round(font.getlength(word)) for word in words) + 3 * margin
    page = Image.new("RGB", (picture.width + width, max(picture.height, line * len(words) + margin)), "white")
    page.paste(picture, (0, 0))
    draw = ImageDraw.Draw(page)
    left = picture.width + margin // 2
    draw.text((left, margin // 2), words[0], fill="black", font=font)
    for number, (at, word) in enumerate(zip(shown, named, strict=True), start=1):
        top = margin // 2 + number * line
        box = (left, top + line // 6, left + size, top + line // 6 + size)
        draw.rectangle(box, fill=tuple(int(c) for c in BRIGHT[at % len(BRIGHT)]))
        draw.text((left + round(size * 1.5), top), word, fill="black", font=font)
    return page


def tinted(image: Bytes, class_map: Bytes, background: int | None = 0) -> Bytes:
    """The greyed image in the colours of its classes."""
    grey = image.mean(-1, keepdims=True)
    coloured = 0.35 * grey + 0.65 * BRIGHT[class_map % len(BRIGHT)]
    shown = np.where((class_map == background)[..., None], 0.75 * grey + 0.25 * image, coloured)
    return np.asarray(shown.round(), np.uint8)


def coloured(classes: Bytes) -> Bytes:
    """A class map in the overlay's colours, with a dark background and white for VOID."""
    colours = BRIGHT[classes % len(BRIGHT)]
    colours = np.where((classes == 0)[..., None], 40, colours)
    return np.where((classes == VOID)[..., None], 255, colours).astype(np.uint8)


def wrong_pixels(image: Bytes, mask: Bytes, predicted: Bytes) -> Bytes:
    """The image darkened, with the pixels in red whose class is wrong."""
    wrong = (mask != predicted) & (mask != VOID)
    return np.where(wrong[..., None], [220, 40, 40], image * 0.35).astype(np.uint8)


def _bright() -> Bytes:
    """Colours that can be distinguished on a greyed photograph, for which VOC's are too dark. Class 0 is grey."""
    import colorsys

    colours = [(160, 160, 160)]
    for number in range(40):
        hue = number * 0.618034 % 1
        value, saturation = ((1.0, 0.85), (0.8, 1.0), (1.0, 0.5))[number % 3]
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
        colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return np.array(colours, np.uint8)


BRIGHT = _bright()
