"""Files are written here alone: whole or not at all, under names that end as their formats do, never over an input.

Needs the standard library only.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

PathLike = str | os.PathLike[str]


class FileNameError(ValueError):
    """A file to write has a name that it cannot have. The message names the argument or option."""


def write(path: Path, fill: Callable[[Path], object], *, durable: bool = True) -> None:
    """Let `fill` write a temporary file in the folder of `path`, then put it in the place of `path` in one step.

    Whatever happens meanwhile, a kill or a full disk, `path` holds all of the old content or all of the new. A file
    that is replaced keeps its permissions; through a link, its target is replaced.

    Parameters
    ----------
    path : Path
    fill : callable
        Is given the temporary file's name, which has the same ending: Keras and Pillow choose a format by it. No two
        calls share a name.
    durable : bool
        Wait until the disk has the content, so that a power cut leaves no empty file.

    Raises
    ------
    OSError
        It names `path`, not the temporary file.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(f"{path}: not a regular file, so it cannot be replaced")
    # Cut, because the longest name that a file system takes would become too long.
    temporary = target.with_name(f".{target.stem[:32]}.{os.getpid()}-{secrets.token_hex(4)}.tmp{target.suffix[:32]}")
    try:
        fill(temporary)
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        if target.exists():
            with suppress(OSError):  # file systems without permissions
                shutil.copymode(target, temporary)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno is None:
            raise
        # The error of a write names no file, and the temporary one is not what the user asked for.
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes, *, durable: bool = True) -> None:
    write(path, lambda temporary: temporary.write_bytes(content), durable=durable)


def write_text(path: Path, content: str, *, durable: bool = True) -> None:
    """As UTF-8. Bytes of a file's name that are no text in any encoding become escapes, as \\udcff."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"), durable=durable)


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")


def sweep(folder: Path) -> None:
    """Remove the temporary files of calls of `write` whose process was killed."""
    for temporary in folder.glob(".*.tmp*"):
        temporary.unlink(missing_ok=True)


def check_ending(name: PathLike, endings: Sequence[str], what: str, argument: str = "path") -> None:
    """Refuse a file name that is empty or does not end as its format does.

    Parameters
    ----------
    name : str or path
    endings : sequence of str
        The ones to choose from, in lower case, as (".html", ".htm").
    what : str
        What the file is to hold, for the message, as "an SVG drawing".
    argument : str
        What the user calls it, as "--svg".

    >>> check_ending("figure.SVG", [".svg"], "an SVG drawing")
    >>> check_ending("figure.png", [".svg"], "an SVG drawing", "--svg")
    Traceback (most recent call last):
    ...
    unstride._files.FileNameError: --svg figure.png: it would hold an SVG drawing; expected a name that ends with .svg
    """
    text = os.fspath(name)
    if not text:
        raise FileNameError(f"{argument} is empty; expected a file's name")
    if Path(text).suffix.lower() not in endings:
        raise FileNameError(f"{argument} {text}: it would hold {what}; expected a name that ends with {_or(endings)}")


def check_apart(targets: Iterable[PathLike], inputs: Iterable[PathLike], argument: str = "-o") -> None:
    """Refuse to write one file twice, or over a file that is read.

    Two names are one file where they are equal once links are followed, or where the file system says so: hard links,
    and names that differ in case where case does not matter.

    Raises
    ------
    FileNameError
        It names both.
    """
    read = {_place(path): os.fspath(path) for path in inputs}
    identities = {identity: name for name in read.values() if (identity := _identity(name)) is not None}
    written: set[str | tuple[int, int] | None] = set()
    for target in targets:
        name = os.fspath(target)
        place, identity = _place(target), _identity(target)
        if place in read or identity in identities:
            source = read.get(place) or identities[identity]  # type: ignore[index]
            same = "an input" if source == name else f"the same file as {source}, an input"
            raise FileNameError(f"{argument}: {name} is {same}; nothing was written. Expected another name or folder")
        if place in written or identity in written - {None}:
            raise FileNameError(f"{argument}: {name} would be written twice; expected names that differ")
        written |= {place, identity}


def _place(path: PathLike) -> str:
    return os.path.normcase(os.path.realpath(path))


def _identity(path: PathLike) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if found.st_ino else None


def _or(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
