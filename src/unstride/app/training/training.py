"""Trains a model in a run folder with Keras's trainer: reproducible, interruptible and resumable.

A resumed run ends with the same weights as an uninterrupted one. All that an epoch depends on is either in the
checkpoint (the weights, the optimizer's state and its number of steps) or a function of the seed and the epoch (the
order of the images).
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..._files import write
from ...backends.keras.imported import keras
from ...keras import accelerate as accelerate_model  # our layers, which Keras loads by their names
from ...models import _layers  # noqa: F401 - as above
from .. import tasks, weights
from ..errors import Interrupted, RunError
from ..runs import Run
from ..runs.options import Options
from ..tasks.base import Data
from ..tasks.processes import ALONE, Group
from . import environment


class Stopwatch(keras.callbacks.Callback):  # type: ignore[misc]
    """Adds the seconds of each epoch to its logs, for the callbacks after this one."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        if logs is not None:
            logs["seconds"] = round(time.perf_counter() - self.begin, 3)


class Checkpoints(keras.callbacks.Callback):  # type: ignore[misc]
    """Saves last.keras before the first epoch and after each, and best.keras at each lower validation loss.

    `keep` is called after each epoch. Keras's ModelCheckpoint would overwrite the old file, so that a kill in between
    leaves nothing to resume from.
    """

    def __init__(self, run: Run, done: int, best: float, keep: Callable[[], None]) -> None:
        super().__init__()
        self.run = run
        self.done = done
        self.best = best
        self.keep = keep

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        # The untrained model, so that a run stopped in its first epoch can be resumed, too.
        if self.done == 0:
            write(self.run.last, self.model.save)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {})["val_loss"]
        if loss < self.best:
            write(self.run.best, self.model.save)
            self.best = loss
        # Last, because a run that is killed before this line repeats the epoch, and everything above.
        self.keep()
        write(self.run.last, self.model.save)
        self.done = epoch + 1


class Interruption(keras.callbacks.Callback):  # type: ignore[misc]
    """Turns Ctrl-C and SIGTERM into a KeyboardInterrupt between two batches, outside native code and file writes.

    A second signal has its usual effect at once.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, notify: Callable[[], None]) -> None:
        super().__init__()
        self.notify = notify
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread gets signals
            return
        before = {number: handler for number in self.SIGNALS if (handler := signal.getsignal(number)) is not None}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def request(*_: object) -> None:
            self.requested = True
            restore()
            self.notify()

        for number in before:
            signal.signal(number, request)
        try:
            yield
        finally:
            restore()

    def check(self) -> None:
        if self.requested:
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.check()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.check()


def start(options: Options, make_folder: Callable[[], Path], dataset: Data) -> tuple[Run, keras.Model]:
    """A new run and its untrained model. The folder is made last, when nothing else can fail."""
    model = _build(options, dataset)
    run = Run(make_folder(), options, dataset.describe(), environment.describe(options.backend))
    run.save()
    return run, model


def resume(run: Run, dataset: Data) -> tuple[keras.Model, int]:
    """The model after the run's last epoch, and the number of epochs it was trained for."""
    if dataset.sha256 != run.dataset.get("sha256"):
        raise RunError(f"{run.path}: its data ({dataset.name}) is no longer what the run was started with")
    if not run.last.exists():  # killed before the first checkpoint, so start again
        return _build(run.options, dataset), 0
    # All processes must draw the same weights, even those that the checkpoint then replaces.
    keras.utils.set_random_seed(run.options.seed)
    model = load(run.last)
    return model, int(model.optimizer.iterations) // run.options.steps(len(dataset.training))


def _build(options: Options, dataset: Data) -> keras.Model:
    keras.utils.set_random_seed(options.seed)
    task = tasks.get(options.model)
    usual = keras.config.dtype_policy()
    if options.precision == "bfloat16":  # activations only; weights stay in float32
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with environment.compiling_quickly(options.backend):
            model = task.build(options, dataset)
    finally:
        keras.config.set_dtype_policy(usual)
    task.begin(options, dataset, model)
    model.compile(keras.optimizers.Adam(options.learning_rate), task.loss())
    return model


def load(file: Path) -> keras.Model:
    """The model in a .keras file, or a RunError that names it."""
    try:
        return keras.saving.load_model(file)
    except FileNotFoundError:
        raise RunError(f"{file}: no such file") from None
    except Exception as error:  # for damaged files, Keras raises errors of zipfile, h5py, json and its own
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(f"{file}: not a model that can be loaded ({first_line})") from error


def fit(
    run: Run,
    model: keras.Model,
    dataset: Data,
    done: int,
    callbacks: list[keras.callbacks.Callback],
    notify: Callable[[], None] = lambda: None,
    part: Group = ALONE,
    accelerate: bool = True,
) -> None:
    """Train from epoch `done` to the last, then write model.keras.

    Parameters
    ----------
    run, model, dataset
        The run, its model and its data.
    done : int
        Epochs that are trained already.
    callbacks : list
        Further Keras callbacks.
    notify : callable
        Called at the first Ctrl-C.
    part : Group
        This process, if several train together. Each has its own run folder.
    accelerate : bool, default True
        Whether sequences of layers run as stacks during the training (see `unstride.keras.accelerate`).

    Raises
    ------
    Interrupted
        At Ctrl-C. The folder then holds the state after the last whole epoch.
    """
    task = tasks.get(run.options.model)
    batches = task.batches(run.options, dataset)
    batches.part = part

    def begin(epoch: int, _: Any) -> None:
        batches.shuffle(epoch)
        model.optimizer.learning_rate = task.rate(run.options, epoch)

    run.model.unlink(missing_ok=True)  # the model of a shorter training
    accelerated = accelerate_model(model) if accelerate else None
    best = min((row["val_loss"] for row in run.rewind(done)), default=math.inf)
    log = keras.callbacks.CSVLogger(run.history, append=True)
    last = run.path / weights.LAST  # for others to look at during the training
    checkpoints = Checkpoints(run, done, best, lambda: weights.save(last, task.export(model, dataset)))
    interruption = Interruption(notify)
    with interruption.listening():
        try:
            model.fit(
                batches,
                epochs=run.options.epochs,
                initial_epoch=done,
                shuffle=False,  # `batches` does
                validation_data=task.validation_data(run.options, dataset),
                validation_batch_size=run.options.batch_size,
                verbose=0,
                # The order matters: metrics.csv gets the stopwatch's seconds, and has an epoch before its checkpoint
                # exists.
                callbacks=[
                    keras.callbacks.LambdaCallback(on_epoch_begin=begin),
                    Stopwatch(),
                    log,
                    checkpoints,
                    interruption,
                    *callbacks,
                ],
            )
        except BaseException as error:
            with suppress(OSError):  # the disk may be full
                log.on_train_end()  # close the file, which Keras does not do
            # After a second Ctrl-C, native code may raise another kind of error.
            if interruption.requested or isinstance(error, KeyboardInterrupt):
                raise Interrupted(checkpoints.done) from error
            raise
    if accelerated is not None:
        accelerated.restore()  # so that the metrics are those of the loaded model to the last bit
    write(run.model, model.save)
