"""Opens uploaded pictures with the reader of the command line, and reduces them to a size that a page can show."""

from __future__ import annotations

from PIL import Image

from ..app.images.reader import ImageError, Upload, rgb

MAX_PIXELS = 60_000_000
"""The largest picture that is opened, about that of the largest cameras."""


def opened(name: str, content: bytes, side: int | None = None) -> tuple[Image.Image, str]:
    """The picture in a file's bytes, in mode RGB, and notes on it, "" if there are none.

    `unstride.app.images.reader.rgb` reads it. If its longer side has more than `side` pixels, it is reduced.

    Raises
    ------
    ImageError
        It is not a picture, or is damaged or too large. The message begins with the file's name.
    """
    remarks: list[str] = []
    original: tuple[int, int] = (0, 0)

    def check(size: tuple[int, int]) -> None:
        nonlocal original
        original = width, height = size
        if width * height > MAX_PIXELS:
            raise ImageError(
                f"{name}: {width}×{height} pixels; expected at most {MAX_PIXELS // 1_000_000} million. "
                "For a picture of that size use the command line, which works through it in tiles"
            )

    picture = Image.fromarray(rgb(Upload(name, content), remarks.append, check=check, side=side))
    remarks = [text.removeprefix(f"{name}: ") for text in remarks]
    if side is not None and max(original) > side:
        picture.thumbnail((side, side), Image.Resampling.BICUBIC)
        width, height = original
        if (width > height) != (picture.width > picture.height):  # turned by its EXIF orientation
            width, height = height, width
        remarks.append(f"made smaller, from {width}×{height} to {picture.width}×{picture.height}")
    return picture, "; ".join(remarks)
