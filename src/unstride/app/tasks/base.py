"""What a model needs to be trained, judged and reported like all others. Needs no Keras before a model is built."""

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
    """What a run is trained and judged on."""

    @property
    def name(self) -> str: ...
    @property
    def training(self) -> Sized: ...
    @property
    def validation(self) -> Sized: ...
    @property
    def sha256(self) -> str:
        """Of all that the weights depend on."""

    def describe(self) -> dict[str, Any]:
        """For a run's config.json."""


@dataclass(frozen=True)
class Metrics:
    """How good a model is.

    Attributes
    ----------
    lines : pairs of a name and what to say of it
    columns, rows
        A table of the single classes or images, its first column their names.
    json : dict
        evaluation.json's content.
    found : any
        What the report needs of it again, so that nothing is computed twice.
    """

    lines: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    json: dict[str, Any]
    details: Any = None


class Task(ABC):
    """One kind of model, all of it that `unstride train` has to know."""

    name: ClassVar[str]
    noun: ClassVar[str] = "images"
    """What an epoch has so many of."""
    defaults: ClassVar[dict[str, Any]] = {}
    """The options that it has besides the common ones, and those of whose usual defaults it has others."""
    quick: ClassVar[dict[str, Any]]
    """The options of a training that is a taste of it, in about a minute on two cores."""
    use: ClassVar[str]
    """Lines of Python that use `model`, with Keras and `np` alone."""
    data_help: ClassVar[str]
    """What its FOLDER holds."""

    def options(self, given: dict[str, Any]) -> Options:
        """With the defaults for what is not given, or with those of a quick training."""
        quick = self.quick if given.get("quick") else {}
        return Options(**{"model": self.name, **self.defaults, **quick, **given})

    @abstractmethod
    def read(self, options: Options) -> Any:
        """The options' data, or an error that says what is wrong with either."""

    @abstractmethod
    def build(self, options: Options, data: Any) -> keras.Model:
        """The untrained model, not compiled."""

    def begin(self, options: Options, data: Any, model: keras.Model) -> None:  # noqa: B027 - most have none
        """Give the new model other weights to start from than random ones, if the options say so."""

    @abstractmethod
    def loss(self) -> Any:
        """What it minimises, as Keras takes it."""

    @abstractmethod
    def batches(self, options: Options, data: Any) -> Any:
        """The training's batches, a `batches.Shuffled`."""

    @abstractmethod
    def validation_data(self, options: Options, data: Any) -> tuple[Any, Any]:
        """Inputs and targets that validate."""

    @abstractmethod
    def evaluate(self, model: keras.Model, data: Any) -> Metrics:
        """Its figures on what it has not seen."""

    @abstractmethod
    def report(self, run: Run, model: keras.Model, data: Any, metrics: Metrics) -> None:
        """Write report.html and pictures/."""

    def rate(self, options: Options, epoch: int) -> float:  # noqa: ARG002 - for some it is constant
        """The learning rate of an epoch."""
        return options.learning_rate

    def about(self, model: keras.Model, data: Any) -> dict[str, Any]:  # noqa: ARG002 - for most the name says all
        """What one has to know of its weights, to use them without Keras."""
        return {"model": self.name}

    def loading(self, options: Options, model: Path) -> str:
        """Lines of Python that open a trained model and use it. They need Keras and its backend, and no unstride."""
        return f"""\
import os
os.environ.setdefault("KERAS_BACKEND", "{options.backend}")
import keras, numpy as np

model = keras.models.load_model({str(model)!r})
{self.use}
"""

    def page_values(self, run: Run) -> dict[str, Any]:
        """What every report says of how the model is used and trained elsewhere."""
        return {"loading": self.loading(run.options, run.model.resolve()), "program": self.program(run)}

    def program(self, run: Run) -> str | None:  # noqa: ARG002 - most have none
        """The whole training as a program of Keras's own, if there is one."""
        return None

    def export(self, model: keras.Model, data: Any) -> weights.ExportedModel:
        """The model as it is now, to be used without Keras."""
        return weights.ExportedModel(self.about(model, data), weights.export_weights(model))


def cosine_decay(options: Options, epoch: int) -> float:
    """A rate that falls to a hundredth over the epochs, as a cosine does: fast steps first, small ones at the end."""
    return options.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * epoch / options.epochs)) / 2)


def check_batch(options: Options, count: int, noun: str) -> None:
    """Refuse a batch of more than an epoch has."""
    if options.batch_size > count:
        raise OptionError(f"--batch-size is {options.batch_size}; expected at most {count}, the {noun} of an epoch")


def own_options(task: Task) -> set[str]:
    """Those of its options that other tasks may not have."""
    return {name for name in task.defaults if Options.__dataclass_fields__[name].default is None}


def default_text(values: dict[str, Any]) -> str:
    """Defaults, as one writes them."""
    written = {name: value for name, value in values.items() if value is not None and value is not False}
    return " ".join(f"{flag(name)} {value}" for name, value in written.items())
