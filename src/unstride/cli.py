"""The command line: `unstride train`, `unstride evaluate`, `unstride reconstruct`.

Keras and Matplotlib take seconds to import, so the commands import what uses them when they run, after the
checks that need neither.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import __version__, failures

try:
    import click
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
except ModuleNotFoundError as error:
    # Nothing below can be defined without them, `main` neither.
    print(f"unstride: error: {failures.missing(error)}", file=sys.stderr)
    raise SystemExit(2) from None

from . import dataset as datasets
from . import environment, runs
from .models import MODELS
from .runs import OptionError, Options, Run, duration, flag

if TYPE_CHECKING:
    from .evaluation import Evaluation

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULTS = Options()


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
    help="What Keras computes with. Default: $KERAS_BACKEND, or else jax.",
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=False,
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="unstride", message="%(prog)s %(version)s")
@debug_option
@click.pass_context
def cli(context: click.Context) -> None:
    """Transposed convolution at work: train a model, judge it, and see what it does."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
@click.argument("model", default=DEFAULTS.model)
@click.option("--epochs", type=int, default=DEFAULTS.epochs, show_default=True, help="Passes over the images.")
@click.option("--batch-size", type=int, default=DEFAULTS.batch_size, show_default=True, help="Images in a step.")
@click.option(
    "--validation-split",
    type=float,
    default=DEFAULTS.validation_split,
    show_default=True,
    help="Share of the images, the last ones, that validate.",
)
@click.option("--learning-rate", type=float, default=DEFAULTS.learning_rate, show_default=True, help="Adam's.")
@click.option("--limit", type=int, metavar="N", help="Use only the first N training and N test images.")
@click.option("--seed", type=int, default=DEFAULTS.seed, show_default=True, help="Equal seeds, equal numbers.")
@click.option("--run", "folder", metavar="DIR", help="The run folder. Default: a new one in runs/.")
@click.option("--resume", is_flag=True, help="Continue the run in --run, or else the newest in runs/.")
@backend_option
@click.option("--data", metavar="DIR", help="A folder with IDX files. Default: MNIST, which is built in.")
@debug_option
@click.pass_context
def train(context: click.Context, /, folder: str | None, resume: bool, **values: Any) -> None:
    """Train MODEL (autoencoder) and write a report.

    The defaults are the reading's settings. Ctrl-C stops after the batch and leaves a run that --resume
    continues.
    """
    given = {name for name in values if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
    if values["data"] is not None:
        if not values["data"]:
            raise OptionError("--data is empty; expected a folder with IDX files")
        values["data"] = str(Path(values["data"]).resolve())
    run = None
    if resume:
        run = _merge(runs.newest() if folder is None else runs.load(folder), values, given)
        options = run.options
    else:
        values["backend"] = values["backend"] or environment.default_backend()
        options = Options(**values)
    if options.model not in MODELS:
        raise OptionError(f"unknown model '{options.model}'; expected one of: {', '.join(MODELS)}")
    environment.require(options.backend)
    data = datasets.read(options)
    environment.start(options.backend)
    from . import training

    if run is None:
        run, model = training.start(options, lambda: runs.create(folder, options.model), data)
        done = 0
    with runs.locked(run.path):
        if resume:
            runs.sweep(run.path)
            model, done = training.resume(run, data)
        _train(context.ensure_object(State), run, model, data, done)


def _merge(run: Run, values: dict[str, Any], given: set[str]) -> Run:
    """The run with more epochs, if asked for; no other option may differ from what it was started with."""
    for name in given - {"epochs"}:
        before = getattr(run.options, name)
        if values[name] != before:
            raise OptionError(
                f"{flag(name)} is {values[name]}, but {run.path} was started with {before}; leave it out to resume"
            )
    if "epochs" not in given or values["epochs"] == run.options.epochs:
        return run
    if values["epochs"] < run.options.epochs:
        raise OptionError(
            f"--epochs is {values['epochs']}, but {run.path} was started with {run.options.epochs}; "
            "it may be raised, not lowered"
        )
    return replace(run, options=replace(run.options, epochs=values["epochs"]))


def _train(state: State, run: Run, model: Any, data: datasets.Dataset, done: int) -> None:
    from . import progress, report, training

    console = _console()
    begin = time.perf_counter()
    epochs = run.options.epochs
    state.resume = f"unstride train --resume --run {shlex.quote(str(run.path))}"
    if done < epochs:
        if done == 0:  # a loaded model's would count the optimizer's numbers too
            model.summary(print_fn=lambda text: _say(console, text))
        _say(
            console,
            f"{'Resuming' if done else 'Training'} on {len(data.training):,} images, validating on "
            f"{len(data.validation):,}, backend {run.options.backend}; run folder {run.path}",
        )
        run.save()  # the raised number of epochs
        with progress.TrainingProgress(console, done) as shown:
            training.fit(
                run,
                model,
                data,
                done,
                [shown],
                lambda: shown.say("Stopping after this batch; Ctrl-C again: at once."),
            )
    else:
        _say(console, f"{run.path} is trained already, all {epochs} epochs; a larger --epochs trains it longer")
        if not run.model.exists():  # stopped between its last checkpoint and this
            runs.write(run.model, model.save)
    evaluation, predictions = training.judge(model, data)
    training.record(run, evaluation)
    report.write_report(run, model, data, evaluation, predictions)
    _say_figures(console, evaluation)
    _say_result(console, "Time", duration(time.perf_counter() - begin))
    _say_result(console, "Report", str(run.report))


@cli.command()
@click.argument("run", metavar="RUN")
@backend_option
@debug_option
def evaluate(run: str, backend: str | None) -> None:
    """Print the figures of RUN's model on its test images."""
    opened = runs.load(run)
    backend = _backend(opened, backend)
    data = datasets.read(opened.options)
    model = _load(opened, backend)
    from . import training

    console = _console()
    evaluation, _ = training.judge(model, data)
    _say_figures(console, evaluation)
    table = Table("class")
    for name in ("images", "loss", "floor", "error"):
        table.add_column(name, justify="right")
    for row in evaluation.classes:
        figures = [(row.loss, 4), (row.floor, 4), (row.error, 5)]
        cells = ["–" if value is None else f"{value:.{digits}f}" for value, digits in figures]
        table.add_row(str(row.label), str(row.images), *cells)
    console.print(table)


@cli.command()
@click.argument("run", metavar="RUN")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "-o",
    "--output",
    default="reconstructions.png",
    show_default=True,
    help="The picture; its ending is its format.",
)
@backend_option
@debug_option
def reconstruct(run: str, images: tuple[str, ...], output: str, backend: str | None) -> None:
    """Draw each IMAGE above what RUN's model makes of it.

    Any size and format: an image is shrunk to 28x28, and inverted if it is dark on light. Without IMAGE: one
    test digit of each class.
    """
    opened = runs.load(run)
    backend = _backend(opened, backend)
    format = _format(output)
    import numpy as np

    from . import images as pictures

    if images:
        names = [Path(image).name for image in images]
        arrays = np.stack([pictures.read(image) for image in images])
    else:
        data = datasets.read(opened.options)
        places = [int(data.examples(label, 1)[0]) for label in data.classes]
        names, arrays = [f"class {label}" for label in data.classes], data.gallery[places]
    model = _load(opened, backend)
    from . import pictures as drawing
    from . import report, training

    predictions = training.predict(model, arrays)
    picture = drawing.image(report.reconstruction(arrays, predictions, names))
    runs.write(Path(output), lambda beside: picture.save(beside, format=format))
    console = _console()
    table = Table("image")
    for name in ("loss", "error"):
        table.add_column(name, justify="right")
    for name, row in zip(names, report.figures(arrays, predictions), strict=True):
        table.add_row(Text(name), f"{row['loss']:.4f}", f"{row['error']:.5f}")
    console.print(table)
    _say_result(console, "Picture", output)


