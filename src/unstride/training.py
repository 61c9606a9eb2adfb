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

import keras
import numpy as np

from . import environment
from . import keras as _layers  # noqa: F401 - so that Keras knows their names when it loads a model
from .dataset import Bytes, Dataset, Grey, grey
from .evaluation import Evaluation, evaluate
from .models import MODELS
from .runs import Interrupted, Options, Run, RunError, write, write_json

PREDICTION_BATCH = 500


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """The training images, each its own target, in an order that the seed and the epoch's number decide.

    Keras asks for the batches of an epoch one after another, because a PyDataset has one worker unless told
    otherwise. It may ask ahead, but makes a new iterator once `on_epoch_begin` has been called.
    """

    def __init__(self, images: Bytes, batch_size: int, seed: int) -> None:
        super().__init__()
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle(0)

    def shuffle(self, epoch: int) -> None:
        self.order = np.random.default_rng((self.seed, epoch)).permutation(len(self.images))

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[Grey, Grey]:
        chosen = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        batch = grey(self.images[chosen])[..., None]
        return batch, batch


class Stopwatch(keras.callbacks.Callback):  # type: ignore[misc]
    """Adds each epoch's seconds to its logs, for the callbacks after it."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        if logs is not None:
            logs["seconds"] = round(time.perf_counter() - self.begin, 3)


class Checkpoints(keras.callbacks.Callback):  # type: ignore[misc]
    """last.keras before the first epoch and after each, best.keras at each lower validation loss.

    Keras's ModelCheckpoint writes over the old file: a kill meanwhile leaves half a file, and nothing to
    resume from.
    """

    def __init__(self, run: Run, done: int, best: float) -> None:
        super().__init__()
        self.run = run
        self.done = done
        self.best = best

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
        write(self.run.last, self.model.save)
        self.done = epoch + 1


class Interruption(keras.callbacks.Callback):  # type: ignore[misc]
    """Turns Ctrl-C into a KeyboardInterrupt between two batches, outside native code and half-written files.

    A second Ctrl-C interrupts at once, as ever.
    """

    def __init__(self, notify: Callable[[], None]) -> None:
        super().__init__()
        self.notify = notify
        self.requested = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield  # signals are the main thread's
            return
        before = signal.getsignal(signal.SIGINT)

        def request(*_: object) -> None:
            self.requested = True
            signal.signal(signal.SIGINT, before)
            self.notify()

        signal.signal(signal.SIGINT, request)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def check(self) -> None:
        if self.requested:
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.check()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.check()


def start(options: Options, make_folder: Callable[[], Path], dataset: Dataset) -> tuple[Run, keras.Model]:
    """A new run and its untrained model. The folder is made once nothing else can fail."""
    model = _build(options)
    run = Run(make_folder(), options, dataset.describe(), environment.describe(options.backend))
    run.save()
    return run, model


def resume(run: Run, dataset: Dataset) -> tuple[keras.Model, int]:
    """The model as the run's last epoch left it, and how many epochs it has behind it."""
    if dataset.sha256 != run.dataset.get("sha256"):
        raise RunError(f"{run.path}: its data ({dataset.name}) is no longer what the run was started with")
    if not run.last.exists():  # killed before its first checkpoint: so start it again
        return _build(run.options), 0
    model = load(run.last)
    return model, int(model.optimizer.iterations) // run.options.steps(len(dataset.training))


def _build(options: Options) -> keras.Model:
    keras.utils.set_random_seed(options.seed)
    model = MODELS[options.model]()
    model.compile(keras.optimizers.Adam(options.learning_rate), keras.losses.BinaryCrossentropy())
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
    dataset: Dataset,
    done: int,
    callbacks: list[keras.callbacks.Callback],
    notify: Callable[[], None] = lambda: None,
) -> None:
    """Train from epoch `done` to the last, then write model.keras. `notify` is called at the first Ctrl-C.

    Raises
    ------
    Interrupted
        At Ctrl-C. The folder is then that of the last whole epoch.
    """
    run.model.unlink(missing_ok=True)  # of fewer epochs
    batches = Batches(dataset.training, run.options.batch_size, run.options.seed)
    validation = grey(dataset.validation)[..., None]
    best = min((row["val_loss"] for row in run.rewind(done)), default=math.inf)
    log = keras.callbacks.CSVLogger(run.metrics, append=True)
    checkpoints = Checkpoints(run, done, best)
    interruption = Interruption(notify)
    with interruption.listening():
        try:
            model.fit(
                batches,
                epochs=run.options.epochs,
                initial_epoch=done,
                shuffle=False,  # `batches` are
                validation_data=(validation, validation),
                validation_batch_size=run.options.batch_size,
                verbose=0,
                # In this order: metrics.csv gets the stopwatch's seconds, and an epoch is in there before it
                # is in a checkpoint.
                callbacks=[
                    keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: batches.shuffle(epoch)),
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
            if isinstance(error, OSError) and error.errno and error.filename is None:
                raise OSError(error.errno, error.strerror, str(run.path)) from error  # CSVLogger's
            raise
    write(run.model, model.save)


def predict(model: keras.Model, images: Bytes) -> Grey:
    """The reconstructions of images (n, 28, 28), from 0 to 1, in the same shape."""
    result = model.predict(grey(images)[..., None], batch_size=PREDICTION_BATCH, verbose=0)
    return np.asarray(result, np.float32)[..., 0]


def judge(model: keras.Model, dataset: Dataset) -> tuple[Evaluation, Grey]:
    """The figures on the test images, and their reconstructions."""
    predictions = predict(model, dataset.test)
    return evaluate(grey(dataset.test), predictions, dataset.test_labels, dataset.classes), predictions


def record(run: Run, evaluation: Evaluation) -> None:
    """Write evaluation.json."""
    write_json(run.path / "evaluation.json", evaluation.to_json())
