"""Output of the commands: lines that fit the terminal, characters that its encoding lacks, JSON, and exit codes.

* 0: success.
* 1: some of several inputs failed, each named on the standard error; the others are done.
* 2: nothing was done: the command line is wrong, or the command failed, as one line says.
* 130: stopped by Ctrl-C, or a training by SIGTERM.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import click
from rich.console import Console

from ..._messages.wording import escaped, wrapped

EXIT_CODES = (
    "Exit codes: 0 done; 1 some of several inputs failed, the rest is done; 2 nothing is done, the mistake or failure "
    "is named; 130 stopped by Ctrl-C, or a training by SIGTERM."
)

json_option = click.option("--json", "as_json_", is_flag=True, help="Print JSON, and nothing else.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print errors only.")


def print_json(content: Any) -> None:
    """Print JSON in ASCII, which every console takes. NaN and infinity become null."""
    print(json.dumps(_plain(content), indent=2, allow_nan=False))


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _plain(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    if isinstance(content, float) and content - content != 0:
        return None
    return content


def print_text(text: str, hanging: int | None = None, keep: Collection[str] = (), file: TextIO | None = None) -> None:
    """Print text. On a terminal, long lines are broken at blanks.

    Parameters
    ----------
    text : str
    hanging : int, optional
        The column at which a broken line continues. Default: two after its indentation.
    keep : strings
        Names with blanks that must not be broken. Names on the command line never are.
    file : text stream, optional
        Default: the standard output.
    """
    stream = file or sys.stdout
    print(fitted(text, columns(stream), hanging, keep), file=stream)


def fitted(text: str, width: int | None, hanging: int | None = None, keep: Collection[str] = ()) -> str:
    """The text with its lines broken for a terminal of this width, or unchanged if the width is None."""
    if width is None:
        return text
    names = {*keep, *map(escaped, sys.argv[1:])}

    def line(text: str) -> str:
        indent = len(text) - len(text.lstrip()) + 2 if hanging is None else hanging
        return wrapped(text, width, " " * indent, names)

    return "\n".join(map(line, text.split("\n")))


def columns(stream: TextIO) -> int | None:
    """The width of a terminal; None for any other stream."""
    return Console(file=stream).width if stream.isatty() else None


def print_problem(kind: str, text: str) -> None:
    """Print an error or a note on the standard error. It may begin with a file's name and a colon."""
    name, colon, _ = text.partition(": ")
    is_file = bool(colon and re.search(r"\S[./\\]\S", name))
    print_text(f"unstride: {kind}{text}", 2, [name] if is_file else (), sys.stderr)


ASCII = str.maketrans("─━│┃┌┐└┘├┤┬┴┼×·−–→←■∙“”", "--||+++++++++x*--><#.\"\"") | {
    ord("…"): "...", ord("⌊"): "floor(", ord("⌋"): ")", ord("≤"): "<=", ord("≥"): ">=", ord("²"): "^2",
}  # fmt: skip
"""Replacements for characters of our texts that a console may lack, of the same width in tables."""


@contextmanager
def printable() -> Iterator[None]:
    """Let the standard streams replace characters that their encodings lack, so that printing never fails.

    Frames and signs are replaced as in `ASCII`; an e with an accent becomes \\xe9. Bytes of a file name that are not
    text are written unchanged where Python would do so (in the C locale), and as \\udcff elsewhere.
    """
    codecs.register_error("unstride.letters", lambda error: _replaced(error, raw=False))
    codecs.register_error("unstride.bytes", lambda error: _replaced(error, raw=True))
    changed: list[tuple[Any, str]] = []
    for stream in (sys.stdout, sys.stderr):
        errors = getattr(stream, "errors", None)
        if errors in ("strict", "surrogateescape", "backslashreplace") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="unstride.bytes" if errors == "surrogateescape" else "unstride.letters")
            changed.append((stream, errors))
    try:
        yield
    finally:
        for stream, errors in changed:
            with suppress(ValueError):  # closed meanwhile
                stream.reconfigure(errors=errors)


def _replaced(error: UnicodeError, raw: bool) -> tuple[str | bytes, int]:
    """The replacement for the first character that cannot be encoded. `raw` turns surrogates back into bytes."""
    assert isinstance(error, UnicodeEncodeError)
    letter = error.object[error.start]
    if raw and "\udc80" <= letter <= "\udcff":
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    return letter.translate(ASCII).encode("ascii", "backslashreplace").decode(), error.start + 1


def exit_code(failed: int, count: int) -> int:
    """The exit code of a command of whose `count` inputs some failed."""
    return 0 if not failed else 2 if failed == count else 1
