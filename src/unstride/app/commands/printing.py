"""What commands print: lines that fit a terminal, letters that its encoding lacks, JSON; what exit codes mean.

Every command ends with

* 0: all is done;
* 1: of several inputs some failed, each named on the standard error; the rest is done;
* 2: nothing is done: a mistake in the command line, or a failure, named in one line;
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
    """In ASCII, so that every console takes it; numbers that JSON lacks as null."""
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
    """On a terminal each line broken at blanks; elsewhere as it is.

    Parameters
    ----------
    text : str
    hanging : int, optional
        The column where a line that is broken goes on. Default: two after its indentation.
    keep : strings
        Names with blanks, not to be broken. Those on the command line never are.
    file : text stream, optional
        Default: the standard output.
    """
    stream = file or sys.stdout
    print(fitted(text, columns(stream), hanging, keep), file=stream)


def fitted(text: str, width: int | None, hanging: int | None = None, keep: Collection[str] = ()) -> str:
    """The text as `print_text` prints it on a terminal of this width. A width of None means no terminal."""
    if width is None:
        return text
    names = {*keep, *map(escaped, sys.argv[1:])}

    def line(text: str) -> str:
        indent = len(text) - len(text.lstrip()) + 2 if hanging is None else hanging
        return wrapped(text, width, " " * indent, names)

    return "\n".join(map(line, text.split("\n")))


def columns(stream: TextIO) -> int | None:
    """The width of the terminal that this is; None if it is none."""
    return Console(file=stream).width if stream.isatty() else None


def print_problem(kind: str, text: str) -> None:
    """A line on the standard error: an error, or a note. It may begin with a file's name and a colon."""
    name, colon, _ = text.partition(": ")
    is_file = bool(colon and re.search(r"\S[./\\]\S", name))
    print_text(f"unstride: {kind}{text}", 2, [name] if is_file else (), sys.stderr)


ASCII = str.maketrans("─━│┃┌┐└┘├┤┬┴┼×·−–→←■∙“”", "--||+++++++++x*--><#.\"\"") | {
    ord("…"): "...", ord("⌊"): "floor(", ord("⌋"): ")", ord("≤"): "<=", ord("≥"): ">=", ord("²"): "^2",
}  # fmt: skip
"""What stands for a letter of our texts where the console lacks it; in tables one character for one."""


@contextmanager
def printable() -> Iterator[None]:
    """Let the standard streams replace what their encodings lack: nothing that a command prints stops it.

    Frames and signs have stand-ins, `ASCII`; an e with an accent becomes \\xe9. Bytes of a file's name that are no
    text are written as they are where Python would have done so (in the C locale), and as \\udcff elsewhere.
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
    """What to write for the first letter that cannot be; surrogates that stand for bytes as these if `raw`."""
    assert isinstance(error, UnicodeEncodeError)
    letter = error.object[error.start]
    if raw and "\udc80" <= letter <= "\udcff":
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    return letter.translate(ASCII).encode("ascii", "backslashreplace").decode(), error.start + 1


def exit_code(failed: int, count: int) -> int:
    """Of a command that had `count` inputs."""
    return 0 if not failed else 2 if failed == count else 1
