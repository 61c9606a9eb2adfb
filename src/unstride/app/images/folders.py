"""Folders of images: listed, read, and divided into training, validation and test."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from ..._messages.wording import counted
from ...data import DataError
from .reader import FORMATS

Result = TypeVar("Result")


def listing(folder: str | os.PathLike[str], what: str) -> list[Path]:
    """The image files in a folder, sorted by name, without hidden ones. `what` names them in the error message."""
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}; expected one of {what}")
    endings = {ending for ending, format in Image.registered_extensions().items() if format in FORMATS}
    endings |= {".heic", ".heif"}  # so that they are refused with a message, not ignored
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in endings and path.name[0] != ".")


def gather(paths: list[Path], read: Callable[[Path], Result]) -> tuple[list[tuple[Path, Result]], list[str]]:
    """The results of `read` with their paths, and the messages of its errors."""
    results, problems = [], []
    for path in paths:
        try:
            results.append((path, read(path)))
        except DataError as error:
            problems.append(str(error))
    return results, problems


def folded(remarks: Sequence[str], most: int = 3) -> list[str]:
    """Remarks on many files. If more than `most` files have the same one, they share a line.

    >>> folded(["a.tif: has 2 pages", "b.tif: has 2 pages", "c.tif: is dark"], most=1)
    ['a.tif and 1 more: has 2 pages', 'c.tif: is dark']
    """
    parts = [remark.partition(": ") for remark in remarks]
    counts = Counter(said for _, _, said in parts)
    lines = []
    for name, _, said in parts:
        if 0 < counts[said] <= most:
            lines.append(f"{name}: {said}")
        elif count := counts.pop(said, 0):
            lines.append(f"{name} and {count - 1} more: {said}")
    return lines


def enough(folder: str | os.PathLike[str], count: int, problems: list[str]) -> None:
    """Refuse a folder with fewer than three images: one each for training, validation and test."""
    if count < 3:
        say = counted(count, "usable image")
        why = f" ({'; '.join(problems)})" if problems else ""
        raise DataError(f"{folder}: {say}; expected at least 3, one each for training, validation and test{why}")


def divided(count: int, share: float) -> tuple[slice, slice, slice]:
    """The ranges of training, validation and test. The last two each get `share` of `count`, and at least one."""
    held = max(1, min(round(count * share), (count - 1) // 2))
    return slice(0, count - 2 * held), slice(count - 2 * held, count - held), slice(count - held, count)
