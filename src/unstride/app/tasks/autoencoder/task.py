"""Trains the reading's autoencoder, or one with other layers, on MNIST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....data import grey
from ...errors import OptionError
from ...runs import Run
from ...runs.options import Options
from .. import datasets
from ..base import Metrics, Task
from ..datasets import Dataset
from .metrics import Evaluation, reconstruction_metrics

if TYPE_CHECKING:
    import keras


class AutoencoderTask(Task):
    name = "autoencoder"
    data_help = "four IDX files, named like MNIST's or EMNIST's (default: MNIST, which is built in)"
    defaults = {"layers": None, "transpose": False}  # noqa: RUF012
    quick = {"epochs": 2, "batch_size": 64, "learning_rate": 0.003}  # noqa: RUF012
    use = """\
images = np.zeros((1, 28, 28, 1), "float32")  # yours: white on black, from 0 to 1
print(model.predict(images).shape)"""

    def read(self, options: Options) -> Dataset:
        return datasets.read(options)

    def build(self, options: Options, data: Dataset) -> keras.Model:  # noqa: ARG002
        from ....models import autoencoder

        try:
            return autoencoder(options.layers)
        except ValueError as error:
            raise OptionError(f"--layers is '{options.layers}': {error}") from error

    def about(self, model: keras.Model, data: Dataset) -> dict[str, Any]:  # noqa: ARG002
        from ....models._autoencoder import described

        return {"model": self.name, "layers": described(model)}

    def loss(self) -> Any:
        from ....backends.keras.imported import keras

        return keras.losses.BinaryCrossentropy()

    def batches(self, options: Options, data: Dataset) -> Any:
        from ..batches import Batches

        return Batches(data.training, options.batch_size, options.seed)

    def validation_data(self, options: Options, data: Dataset) -> tuple[Any, Any]:  # noqa: ARG002
        images = grey(data.validation)[..., None]
        return images, images

    def evaluate(self, model: keras.Model, data: Dataset) -> Metrics:
        return digit_metrics(model, data, cross_entropy=True)

    def program(self, run: Run) -> str:
        from .keras_program import program

        return program(run.options)

    def report(self, run: Run, model: keras.Model, data: Dataset, metrics: Metrics) -> None:
        from . import report

        report.write_report(run, model, data, *metrics.details, **self.page_values(run))


def digit_metrics(model: keras.Model, data: Dataset, *, cross_entropy: bool) -> Metrics:
    """The metrics of a model that reconstructs digits: squared error and, optionally, cross-entropy."""
    from ..batches import predict

    predictions = predict(model, data.test)
    evaluation = reconstruction_metrics(grey(data.test), predictions, data.test_labels, data.classes)
    loss = f"{evaluation.loss:.4f}  binary cross-entropy; its floor for these images is {evaluation.floor:.4f}"
    return Metrics(
        lines=(*((("Test loss", loss),) if cross_entropy else ()), ("Test error", _error(evaluation))),
        columns=("class", "images", "loss", "floor", "error"),
        rows=tuple(
            (str(row.label), str(row.images), _number(row.loss, 4), _number(row.floor, 4), _number(row.error, 5))
            for row in evaluation.classes
        ),
        json=evaluation.to_json(),
        details=(evaluation, predictions),
    )


def _error(evaluation: Evaluation) -> str:
    return f"{evaluation.error:.5f}  mean squared error per pixel"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


TASK = AutoencoderTask()
