"""Pictures that visitors bring: opened, or refused in words."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..images import ImageError

MOST = 60_000_000
"""Pixels of a picture that is opened at all: about what the largest cameras make."""


def opened(name: str, content: bytes, side: int | None = None) -> tuple[Image.Image, str]:
    """The picture in a file's bytes, in mode RGB, and what was done to it, "" if nothing.

    It is turned as its EXIF orientation says, laid on white where it is transparent, and made smaller where it has more
    than `side` pixels along its longer side.

    Raises
    ------
    ImageError
        If it is no picture, a damaged one, or too large. The message begins with the file's name.
    """
    if not content:
        raise ImageError(f"{name}: the file is empty; expected a picture, such as a PNG or a JPEG")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is our own
            with Image.open(io.BytesIO(content)) as image:
                if image.width * image.height > MOST:
                    raise ImageError(
                        f"{name}: {image.width}×{image.height} pixels; expected at most {MOST // 1_000_000} million. "
                        "For a picture of that size use the command line, which works through it in tiles"
                    )
                size = image.size
                if side is not None:
                    image.draft("RGB", (side, side))  # of a JPEG, no more is decoded than is wanted
                image.load()
                frames = getattr(image, "n_frames", 1)
                said = [f"the first of its {frames} frames"] if frames > 1 else []
                found = _plain(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not a picture that can be read; expected one such as a PNG or a JPEG") from None
    except ImageError:
        raise
    # Pillow's decoders raise many kinds at damaged files.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name}: a damaged picture ({error})") from error
    if side is not None and max(size) > side:
        found.thumbnail((side, side), Image.Resampling.BICUBIC)
        said.append(f"made smaller, from {size[0]}×{size[1]} to {found.width}×{found.height}")
    return found, "; ".join(said)


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit greys, of which Pillow would cut off all above 255
        values = np.asarray(image, np.float64).clip(0, 65535) / 257
        return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        return Image.alpha_composite(white, colours).convert("RGB")
    return image.convert("RGB")
