"""The compressor's report: digits, a map of the codes, walks between them, and the checkerboards of decoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .... import codes
from ....backends.keras.imported import keras
from ....data import Grey, grey
from ...report.charts import Theme
from ...report.page import Picture, draw, layers, losses, render
from ...runs import Run
from ...weights import ExportedModel
from ..autoencoder import report
from ..base import Metrics
from ..datasets import Dataset
from . import charts
from .inference import Compressor, activity, decoded, random_weights, stretched
from .lessons import taught

COMPARED = (("transposed", 4), ("transposed", 3), ("resize", 3), ("subpixel", 3))
"""Decoders to compare. One transposed convolution has a kernel that is a multiple of the stride 2, the other not."""
STEPS_OF_A_LESSON, BATCH = (32, 300), 64
"""The fewest and the most steps of a lesson, and the images in each step.

A lesson sees a tenth of the images that the run saw, so that a short training has its report soon, but enough to show
the decoder's tendency.
"""
MEASURED = 1000
MAPPED = 3000
STEPS = 10


@dataclass(frozen=True)
class Checker:
    """A decoder's checkerboard before and after a lesson, in percent of the contrast (`codes.checkerboard`).

    Attributes
    ----------
    untrained : float
        The checkerboard of `activity`, before the lesson.
    trained, error : float
        The checkerboard of the images after the lesson, and their mean squared error.
    activity, digit, images : arrays
        Arrays (28, 28), (28, 28) and (n, 28, 28). `images` are those that were measured.
    """

    name: str
    kernel: int
    untrained: float
    trained: float
    error: float
    activity: Grey
    digit: Grey
    images: Grey


def write_report(
    run: Run, model: keras.Model, dataset: Dataset, metrics: Metrics, weights: ExportedModel, **values: Any
) -> None:
    evaluation, predictions, test_codes, accuracy = metrics.details
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    network = Compressor(weights)
    measured = dataset.test[:MEASURED]
    steps = lesson_steps(run.options.epochs * len(dataset.training))
    compared = compare(network, dataset, run.options.seed, steps)
    digit = grey(dataset.gallery[:1])[..., None]
    render(
        run,
        "compressor.html",
        model,
        losses=losses(run, "mean squared error"),
        layers=[
            *layers(run, encoder, digit, "encoder"),
            *layers(run, decoder, encoder.predict(digit, verbose=0), "decoder"),
        ],
        digit=int(dataset.gallery_labels[0]),
        accuracy=accuracy,
        code=test_codes.shape[1],
        map=_map(run, test_codes, dataset, accuracy),
        walk=_walk(run, network, dataset),
        compared=compared,
        steps=steps,
        original=codes.checkerboard(grey(measured)),
        own=codes.checkerboard(predictions[:MEASURED]),
        checkerboards=_checkerboards(run, compared, grey(dataset.gallery[:1])[0], grey(measured)),
        **report.pages(run, model, dataset, evaluation, predictions),
        **values,
    )


def lesson_steps(seen: int) -> int:
    """The steps of a lesson after a training that saw `seen` images.

    >>> lesson_steps(1600), lesson_steps(100_000), lesson_steps(15 * 54_000)
    (32, 157, 300)
    """
    least, most = STEPS_OF_A_LESSON
    return min(max(-(-seen // (10 * BATCH)), least), most)


def compare(network: Compressor, dataset: Dataset, seed: int, steps: int) -> list[Checker]:
    """Measure each decoder of `COMPARED` before and after a lesson on the same codes."""
    lesson = grey(dataset.training[: steps * BATCH])
    learned = network.encoded(lesson)
    asked = network.encoded(grey(np.concatenate([dataset.gallery[:1], dataset.test[:MEASURED]])))
    targets = grey(dataset.test[:MEASURED])
    compared = []
    for name, kernel in COMPARED:
        weights = random_weights(network.code, name, kernel, seed)
        active = activity(weights, name, seed)
        # The gradient of the cross-entropy does not vanish where a sigmoid is saturated and wrong. With squared errors,
        # some decoders never left black.
        weights = taught(weights, name, learned, lesson, steps=steps, batch=BATCH, seed=seed)
        digit, *images = decoded(weights, name, asked)
        drawn = np.stack(images)
        compared.append(
            Checker(
                name,
                kernel,
                codes.checkerboard(active[None]),
                codes.checkerboard(drawn),
                float(np.mean((drawn - targets) ** 2)),
                active,
                digit,
                drawn,
            )
        )
    return compared


def _checkerboards(run: Run, compared: list[Checker], digit: Grey, targets: Grey) -> Picture:
    alt = (
        "For each of the decoders "
        + ", ".join(f"{at.name} {at.kernel}x{at.kernel}" for at in compared)
        + ": how strongly each pixel answers to random codes before anything is learned, "
        + ", ".join(f"{at.untrained:.1f}%" for at in compared)
        + " of the contrast being a checkerboard; a digit after the lesson; and the spectrum of many."
    )
    return draw(run, "checkerboards", alt, lambda theme: checkerboards(compared, digit, targets, theme))


def checkerboards(compared: list[Checker], digit: Grey, targets: Grey, theme: Theme) -> Figure:
    """The decoders before and after the lesson, below their kernels and their checkerboards before it."""
    rows: list[tuple[str, list[Grey]]] = [
        ("untrained: how strongly each pixel answers", [stretched(at.activity) for at in compared]),
        ("after the lesson", [at.digit for at in compared]),
        ("the digit", [digit] * len(compared)),
        ("spectrum after the lesson", [spectrum(at.images) for at in compared]),
        ("spectrum of the originals", [spectrum(targets)] * len(compared)),
    ]
    columns = [f"{at.name}\n{at.kernel}×{at.kernel}: {at.untrained:.0f}%" for at in compared]
    return charts.table(columns, rows, theme)


def spectrum(images: Any) -> Grey:
    """The mean power spectrum, with frequency 0 in the middle, on a logarithmic scale of five decades."""
    power = (np.abs(np.fft.fft2(images.astype(np.float64))) ** 2).mean(0)
    power[0, 0] = 0
    power = np.fft.fftshift(power) / (power.max() or 1.0)
    return np.asarray((np.log10(power + 1e-5) + 5) / 5, np.float32)


def _map(run: Run, test_codes: Any, dataset: Dataset, accuracy: float) -> Picture:
    shown, labels = test_codes[:MAPPED], dataset.test_labels[:MAPPED]
    places = codes.plane(shown, labels)
    alt = (
        f"The codes of {len(shown)} test images as points in a plane, coloured by class, each class's number in the "
        f"middle of its points. A linear classifier is right for {accuracy:.1%} of all codes."
    )
    return draw(run, "codes", alt, lambda theme: charts.scatter(places, labels, theme))


def _walk(run: Run, network: Compressor, dataset: Dataset) -> Picture:
    places = [int(dataset.examples(label, 1)[0]) for label in dataset.classes]
    if len(places) == 1:
        places = [0, len(dataset.gallery) - 1]
    ends = network.encoded(grey(dataset.gallery[places]))
    rows = []
    for number in range(0, len(places) - 1, 2):
        steps = network.decoded(codes.between(ends[number], ends[number + 1], STEPS))
        rows.append(("", list(steps)))
    alt = f"Rows of {STEPS} digits, each turning from one class's into the next's: decoded from the codes in between."
    return draw(run, "walk", alt, lambda theme: charts.table([], rows, theme))
