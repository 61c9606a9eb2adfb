"""Image files of the user's own: opened whole, or refused in words; and folders of them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from PIL import Image, ImageOps, UnidentifiedImageError

from .data import DataError
from .images import ImageError

Made = TypeVar("Made")


def opened(path: str | os.PathLike[str]) -> Image.Image:
    """The picture, read whole and turned as its EXIF orientation says, in its own mode.

    Raises
    ------
    ImageError
        If it is no image, a damaged one, or an animation, and says which.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        with warnings.catch_warnings():
            # A picture so large that Pillow suspects an attack; what it is sure about, it raises.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
            with image:
                if getattr(image, "n_frames", 1) > 1:
                    frames = getattr(image, "n_frames", 1)
                    raise ImageError(f"{path}: an animation or a file of {frames} pages; expected a single picture")
                image.load()
                turned = ImageOps.exif_transpose(image)
                return turned if turned is not image else image.copy()
    except UnidentifiedImageError:
        raise ImageError(f"{path}: not an image that Pillow can read") from None
    except ImageError:
        raise
    # Pillow's decoders raise many kinds at damaged files.
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: a damaged image ({error})") from error


def photograph(path: Path) -> Image.Image:
    """A picture to learn from, in mode RGB or L; transparency is laid on white."""
    image = opened(path)
    if image.mode == "CMYK":
        raise ImageError(f"{path}: in CMYK, whose colours depend on a printer's profile; convert it to RGB first")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        white = Image.new("RGBA", colours.size, "white")
        return Image.alpha_composite(white, colours).convert("RGB")
    if image.mode.startswith("I;16"):
        return image.point(lambda value: value / 256, "L") if image.mode == "I;16" else image.convert("L")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def listing(folder: str | os.PathLike[str], what: str) -> list[Path]:
    """The image files of a folder by name, hidden ones aside; `what` says what they are to be."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}; expected one of {what}")
    endings = set(Image.registered_extensions())
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in endings and path.name[0] != ".")


def gather(paths: list[Path], read: Callable[[Path], Made]) -> tuple[list[tuple[Path, Made]], list[str]]:
    """What `read` makes of each, and what it said of those that it refused."""
    made, problems = [], []
    for path in paths:
        try:
            made.append((path, read(path)))
        except DataError as error:
            problems.append(str(error))
    return made, problems


def enough(folder: str | os.PathLike[str], found: int, problems: list[str]) -> None:
    """Refuse a folder without an image each for training, validation and test."""
    if found < 3:
        say = f"{found} usable image{'' if found == 1 else 's'}"
        why = f" ({'; '.join(problems)})" if problems else ""
        raise DataError(f"{folder}: {say}; expected at least 3, one each for training, validation and test{why}")


def divided(count: int, share: float) -> tuple[slice, slice, slice]:
    """Training, then validation, then test, which have `share` of `count` each, and at least one."""
    held = max(1, min(round(count * share), (count - 1) // 2))
    return slice(0, count - 2 * held), slice(count - 2 * held, count - held), slice(count - held, count)
