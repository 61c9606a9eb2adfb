"""What the commands share: the options that several have, their console, a run's model, what they say and where."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..._messages.wording import escaped
from ...backends.keras.keras_backend import INSTALL
from .. import errors
from ..runs import Run
from ..tasks.base import Metrics
from ..training import environment
from .outputs import picture_format
from .printing import fitted, print_problem

__all__ = [
    "State", "backend_option", "chosen_backend", "complain", "console", "debug_option", "load_model", "picture_format",
    "remark", "say", "say_metrics", "say_result", "say_whole", "table",
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
    from ..training import training

    return training.load(run.model if run.model.exists() else run.last)


def console(quiet: bool = False) -> Console:
    return Console(file=sys.stdout, quiet=quiet)


def say(console: Console, text: str, hanging: int | None = None, keep: Collection[str] = ()) -> None:
    """No colours for numbers, no markup in paths; on a terminal broken at blanks, as `print_text` does."""
    say_whole(console, fitted(text, console.width if console.is_terminal else None, hanging, keep))


def say_whole(console: Console, text: str) -> None:
    """As it is, for programs and tables: no line broken."""
    console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say_result(console: Console, name: str, value: str, keep: Collection[str] = ()) -> None:
    say(console, f"{name:12}{value}", 12, keep)


def say_metrics(console: Console, metrics: Metrics) -> None:
    for name, value in metrics.lines:
        say_result(console, name, value)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """The first column to the left, the others, which are numbers, to the right; nothing is cut off."""
    grid = Table()
    for place, name in enumerate(columns):
        grid.add_column(Text(escaped(name)), justify="right" if place else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(escaped(cell)) for cell in row))
    return grid


def complain(error: Exception) -> None:
    """In one line on the standard error; what else there is to do goes on."""
    print_problem("error: ", errors.message(error))


def remark(text: str) -> None:
    """What the user should know, and need not do anything about; on the standard error, too."""
    print_problem("note: ", escaped(text))
