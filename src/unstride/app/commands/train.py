"""`unstride train`: train a model in a run folder, from which it can be resumed."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ..._files import sweep, write, write_json, write_text
from ..._messages.wording import counted, escaped, shell_word, wrapped
from ...data import DataError
from .. import runs, tasks, weights
from ..errors import OptionError
from ..runs import Run, duration
from ..runs.options import Options, flag
from ..tasks.base import Task, default_text, own_options
from ..tasks.processes import ALONE, Group
from ..training import distributed, environment
from .printing import quiet_option
from .shared import (
    State,
    backend_option,
    complain,
    console,
    debug_option,
    remark,
    say,
    say_metrics,
    say_result,
    say_whole,
)

USUAL = Options()


class Train(click.Command):
    """A command that lists each model's defaults and FOLDER below its options."""

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Models, their FOLDER, and defaults that differ"):
            for name in tasks.NAMES:
                task = tasks.get(name)
                rows = {name: f"FOLDER: {task.data_help}. {default_text(task.defaults)}".rstrip()}
                rows["  --quick"] = default_text(task.quick)
                for term, text in rows.items():  # click would break --validation-split in two
                    line = f"{'':{formatter.current_indent}}{term:13}{text}"
                    formatter.write(wrapped(line, formatter.width, " " * (formatter.current_indent + 13)) + "\n")


@click.command(cls=Train)
@click.argument("model", default=USUAL.model)
@click.argument("source", required=False, metavar="[FOLDER]")
@click.option("--epochs", type=int, help=f"Passes over the images.  [default: {USUAL.epochs}]")
@click.option("--batch-size", type=int, help=f"Images in each step.  [default: {USUAL.batch_size}]")
@click.option(
    "--validation-split",
    type=float,
    help=f"Share of the images to validate on, the last ones.  [default: {USUAL.validation_split}]",
)
@click.option("--learning-rate", type=float, help=f"Adam's initial step size.  [default: {USUAL.learning_rate}]")
@click.option("--limit", type=int, metavar="N", help="Use only N images for each epoch, and N for the test.")
@click.option("--seed", type=int, default=USUAL.seed, show_default=True, help="Equal seeds give equal numbers.")
@click.option("--quick", is_flag=True, help="A short training with the defaults below.")
@click.option("--run", "folder", metavar="DIR", help="The run folder. Default: a new one in runs/.")
@click.option("--resume", is_flag=True, help="Continue the run in --run, or else the newest in runs/.")
@backend_option
@click.option(
    "--precision",
    metavar="float32|bfloat16",
    default=USUAL.precision,
    show_default=True,
    help="Type of the activations. bfloat16 halves their memory and suits accelerators. Weights are float32.",
)
@click.option("--data", metavar="DIR", help="The same as FOLDER.")
@click.option("--scale", type=int, help="upscaler: the factor, 2, 3 or 4.")
@click.option("--code", type=int, help="compressor: numbers in the code of an image.")
@click.option("--upsample", metavar="transposed|resize|subpixel", help="compressor: how the decoder upsamples.")
@click.option("--kernel", type=int, help="compressor: side of the decoder's kernels.")
@click.option(
    "--noise", type=float, help="compressor: standard deviation of noise on the inputs, which it learns to remove."
)
@click.option(
    "--layers",
    metavar="'conv 16 3 2, …'",
    help="autoencoder: all layers but the last, each conv or up (transposed), filters, kernel and stride.",
)
@click.option(
    "--transpose", is_flag=True, help="autoencoder, compressor: swap rows and columns, which turns EMNIST upright."
)
@click.option(
    "--start",
    metavar="RUN|shipped",
    help="segmenter: weights to start from, a run's or those in the package. Default: random ones.",
)
@click.option(
    "--distributed", "spread", is_flag=True, help="Train on all devices, and on those of other processes. JAX only."
)
@click.option("--coordinator", metavar="HOST:PORT", help="Address of process 0. Default: $UNSTRIDE_COORDINATOR.")
@click.option("--processes", type=int, help="Number of processes. Default: $UNSTRIDE_PROCESSES, or 1.")
@click.option("--process", type=int, help="Number of this process, from 0. Default: $UNSTRIDE_PROCESS, or 0.")
@click.option("--no-accelerate", is_flag=True, help="Compute layer by layer, on whole batches.")
@quiet_option
@debug_option
@click.pass_context
def train(
    context: click.Context,
    /,
    folder: str | None,
    resume: bool,
    source: str | None,
    spread: bool,
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    no_accelerate: bool,
    quiet: bool,
    **values: Any,
) -> int:
    """Train MODEL (autoencoder, compressor, upscaler or segmenter) and write a report.

    The autoencoder's defaults are the settings of the reading. Ctrl-C or SIGTERM stops the training after the current
    batch; --resume continues it.
    """
    context.with_resource(_terminable())
    given = {
        name: value
        for name, value in values.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }
    if source is not None:
        if "data" in given:
            raise OptionError(f"FOLDER is {source} and --data is {given['data']}; they are the same, so give one")
        given["data"] = source
    if "data" in given:
        if not given["data"]:
            raise OptionError("--data is empty; expected a folder")
        given["data"] = str(Path(given["data"]).resolve())
    if given.get("start", weights.SHIPS) != weights.SHIPS:
        given["start"] = str(Path(given["start"]).resolve())
    run = None
    if resume:
        run = _merge(_newest() if folder is None else runs.load(folder), given)
        options = run.options
        task = tasks.get(options.model)
    else:
        task = tasks.get(values["model"])
        _only_its_own(task, given)
        options = task.options({**given, "backend": given.get("backend") or environment.default_backend()})
    part = ALONE
    if spread:
        part = distributed.group(coordinator, processes, process)
        distributed.prepare(options)
    elif (coordinator, processes, process) != (None, None, None):
        raise OptionError("--coordinator, --processes and --process are for --distributed, which is missing")
    environment.require(options.backend)
    data = task.read(options)
    problems = getattr(data, "problems", [])
    for problem in problems:
        complain(DataError(problem))
    if remarks := getattr(data, "remarks", []):
        from ..images.folders import folded

        for text in folded(remarks):
            remark(text)
    for note in getattr(data, "notes", ()):
        remark(note)
    environment.start(options.backend)
    if spread:
        distributed.check(distributed.start(part), options, len(data.training))
    from ..training import training

    with ExitStack() as stack:
        private = None if part.first else stack.enter_context(distributed.folder())
        if run is None:
            run, model = training.start(options, lambda: private or runs.create(folder, options.model), data)
            done = 0
        if private is None:
            stack.enter_context(runs.locked(run.path))
        if resume:
            if private is None:
                sweep(run.path)
            model, done = training.resume(run, data)
            if private is not None:
                run = distributed.apart(run, private)
        state, group = context.ensure_object(State), part if spread else None
        try:
            _train(state, task, run, model, data, done, group, not no_accelerate, quiet)
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            # Keras's writes of metrics.csv, for example, name no file, and none does on a full disk.
            raise OSError(error.errno, error.strerror, str(run.path)) from error
    return 1 if problems else 0


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM, which a system sends when it shuts down, do what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _newest() -> Run:
    """The run that --resume continues without --run. A note names each newer run that is damaged."""
    return runs.newest(skipped=lambda error: remark(f"{error}; an older run is resumed"))


