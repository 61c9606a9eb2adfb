"""What the commands share: the options that several have, their console, a run's model, what they say and where."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from .. import environment, failures
from ..keras_backend import INSTALL
from ..runs import Run
from ..tasks.base import Figures
from .outputs import picture_format

__all__ = [
    "State", "backend_option", "chosen_backend", "complain", "console", "debug_option", "load_model", "picture_format",
    "printable", "remark", "say", "say_figures", "say_result", "table",
]  # fmt: skip

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass
class State:
    """What `main` has to know of a command that failed."""

    debug: bool = False
    resume: str | None = None


def debug_option(command: Command) -> Command:
    """--debug, which may stand before or after the command's name."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        context.ensure_object(State).debug |= value

    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=remember,
        is_eager=True,
        help="Show tracebacks of errors.",
    )(command)


backend_option = click.option(
    "--backend",
    metavar="|".join(INSTALL),
    help="What Keras computes with. Default: $KERAS_BACKEND, keras.json's, or else the first that is installed.",
)


def chosen_backend(run: Run, asked: str | None) -> str:
    """What to use the run's model with; any will do, the one that trained it if no other is wished for."""
    backend = asked or os.environ.get("KERAS_BACKEND") or run.options.backend
    environment.require(backend)
    return backend


def load_model(run: Run, backend: str) -> Any:
    """The run's model: the trained one, or as its last epoch left it."""
    environment.start(backend)
    from .. import training

    return training.load(run.model if run.model.exists() else run.last)


def console(quiet: bool = False) -> Console:
    return Console(file=sys.stdout, quiet=quiet)


@contextmanager
def printable() -> Iterator[None]:
    """Let the standard streams escape what their encodings lack: no file's name stops a command that prints it.

    An e with an accent becomes \\xe9 where the encoding is ASCII. Bytes of a name that are no text are written as they
    are where Python would have done so (in the C locale), and as \\udcff elsewhere.
    """
    codecs.register_error("unstride.escape", _escaped)
    changed: list[tuple[Any, str]] = []
    for stream in (sys.stdout, sys.stderr):
        errors = getattr(stream, "errors", None)
        if errors in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace" if errors == "strict" else "unstride.escape")
            changed.append((stream, errors))
    try:
        yield
    finally:
        for stream, errors in changed:
            with suppress(ValueError):  # closed meanwhile
                stream.reconfigure(errors=errors)


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """Surrogates that stand for bytes as these, everything else escaped."""
    assert isinstance(error, UnicodeEncodeError)
    letter = error.object[error.start]
    if "\udc80" <= letter <= "\udcff":
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    return letter.encode("ascii", "backslashreplace").decode(), error.start + 1


def say(console: Console, text: str) -> None:
    """As it is: no colours for numbers, no markup in paths, no line broken."""
    console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say_result(console: Console, name: str, value: str) -> None:
    say(console, f"{name:12}{value}")


def say_figures(console: Console, figures: Figures) -> None:
    for name, value in figures.lines:
        say_result(console, name, value)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """The first column to the left, the others, which are numbers, to the right."""
    made = Table(columns[0])
    for name in columns[1:]:
        made.add_column(name, justify="right")
    for row in rows:
        made.add_row(*row)
    return made


def complain(error: Exception) -> None:
    """In one line on the standard error; what else there is to do goes on."""
    print(f"unstride: error: {failures.message(error)}", file=sys.stderr)


def remark(text: str) -> None:
    """What the user should know, and need not do anything about; on the standard error, too."""
    print(f"unstride: note: {text}", file=sys.stderr)
