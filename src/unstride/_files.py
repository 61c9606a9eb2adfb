"""The only place that writes files: whole or not at all, with the ending of their format, and never over an input.

It needs only the standard library.
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
    """A file to write has an illegal name. The message names the argument or option."""


def write(path: Path, fill: Callable[[Path], object], *, durable: bool = True) -> None:
    """Let `fill` write a temporary file in the folder of `path`, then replace `path` by it in one step.

    Even after a kill or with a full disk, `path` holds all of the old content or all of the new. A replaced file keeps
    its permissions. If `path` is a link, its target is replaced.

    Parameters
    ----------
    path : Path
    fill : callable
        It gets the temporary file's name, which has the same ending: Keras and Pillow choose a format by it. No two
        calls share a name.
    durable : bool
        Wait until the disk has the content, so that a power cut leaves no empty file.

    Raises
    ------
    OSError
        The error names `path`, not the temporary file.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError(f"{path}: not a regular file, so it cannot be replaced")
    # The stem and the suffix are cut, because a name of the file system's maximum length would become too long.
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
    """Write text as UTF-8. Bytes of a file name that cannot be decoded become escapes such as \\udcff."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"), durable=durable)


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")


def sweep(folder: Path) -> None:
    """Remove the temporary files of `write` calls whose process was killed."""
    for temporary in folder.glob(".*.tmp*"):
        temporary.unlink(missing_ok=True)


def check_ending(name: PathLike, endings: Sequence[str], what: str, argument: str = "path") -> None:
    """Raise a FileNameError for a file name that is empty or has the wrong ending.

    Parameters
    ----------
    name : str or path
    endings : sequence of str
        The allowed endings in lower case, for example (".html", ".htm").
    what : str
        The content of the file for the message, for example "an SVG drawing".
    argument : str
        The user's name for the argument, for example "--svg".

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
    """Raise a FileNameError if one file would be written twice, or an input file would be overwritten.

    Two names are the same file if they are equal once links are followed, or if the file system says so: hard links,
    and names that differ in case where case does not matter.

    Raises
    ------
    FileNameError
        The message names both.
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
        status = Path(path).stat()
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


def _or(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
