"""The one reader of image files, for all commands and the lab.

If a file has several pages, frames or pictures, the first is read, and a remark says so. For the meaning of the numbers
see `unstride.app.images.pixels`.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ...data import Bytes, DataError
from .pixels import Kind, PixelError, Pixels

Remark = Callable[[str], object]
"""Called with a note on a file that can be read: a line that begins with the file's name."""

FORMATS = (
    "PNG", "JPEG", "MPO", "JPEG2000", "GIF", "TIFF", "WEBP", "AVIF", "BMP", "DIB", "PPM", "TGA", "PCX", "DCX", "ICO",
    "CUR", "ICNS", "QOI", "SGI", "SUN", "MSP", "XBM", "XPM", "DDS", "PSD", "IM",
)  # fmt: skip
"""Accepted formats. Others that Pillow knows start a program (EPS) or are no pictures (PDF, HDF5, MPEG)."""
PARTS = {"TIFF": "pages", "DCX": "pages", "MPO": "pictures"}
"""The parts of a file by format; all others have frames."""

LIMIT = "UNSTRIDE_MAX_PIXELS"
MAX_PIXELS = 200_000_000
"""The largest picture that is opened, unless the environment variable says otherwise."""

_opening = threading.Lock()


class ImageError(DataError):
    """A file is not an image, is damaged, or is too large. The message names it."""


class Upload(NamedTuple):
    """A file received over the network."""

    name: str
    content: bytes


Source = str | os.PathLike[str] | Upload


def pixels(
    source: Source,
    remark: Remark | None = None,
    *,
    check: Callable[[tuple[int, int]], None] | None = None,
    side: int | None = None,
) -> Pixels:
    """The picture in a file, its numbers unchanged.

    Parameters
    ----------
    source : path or Upload
    remark : callable, optional
        Called with a line if the file has several pictures, or if only the upper bits of its samples are read.
    check, side
        See `opened`.

    Raises
    ------
    ImageError
        The file is not a picture, or is damaged, empty or too large. The message says what to do.
    """
    image, kind = opened(source, remark, check=check, side=side)
    try:
        return Pixels.of(image, kind)
    except PixelError as error:
        raise ImageError(f"{name_of(source)}: {error}; convert it to RGB first") from error


def rgb(source: Source, remark: Remark | None = None, **limits: Any) -> Bytes:
    """The picture in a file as it looks, (height, width, 3). Arguments and errors are those of `pixels`."""
    return _shown(source, remark, **limits).rgb()


def grey(source: Source, remark: Remark | None = None) -> Bytes:
    """The luminance of `rgb`, (height, width)."""
    return _shown(source, remark).grey()


def photograph(source: Source, remark: Remark | None = None) -> Image.Image:
    """The picture as it looks, in mode RGB, or in mode L if it is grey."""
    picture = _shown(source, remark)
    return Image.fromarray(picture.grey() if picture.mode == "L" else picture.rgb())


def _shown(source: Source, remark: Remark | None, **limits: Any) -> Pixels:
    """The picture, with a remark on how its numbers are shown."""
    picture = pixels(source, remark, **limits)
    if remark is not None and (said := picture.remark()):
        remark(f"{name_of(source)}: {said}")
    return picture


def opened(
    source: Source,
    remark: Remark | None = None,
    *,
    check: Callable[[tuple[int, int]], None] | None = None,
    side: int | None = None,
) -> tuple[Image.Image, Kind]:
    """The decoded picture, turned by its EXIF orientation, in Pillow's mode; and what the mode does not say.

    Parameters
    ----------
    source, remark
        As those of `pixels`.
    check : callable, optional
        Called with (width, height) before anything is decoded; it may raise. Default: refuse more pixels than the
        environment variable UNSTRIDE_MAX_PIXELS allows, or 200 million.
    side : int, optional
        Decode a JPEG at a reduced size. Its longer side keeps at least this many pixels.
    """
    name = name_of(source)
    with _file(source) as file:
        try:
            image = _open(file)
            (check or (lambda size: _check_size(name, size)))(image.size)
            if side is not None:
                image.draft("RGB", (side, side))
            parts = _parts(image)
            kind, lost = _kind(image, file)
            format = image.format or ""
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about odd metadata
                image.load()
                turned = ImageOps.exif_transpose(image)
        except UnidentifiedImageError:
            raise ImageError(f"{name}: {_what_else(file)}") from None
        except ImageError:
            raise
        except MemoryError:
            raise ImageError(f"{name}: too large for this machine's memory; make it smaller first") from None
        # Pillow's decoders raise many kinds of errors on damaged files.
        except (OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError, OverflowError) as error:
            raise ImageError(f"{name}: a damaged image ({error})") from error
    if remark is not None:
        if parts > 1:
            remark(f"{name}: the first of its {parts} {PARTS.get(format, 'frames')}")
        if lost:
            remark(f"{name}: {lost}")
    return turned, kind


def name_of(source: Source) -> str:
    return source.name if isinstance(source, Upload) else os.fspath(source)


