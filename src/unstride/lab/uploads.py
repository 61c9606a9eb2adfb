"""Pictures that visitors bring: opened by the same reader as the command line's, and made small enough to be shown."""

from __future__ import annotations

from PIL import Image

from ..app.images.files import ImageError, Upload
from ..app.images.files import opened as read
from ..app.images.pixels import PixelError, Pixels

MOST = 60_000_000
"""Pixels of a picture that is opened at all: about what the largest cameras make."""


def opened(name: str, content: bytes, side: int | None = None) -> tuple[Image.Image, str]:
    """The picture in a file's bytes, in mode RGB, and what was done to it, "" if nothing.

    It is what `unstride.app.images.files.rgb` reads, made smaller where its longer side has more than `side` pixels.

    Raises
    ------
    ImageError
        If it is no picture, a damaged one, or too large. The message begins with the file's name.
    """
    said: list[str] = []
    sizes: list[tuple[int, int]] = []

    def check(size: tuple[int, int]) -> None:
        width, height = size
        sizes.append(size)
        if width * height > MOST:
            raise ImageError(
                f"{name}: {width}×{height} pixels; expected at most {MOST // 1_000_000} million. "
                "For a picture of that size use the command line, which works through it in tiles"
            )

    image, kind = read(Upload(name, content), said.append, check=check, side=side)
    try:
        pixels = Pixels.of(image, kind)
    except PixelError as error:
        raise ImageError(f"{name}: {error}; convert it to RGB first") from error
    said = [text.removeprefix(f"{name}: ") for text in said] + [text for text in (pixels.remark(),) if text]
    picture = Image.fromarray(pixels.rgb())
    if side is not None and max(sizes[0]) > side:
        picture.thumbnail((side, side), Image.Resampling.BICUBIC)
        width, height = sizes[0]
        if (width > height) != (picture.width > picture.height):  # turned
            width, height = height, width
        said.append(f"made smaller, from {width}×{height} to {picture.width}×{picture.height}")
    return picture, "; ".join(said)
