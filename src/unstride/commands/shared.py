"""What the commands share: the options that several have, their console, a run's model, a picture's format."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from .. import environment, failures
from ..runs import OptionError, Run
from ..tasks.base import Figures

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
    metavar="|".join(environment.INSTALL),
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


def picture_format(output: str) -> str:
    """Pillow's name of the format that `output` ends with."""
    from PIL import Image

    formats = {ending: name for ending, name in Image.registered_extensions().items() if name in Image.SAVE}
    ending = Path(output).suffix.lower()
    if ending not in formats:
        raise OptionError(f"-o {output}: no picture format ends with '{ending}'; expected one like .png, .jpg or .webp")
    return formats[ending]


def console() -> Console:
    return Console(file=sys.stdout)


def say(console: Console, text: str) -> None:
    """As it is: no colours for numbers, no markup in paths, no line broken."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


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