def _only_its_own(task: Task, given: dict[str, Any]) -> None:
    """Refuse options of other models."""
    for other in map(tasks.get, tasks.NAMES):
        for name in (own_options(other) - own_options(task)) & set(given):
            raise OptionError(f"{flag(name)} is an option of {other.name}; {task.name} has no use for it")


def _merge(run: Run, given: dict[str, Any]) -> Run:
    """The run, with more epochs if asked for. No other option may differ from its start."""
    if given.pop("quick", False) and not run.options.quick:
        raise OptionError(f"--quick is for new runs, and {run.path} was started without it; leave it out to resume")
    for name in given.keys() - {"epochs"}:
        before = getattr(run.options, name)
        if given[name] is True and not before:
            raise OptionError(f"{flag(name)} is given, but {run.path} was started without it; leave it out to resume")
        if given[name] != before:
            raise OptionError(
                f"{flag(name)} is {given[name]}, but {run.path} was started with {before}; leave it out to resume"
            )
    epochs = given.get("epochs", run.options.epochs)
    if epochs < run.options.epochs:
        raise OptionError(
            f"--epochs is {epochs}, but {run.path} was started with {run.options.epochs}; it may be raised, not lowered"
        )
    return replace(run, options=replace(run.options, epochs=epochs))


def _train(
    state: State,
    task: Task,
    run: Run,
    model: Any,
    data: Any,
    done: int,
    part: Group | None,
    accelerate: bool,
    quiet: bool,
) -> None:
    """Train, evaluate and report. Of several processes, in which this is `part`, only the first reports."""
    from ..training import progress, training

    if part is not None and not part.first:
        training.fit(run, model, data, done, [], part=part, accelerate=accelerate)
        distributed.stop(part)
        return

    screen = console(quiet)
    begin = time.perf_counter()
    epochs = run.options.epochs
    state.resume = f"unstride train --resume --run {shell_word(str(run.path))}"
    folder = escaped(str(run.path))
    if done < epochs:
        if done == 0:  # of a loaded model it would count the optimizer's numbers too
            model.summary(print_fn=lambda text: say_whole(screen, text))
        say(
            screen,
            f"{'Resuming' if done else 'Training'} on {counted(len(data.training), task.noun[:-1])}, validating on "
            f"{len(data.validation):,}, backend {run.options.backend}; run folder {folder}",
            keep=[folder],
        )
        run.save()  # with the raised number of epochs
        with progress.TrainingProgress(screen, done, run.path) as shown:
            training.fit(
                run,
                model,
                data,
                done,
                [shown],
                lambda: shown.say("Stopping after this batch; Ctrl-C again: at once."),
                part or ALONE,
                accelerate,
            )
    else:
        say(
            screen,
            f"{folder} is trained already, all {counted(epochs, 'epoch')}; a larger --epochs trains it longer",
            keep=[folder],
        )
        if not run.model.exists():  # stopped between the last checkpoint and this file
            write(run.model, model.save)
    if part is not None:
        distributed.stop(part)
        model = training.load(run.model)  # on this process's device alone
    weights.save(run.path / weights.FILE, task.export(model, data))
    metrics = task.evaluate(model, data)
    write_json(run.path / "evaluation.json", metrics.json)
    program = task.program(run)
    if program is not None:
        write_text(run.program, program)
    task.report(run, model, data, metrics)
    say_metrics(screen, metrics)
    say_result(screen, "Time", duration(time.perf_counter() - begin))
    report, saved = escaped(str(run.report)), escaped(str(run.model))
    say_result(screen, "Report", report, [report])
    if program is not None:
        command = f"python {shell_word(str(run.program))}"
        say_result(screen, "In Keras", f"{command}  the same training, as a program", [command])
    say_result(screen, "Model", f"{saved}, which opens in Keras without unstride:", [saved])
    say_whole(screen, "\n" + task.loading(run.options, run.model))


COMMANDS = (train,)
