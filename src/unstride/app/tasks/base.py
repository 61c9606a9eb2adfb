"""The interface of a task: what `unstride train` needs to know of a model. Keras is imported when one is built."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from .. import weights
from ..errors import OptionError
from ..runs import Run
from ..runs.options import Options, flag

if TYPE_CHECKING:
    import keras


class Data(Protocol):
    """The data of a run."""

    @property
    def name(self) -> str: ...
    @property
    def training(self) -> Sized: ...
    @property
    def validation(self) -> Sized: ...
    @property
    def sha256(self) -> str:
        """The digest of all data that the weights depend on."""

    def describe(self) -> dict[str, Any]:
        """The entry in config.json."""


@dataclass(frozen=True)
class Metrics:
    """The metrics of a model on data that it has not seen.

    Attributes
    ----------
    lines : pairs of str
        A name and a text for each line of the summary.
    columns, rows : sequences of str
        A table of classes or images, whose first column holds their names.
    json : dict
        The content of evaluation.json.
    details : any
        What the task's report uses again, so that nothing is computed twice.
    """

    lines: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    json: dict[str, Any]
    details: Any = None


class Task(ABC):
    """A model as `unstride train` sees it."""

    name: ClassVar[str]
    noun: ClassVar[str] = "images"
    """What an epoch consists of, in the plural."""
    defaults: ClassVar[dict[str, Any]] = {}
    """The defaults of the task's own options, and of common options where they differ."""
    quick: ClassVar[dict[str, Any]]
    """The options of --quick, a training of about a minute on two cores."""
    use: ClassVar[str]
    """Lines of Python that use `model`, with Keras and `np` only."""
    data_help: ClassVar[str]
    """The content of FOLDER, for the help text."""

    def options(self, given: dict[str, Any]) -> Options:
        """The given options, completed with the defaults, or with those of a quick training."""
        quick = self.quick if given.get("quick") else {}
        return Options(**{"model": self.name, **self.defaults, **quick, **given})

    @abstractmethod
    def read(self, options: Options) -> Any:
        """Read the data. An error says what is wrong with it or with the options."""

    @abstractmethod
    def build(self, options: Options, data: Any) -> keras.Model:
        """The untrained model, not compiled."""

    def begin(self, options: Options, data: Any, model: keras.Model) -> None:  # noqa: B027 - most have none
        """Set the initial weights of a new model, if the options ask for others than random ones."""

    @abstractmethod
    def loss(self) -> Any:
        """The loss, in a form that Keras accepts."""

    @abstractmethod
    def batches(self, options: Options, data: Any) -> Any:
        """The training batches, a `batches.Shuffled`."""

    @abstractmethod
    def validation_data(self, options: Options, data: Any) -> tuple[Any, Any]:
        """Inputs and targets for the validation."""

    @abstractmethod
    def evaluate(self, model: keras.Model, data: Any) -> Metrics:
        """The metrics on the test data."""

    @abstractmethod
    def report(self, run: Run, model: keras.Model, data: Any, metrics: Metrics) -> None:
        """Write report.html and pictures/."""

    def rate(self, options: Options, epoch: int) -> float:  # noqa: ARG002 - for some it is constant
        """The learning rate in an epoch."""
        return options.learning_rate

    def about(self, model: keras.Model, data: Any) -> dict[str, Any]:  # noqa: ARG002 - for most the name says all
        """What is needed besides the weights to use the model without Keras."""
        return {"model": self.name}

    def loading(self, options: Options, model: Path) -> str:
        """Lines of Python that open a trained model and use it. They need Keras and its backend, but not unstride."""
        return f"""\
import os
os.environ.setdefault("KERAS_BACKEND", "{options.backend}")
import keras, numpy as np

model = keras.models.load_model({str(model)!r})
{self.use}
"""

    def page_values(self, run: Run) -> dict[str, Any]:
        """The values of every report: how to use the model, and the training as a program."""
        return {"loading": self.loading(run.options, run.model.resolve()), "program": self.program(run)}

    def program(self, run: Run) -> str | None:  # noqa: ARG002 - most have none
        """The training as a Keras program, if there is one."""
        return None

    def export(self, model: keras.Model, data: Any) -> weights.ExportedModel:
        """The model in its present state, for use without Keras."""
        return weights.ExportedModel(self.about(model, data), weights.export_weights(model))


def cosine_decay(options: Options, epoch: int) -> float:
    """A learning rate that decays to a hundredth over the epochs, along half a cosine."""
    return options.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * epoch / options.epochs)) / 2)


def check_batch(options: Options, count: int, noun: str) -> None:
    """Refuse a batch that is larger than an epoch."""
    if options.batch_size > count:
        raise OptionError(f"--batch-size is {options.batch_size}; expected at most {count}, the {noun} of an epoch")


def own_options(task: Task) -> set[str]:
    """The options that only some tasks have, this one among them."""
    return {name for name in task.defaults if Options.__dataclass_fields__[name].default is None}


def default_text(values: dict[str, Any]) -> str:
    """Defaults as command-line options."""
    written = {name: value for name, value in values.items() if value is not None and value is not False}
    return " ".join(f"{flag(name)} {value}" for name, value in written.items())
