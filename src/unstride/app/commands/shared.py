"""What the commands share: common options, the console, loading a run's model, messages and tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..._messages.wording import escaped
from ...backends.keras.keras_backend import INSTALL
from ...data import Bytes, DataError
from .. import errors
from ..runs import Run
from ..tasks.base import Metrics
from ..training import environment
from .outputs import picture_format
from .printing import fitted, print_problem

__all__ = [
    "State", "backend_option", "chosen_backend", "complain", "console", "debug_option", "load_model", "picture_format",
    "read_digits", "remark", "say", "say_metrics", "say_result", "say_whole", "table",
]  # fmt: skip

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass
class State:
    """What `main` has to know about a command that failed."""

    debug: bool = False
    resume: str | None = None


def debug_option(command: Command) -> Command:
    """Add --debug, which may come before or after the command's name."""

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
    help="Keras's backend. Default: $KERAS_BACKEND, then keras.json's, then the first that is installed.",
)


def chosen_backend(run: Run, asked: str | None) -> str:
    """The backend for a run's model. Any works; the default is the one that trained it."""
    backend = asked or os.environ.get("KERAS_BACKEND") or run.options.backend
    environment.require(backend)
    return backend


def load_model(run: Run, backend: str) -> Any:
    """The run's trained model, or the model after its last epoch."""
    environment.start(backend)
    from ..training import training

    return training.load(run.model if run.model.exists() else run.last)


def console(quiet: bool = False) -> Console:
    return Console(file=sys.stdout, quiet=quiet)


def say(console: Console, text: str, hanging: int | None = None, keep: Collection[str] = ()) -> None:
    """Print without colours and markup. On a terminal, long lines are broken at blanks, as in `print_text`."""
    say_whole(console, fitted(text, console.width if console.is_terminal else None, hanging, keep))


def say_whole(console: Console, text: str) -> None:
    """Print without breaking lines, for programs and tables."""
    console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say_result(console: Console, name: str, value: str, keep: Collection[str] = ()) -> None:
    say(console, f"{name:12}{value}", 12, keep)


def say_metrics(console: Console, metrics: Metrics) -> None:
    for name, value in metrics.lines:
        say_result(console, name, value)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first column is aligned left and the others, of numbers, right. Nothing is cut off."""
    grid = Table()
    for place, name in enumerate(columns):
        grid.add_column(Text(escaped(name)), justify="right" if place else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(escaped(cell)) for cell in row))
    return grid


def read_digits(run: Run, paths: list[Path]) -> tuple[list[tuple[Path, Bytes]], int]:
    """The digits in image files, as the run's model takes them, and the number of files that failed."""
    from ..images import digits, folders

    crop = run.options.data is None
    pictures, problems = folders.gather(paths, lambda path: digits.read(path, remark, crop=crop))
    for problem in problems:
        complain(DataError(problem))
    return pictures, len(problems)


def complain(error: Exception) -> None:
    """Print an error in one line on the standard error, and go on."""
    print_problem("error: ", errors.message(error))


def remark(text: str) -> None:
    """Print a note on the standard error: worth knowing, but nothing to act on."""
    print_problem("note: ", escaped(text))
