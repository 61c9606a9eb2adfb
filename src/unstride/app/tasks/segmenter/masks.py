"""Reads a folder of images with masks, the class of every pixel, in the layout of PASCAL VOC.

The images are in FOLDER/images and the masks in FOLDER/masks, or in VOC's JPEGImages and SegmentationClass. A mask has
the name of its image with the ending .png. Its grey values or palette indices are the classes; colours are looked up
in VOC's palette. Pixels with 255 have no class and do not count. FOLDER/classes.txt may name the classes, one a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....data import Bytes, DataError, Pair
from ...images.folders import gather, listing
from ...images.reader import ImageError, Remark, opened, rgb
from .inference import VOID, palette

FOLDERS = (("images", "masks"), ("JPEGImages", "SegmentationClass"))


@dataclass(frozen=True)
class Labelled:
    """Images (height, width, 3) with masks (height, width), and the names of the classes."""

    pairs: list[Pair]
    names: tuple[str, ...]
    problems: list[str]
    remarks: list[str]


def read(folder: str) -> Labelled:
    """All pairs in the folder, the problems of those left out, and remarks on the others."""
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}; expected images and masks")
    for images, masks in FOLDERS:
        if (root / images).is_dir() and (root / masks).is_dir():
            break
    else:
        raise DataError(
            f"{root}: expected the folders images and masks in it, or JPEGImages and SegmentationClass, as VOC has them"
        )
    paths = listing(root / images, "images")
    if images == "JPEGImages":  # VOC has masks for some of its images only
        paths = [path for path in paths if (root / masks / f"{path.stem}.png").is_file()]
    remarks: list[str] = []
    pictures, problems = gather(paths, lambda path: _pair(path, root / masks / f"{path.stem}.png", remarks.append))
    pairs = [pair for _, pair in pictures]
    count = max((int(mask[mask != VOID].max(initial=0)) for _, mask in pairs), default=0) + 1
    names = _names(root / "classes.txt", count)
    return Labelled(pairs, names, problems, remarks)


def _pair(path: Path, mask: Path, remark: Remark) -> Pair:
    image = rgb(path, remark)
    if not mask.is_file():
        raise ImageError(f"{path}: no mask: there is no {mask}")
    classes = mask_of(mask)
    if classes.shape != image.shape[:2]:
        (height, width), (rows, columns) = classes.shape, image.shape[:2]
        raise ImageError(f"{mask}: {width}x{height} pixels, but its image {path.name} has {columns}x{rows}")
    return image, classes


def mask_of(path: Path) -> Bytes:
    """The classes in a mask file."""
    image, _ = opened(path)
    if image.mode in ("P", "L", "1") or image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > VOID:
            raise ImageError(
                f"{path}: a mask with numbers from {values.min()} to {values.max()}; expected classes from 0 to {VOID}"
            )
        return values.astype(np.uint8)
    if image.mode not in ("RGB", "RGBA"):
        raise ImageError(f"{path}: a mask in mode {image.mode}; expected a palette, grey or colour PNG")
    colours = np.asarray(image.convert("RGB")).astype(np.int64)
    codes = colours @ [1 << 16, 1 << 8, 1]
    known = palette().astype(np.int64) @ [1 << 16, 1 << 8, 1]
    order = np.argsort(known)
    at = order[np.searchsorted(known[order], codes).clip(0, 255)]
    strange = known[at] != codes
    if strange.any():
        y, x = (int(at[0]) for at in np.nonzero(strange))
        red, green, blue = colours[y, x]
        raise ImageError(
            f"{path}: the colour ({red}, {green}, {blue}) at x {x}, y {y} is not in VOC's palette; "
            "expected its colours, or a palette PNG, whose indices are the classes"
        )
    return np.asarray(at, np.uint8)


def _names(path: Path, count: int) -> tuple[str, ...]:
    if not path.is_file():
        return ("background", *(f"class {number}" for number in range(1, count)))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) < count:
        raise DataError(f"{path}: {len(names)} names, but the masks have classes up to {count - 1}")
    return names