def _file(source: Source) -> BinaryIO:
    """An open file. (Given a name, Pillow maps some TIFFs into memory and ignores their orientation.)"""
    if isinstance(source, Upload):
        name: str | Path = source.name
        file: BinaryIO = io.BytesIO(source.content)
    else:
        if not os.fspath(source):
            raise ImageError("an image's name is empty; expected a file")
        name = path = Path(source)
        if not path.is_file():
            raise ImageError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
        try:
            file = path.open("rb")
        except OSError as error:
            raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    if not _head(file):
        file.close()
        raise ImageError(f"{name}: the file is empty; expected a picture, such as a PNG or a JPEG")
    return file


def _open(file: BinaryIO) -> Image.Image:
    """Open a picture of any size without decoding it."""
    Image.init()
    known = [format for format in FORMATS if format in Image.OPEN]
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # we have our own limit
        try:
            return Image.open(file, formats=known)
        finally:
            Image.MAX_IMAGE_PIXELS = most


def _check_size(name: str, size: tuple[int, int]) -> None:
    text = os.environ.get(LIMIT, "").strip().replace("_", "")
    if text and not (text.isdecimal() and int(text)):
        raise ImageError(
            f"{name}: not opened, because {LIMIT} is {text!r}; expected a number of pixels, as {MAX_PIXELS}"
        )
    most = int(text or MAX_PIXELS)
    width, height = size
    count = width * height
    if count > most:
        raise ImageError(
            f"{name}: {width}×{height} pixels, {count / 1e6:,.0f} million; expected at most {most / 1e6:,.0f} million, "
            f"so that no file fills the memory. Make it smaller, or cut it into parts; or, if you trust it and have "
            f"{8 * count / 1e9:,.1f} GB of memory to spare, set {LIMIT}={count}"
        )


def _parts(image: Image.Image) -> int:
    """The number of pictures in the file; 1 if it is unknown."""
    if image.format == "PSD":  # has layers; Pillow reads the merged picture
        return 1
    with suppress(Exception), warnings.catch_warnings():  # a damaged second picture does not matter
        warnings.simplefilter("ignore")
        return int(getattr(image, "n_frames", 1))
    return 1


def _kind(image: Image.Image, file: BinaryIO) -> tuple[Kind, str]:
    """What Pillow's mode does not say about the samples, and a remark if not all their bits are read."""
    lost = "16 bits a colour, of which Pillow reads the upper 8"
    deep = image.mode[0] in "IF"
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        bits = max(tags.get(258, (1,)))
        empty = None
        if image.mode == "L" or deep:
            with suppress(ValueError, TypeError):
                empty = float(tags[42113].strip("\0 ")) if 42113 in tags else None  # GDAL's "no data"
        kind = Kind(bits, 2 in tags.get(339, (1,)), tags.get(262) == 0 and deep, empty)
        return kind, lost if bits > 8 and not deep else ""
    if image.format == "PNG":
        head = _head(file)
        bits = head[24] if len(head) > 24 else 8
        empty = image.info.get("transparency") if image.mode.startswith("I") else None
        return Kind(bits, empty=empty if isinstance(empty, int) else None), lost if bits > 8 and not deep else ""
    if image.format == "PPM" and image.mode == "I":
        return Kind(16), ""
    return Kind(), ""


def _head(file: BinaryIO) -> bytes:
    """The first bytes. The position in the file does not change."""
    place = file.tell()
    file.seek(0)
    head = file.read(64)
    file.seek(place)
    return head


def _what_else(file: BinaryIO) -> str:
    """Why a file cannot be read as a picture, judging by its first bytes."""
    head = _head(file)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
        return "an HEIC photograph, which Pillow cannot read; export it as JPEG (telephones can take JPEGs, too)"
    if head.startswith((b"%PDF", b"%!PS", b"\xc5\xd0\xd3\xc6")) or b"<svg" in head:
        return "a drawing or document (PDF, EPS, SVG), not a picture of pixels; export it as PNG"
    if head.startswith((b"II*\0", b"MM\0*")):
        with suppress(Exception):
            return _tiff(file, head)
        return "a damaged TIFF, or one that Pillow cannot read"
    return "not an image that Pillow can read; expected one such as a PNG or a JPEG"


def _tiff(file: BinaryIO, head: bytes) -> str:
    """The type of numbers in a TIFF for which Pillow has no mode."""
    tags = ImageFileDirectory_v2(head[:8])
    file.seek(tags.next)
    tags.load(file)
    kinds = {1: "unsigned numbers", 2: "signed numbers", 3: "floats"}
    bits, kind = tags.get(258, (1,)), tags.get(339, (1,))
    order = "big-endian" if head.startswith(b"MM") else "little-endian"
    return (
        f"a TIFF of {max(bits)}-bit {order} {kinds.get(kind[0], 'numbers')}, {len(bits)} a pixel, which Pillow cannot "
        "read; save it with 8 or 16 bits, or as 32-bit floats with one number a pixel"
    )