def _backend(run: Run, asked: str | None) -> str:
    """What to use the run's model with; any will do, the one that trained it if no other is wished for."""
    backend = asked or os.environ.get("KERAS_BACKEND") or run.options.backend
    environment.require(backend)
    return backend


def _load(run: Run, backend: str) -> Any:
    """The run's model: the trained one, or as its last epoch left it."""
    environment.start(backend)
    from . import training

    return training.load(run.model if run.model.exists() else run.last)


def _format(output: str) -> str:
    """Pillow's name of the format that `output` ends with."""
    from PIL import Image

    formats = {ending: name for ending, name in Image.registered_extensions().items() if name in Image.SAVE}
    ending = Path(output).suffix.lower()
    if ending not in formats:
        raise OptionError(f"-o {output}: no picture format ends with '{ending}'; expected one like .png, .jpg or .webp")
    return formats[ending]


def _console() -> Console:
    return Console(file=sys.stdout)


def _say(console: Console, text: str) -> None:
    """As it is: no colours for numbers, no markup in paths, no line broken."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _say_result(console: Console, name: str, value: str) -> None:
    _say(console, f"{name:12}{value}")


def _say_figures(console: Console, evaluation: Evaluation) -> None:
    _say_result(
        console,
        "Test loss",
        f"{evaluation.loss:.4f}  binary cross-entropy; its floor for these images is {evaluation.floor:.4f}",
    )
    _say_result(console, "Test error", f"{evaluation.error:.5f}  mean squared error per pixel")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit code. Every error is one line, unless --debug asks for its traceback."""
    state = State()
    try:
        result = cli.main(arguments, prog_name="unstride", standalone_mode=False, obj=state)
        return result if isinstance(result, int) else 0
    except SystemExit:
        raise
    except BaseException as error:
        if state.debug:
            traceback.print_exc()
        interruption = failures.interruption(error, state.resume)
        print(f"unstride: {interruption or f'error: {failures.message(error)}'}", file=sys.stderr)
        return 130 if interruption else 2
