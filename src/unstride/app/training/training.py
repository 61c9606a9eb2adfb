"""Training in a run folder, through Keras's own trainer: repeatable, interruptible, resumable.

A resumed run ends with the weights of one that was never stopped, because all that an epoch depends on is in
its checkpoint (weights, the optimizer's state, how many steps it took) or is a function of the seed and the
epoch's number (the order of the images).
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
    """Adds each epoch's seconds to its logs, for the callbacks after it."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        if logs is not None:
            logs["seconds"] = round(time.perf_counter() - self.begin, 3)


class Checkpoints(keras.callbacks.Callback):  # type: ignore[misc]
    """last.keras before the first epoch and after each, best.keras at each lower validation loss, and `keep` called.

    Keras's ModelCheckpoint writes over the old file: a kill meanwhile leaves half a file, and nothing to
    resume from.
    """

    def __init__(self, run: Run, done: int, best: float, keep: Callable[[], None]) -> None:
        super().__init__()
        self.run = run
        self.done = done
        self.best = best
        self.keep = keep

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        # The untrained model, so that a run stopped within its first epoch is a whole one too.
        if self.done == 0:
            write(self.run.last, self.model.save)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {})["val_loss"]
        if loss < self.best:
            write(self.run.best, self.model.save)
            self.best = loss
        # Last: a run that is killed before this line does the whole epoch again, and all above with it.
        self.keep()
        write(self.run.last, self.model.save)
        self.done = epoch + 1


class Interruption(keras.callbacks.Callback):  # type: ignore[misc]
    """Turns Ctrl-C and SIGTERM into a KeyboardInterrupt between batches, outside native code and half-written files.

    A second one does at once what it always did.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, notify: Callable[[], None]) -> None:
        super().__init__()
        self.notify = notify
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's
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
    """A new run and its untrained model. The folder is made once nothing else can fail."""
    model = _build(options, dataset)
    run = Run(make_folder(), options, dataset.describe(), environment.describe(options.backend))
    run.save()
    return run, model


def resume(run: Run, dataset: Data) -> tuple[keras.Model, int]:
    """The model as the run's last epoch left it, and how many epochs it has behind it."""
    if dataset.sha256 != run.dataset.get("sha256"):
        raise RunError(f"{run.path}: its data ({dataset.name}) is no longer what the run was started with")
    if not run.last.exists():  # killed before its first checkpoint: so start it again
        return _build(run.options, dataset), 0
    # Of several processes all must begin with the same weights, those too that the checkpoint's replace.
    keras.utils.set_random_seed(run.options.seed)
    model = load(run.last)
    return model, int(model.optimizer.iterations) // run.options.steps(len(dataset.training))


def _build(options: Options, dataset: Data) -> keras.Model:
    keras.utils.set_random_seed(options.seed)
    task = tasks.get(options.model)
    usual = keras.config.dtype_policy()
    if options.precision == "bfloat16":  # in the layers between; weights stay in float32
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
    except Exception as error:  # at a damaged file, Keras raises zipfile's, h5py's, json's and its own
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
    """Train from epoch `done` to the last, then write model.keras. `notify` is called at the first Ctrl-C; with
    `accelerate`, runs of layers are executed as stacks meanwhile (`unstride.keras.accelerate`).

    Of several processes each has a folder of its own, and this is `part`.

    Raises
    ------
    Interrupted
        At Ctrl-C. The folder is then that of the last whole epoch.
    """
    task = tasks.get(run.options.model)
    batches = task.batches(run.options, dataset)
    batches.part = part

    def begin(epoch: int, _: Any) -> None:
        batches.shuffle(epoch)
        model.optimizer.learning_rate = task.rate(run.options, epoch)

    run.model.unlink(missing_ok=True)  # of fewer epochs
    accelerated = accelerate_model(model) if accelerate else None
    best = min((row["val_loss"] for row in run.rewind(done)), default=math.inf)
    log = keras.callbacks.CSVLogger(run.history, append=True)
    last = run.path / weights.LAST  # what others can see of a training that goes on
    checkpoints = Checkpoints(run, done, best, lambda: weights.save(last, task.export(model, dataset)))
    interruption = Interruption(notify)
    with interruption.listening():
        try:
            model.fit(
                batches,
                epochs=run.options.epochs,
                initial_epoch=done,
                shuffle=False,  # `batches` are
                validation_data=task.validation_data(run.options, dataset),
                validation_batch_size=run.options.batch_size,
                verbose=0,
                # In this order: metrics.csv gets the stopwatch's seconds, and an epoch is in there before it
                # is in a checkpoint.
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
                log.on_train_end()  # Keras does not call it, and the file is open
            # A second Ctrl-C may come out of native code as an error of another kind.
            if interruption.requested or isinstance(error, KeyboardInterrupt):
                raise Interrupted(checkpoints.done) from error
            raise
    if accelerated is not None:
        accelerated.restore()  # so that the model is judged as one that is loaded will be, to the last bit
    write(run.model, model.save)
