"""Pictures of the user's own as MNIST has them: 28x28, light on dark."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from .data import SIDE, DataError

Bytes = npt.NDArray[np.uint8]


class ImageError(DataError):
    """A file that is no image, or a damaged one. The message names it."""


def read(path: str | os.PathLike[str]) -> Bytes:
    """The picture in any file that Pillow reads, as a 28x28 array of uint8.

    In this order it is turned as its EXIF orientation says; laid on white where it is transparent; made grey;
    inverted if it is dark on light, which it is if the median of its border is lighter than the mean of what
    the border surrounds; darkened until that median is black, as paper in a photograph is not; shrunk (or
    enlarged) to fit, its proportions kept, and centred on black.

    Raises
    ------
    ImageError
        If the file is not an image, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        with warnings.catch_warnings():
            # A picture so large that Pillow suspects an attack; what it is sure about, it raises.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return convert(image)
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not an image that Pillow can read") from None
    # Pillow's decoders raise many kinds at damaged files.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: a damaged image ({error})") from error


def convert(image: Image.Image) -> Bytes:
    """An opened picture as `read` returns it."""
    grey = _grey(ImageOps.exif_transpose(image))
    values = np.asarray(grey)
    edge = max(1, min(values.shape) // 16)
    inner = values[edge:-edge, edge:-edge]
    border = np.ones(values.shape, bool)
    border[edge:-edge, edge:-edge] = False
    background = float(np.median(values[border]))
    if background > (inner if inner.size else values).mean():
        grey = ImageOps.invert(grey)
        background = 255 - background
    # White stays white.
    grey = grey.point([round(max(0.0, level - background) * 255 / max(1.0, 255 - background)) for level in range(256)])
    scale = SIDE / max(grey.size)
    size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
    canvas = Image.new("L", (SIDE, SIDE), 0)
    small = grey.resize(size, Image.Resampling.LANCZOS)
    canvas.paste(small, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.array(canvas)


def _grey(image: Image.Image) -> Image.Image:
    """In mode L, over white."""
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow cuts these off at 255. Integers are 16-bit greys; fractions have no fixed range.
        values = np.asarray(image, np.float64)
        low, high = (0.0, 65535.0) if image.mode.startswith("I") else (float(values.min()), float(values.max()))
        scaled = (values - low) / ((high - low) or 1.0) * 255
        return Image.fromarray(np.round(scaled.clip(0, 255)).astype(np.uint8))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        return Image.alpha_composite(white, colours).convert("L")
    return image.convert("L")
