"""Trains the compressor on MNIST: digits to a few numbers, and back."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...._messages.wording import counted
from ....data import grey
from ....models._compressor import UPSAMPLE
from ...runs import Run
from ...runs.options import Options
from .. import datasets
from ..autoencoder.task import digit_metrics
from ..base import Metrics, Task, cosine_decay
from ..datasets import Dataset

if TYPE_CHECKING:
    import keras


class CompressorTask(Task):
    name = "compressor"
    data_help = "four IDX files, named like MNIST's or EMNIST's (default: MNIST, which is built in)"
    defaults = {  # noqa: RUF012
        "epochs": 15,
        "batch_size": 128,
        "validation_split": 0.1,
        "learning_rate": 0.002,
        "code": 32,
        "upsample": "transposed",
        "kernel": 4,
        "noise": 0.0,
        "transpose": False,
    }
    quick = {"epochs": 1, "limit": 20_000}  # noqa: RUF012
    use = """\
images = np.zeros((1, 28, 28, 1), "float32")  # yours: white on black, from 0 to 1
codes = model.get_layer("encoder").predict(images)
print(codes.shape, model.get_layer("decoder").predict(codes).shape)"""

    def read(self, options: Options) -> Dataset:
        return datasets.read(options)

    def build(self, options: Options, data: Dataset) -> keras.Model:  # noqa: ARG002
        from ....models import compressor

        assert options.code is not None
        assert options.upsample is not None
        assert options.kernel is not None
        return compressor(options.code, options.upsample, options.kernel)

    def about(self, model: keras.Model, data: Dataset) -> dict[str, Any]:  # noqa: ARG002
        decoder = model.get_layer("decoder")
        upsample = next(name for name in UPSAMPLE if any(layer.name == f"{name}_1" for layer in decoder.layers))
        return {"model": self.name, "code": int(decoder.input_shape[1]), "upsample": upsample}

    def loss(self) -> Any:
        from ....backends.keras.imported import keras

        return keras.losses.MeanSquaredError()

    def rate(self, options: Options, epoch: int) -> float:
        return cosine_decay(options, epoch)

    def batches(self, options: Options, data: Dataset) -> Any:
        from ..batches import Batches

        deviation = options.noise or 0.0

        class Noisy(Batches):
            def batch(self, chosen: npt.NDArray[np.intp]) -> tuple[Any, Any]:
                clean, _ = super().batch(chosen)
                # An image's noise is the same in any batch or process.
                rngs = [np.random.default_rng((self.seed, self.epoch, int(number))) for number in chosen]
                return np.stack([noisy(*at) for at in zip(clean, repeat(deviation), rngs, strict=False)]), clean

        kind = Noisy if deviation else Batches
        return kind(data.training, options.batch_size, options.seed)

    def validation_data(self, options: Options, data: Dataset) -> tuple[Any, Any]:
        images = grey(data.validation)[..., None]
        return noisy(images, options.noise or 0.0, np.random.default_rng(options.seed)), images

    def evaluate(self, model: keras.Model, data: Dataset) -> Metrics:
        """The metrics on images without noise, and the accuracy of a linear classifier on their codes."""
        from .... import codes
        from .inference import Compressor

        metrics = digit_metrics(model, data, cross_entropy=False)
        network = Compressor(self.export(model, data))  # does not compile anything
        train, test = (network.encoded(grey(images)) for images in (data.training[: codes.PROBED], data.test))
        accuracy = codes.probe(train, data.training_labels[: codes.PROBED], test, data.test_labels)
        size = network.code
        return Metrics(
            lines=(
                ("Code", f"{counted(size, 'number')} for {28 * 28} pixels, {28 * 28 / size:.1f} to 1"),
                *metrics.lines,
                ("Probe", f"{accuracy:.1%}  accuracy of a linear classifier on the codes"),
            ),
            columns=("class", "images", "error"),
            rows=tuple((row[0], row[1], row[-1]) for row in metrics.rows),
            json=metrics.json | {"code": size, "probe_accuracy": accuracy},
            details=(*metrics.details, test, accuracy),
        )

    def report(self, run: Run, model: keras.Model, data: Dataset, metrics: Metrics) -> None:
        from . import report

        report.write_report(run, model, data, metrics, self.export(model, data), **self.page_values(run))


def noisy(images: Any, deviation: float, rng: np.random.Generator) -> Any:
    """Add normal noise to every pixel, and clip at black and white."""
    if not deviation:
        return images
    return (images + rng.normal(0, deviation, images.shape).astype(np.float32)).clip(0, 1)


TASK = CompressorTask()
