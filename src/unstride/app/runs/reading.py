"""Reads the small files of a run, which may be damaged in any way. Needs the standard library only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..._messages.wording import escaped

MAX_TEXT_BYTES = 2**24
"""The longest text file of a run. We write none that is longer."""


def content(path: Path) -> bytes:
    """The bytes of a file. Anything may have its name."""
    if path.exists() and not path.is_file():  # opening a pipe would wait for a writer
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        text = file.read(MAX_TEXT_BYTES + 1)
    if len(text) > MAX_TEXT_BYTES:
        raise ValueError(f"more than {MAX_TEXT_BYTES:,} bytes")
    return text


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file of JSON.

    Raises
    ------
    ValueError
        The file is not JSON, or not an object.
    OSError
        The file cannot be read.
    """
    try:
        value = json.loads(content(path))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"{type(value).__name__} instead of an object")  # noqa: TRY004 - a file's content
    return value


def why(error: BaseException) -> str:
    """An error's message as a short line, for a message that names the file."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, KeyError):
        text = f"it has no {text}"
    line = escaped(" ".join(text.split())) or type(error).__name__
    return line if len(line) <= 120 else f"{line[:119]}…"


def trouble(error: BaseException) -> str:
    """What is wrong with a file, for a message that begins with its name."""
    return f"{'cannot be read' if isinstance(error, OSError) else 'is damaged'} ({why(error)})"
