"""The compressor's report: its digits, a map of its codes, a walk between them, and the checkerboard of decoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from . import code_pictures, codes, deployed, reconstructions
from .compressing import activity, stretched
from .dataset import Dataset, Grey, grey
from .models._compressor import decoder as build_decoder
from .report import Picture, draw, layers, losses, render
from .runs import Run
from .tasks.base import Figures

COMPARED = (("transposed", 4), ("transposed", 3), ("resize", 3), ("subpixel", 3))
"""Decoders side by side: transposed convolutions whose kernel is a multiple of the stride 2 and one that is not."""
LESSON, BATCH = 19_200, 128
MEASURED = 1000
MAPPED = 3000
STEPS = 10


@dataclass(frozen=True)
class Checker:
    """A decoder's energy at the stride's frequency, in percent.

    Attributes
    ----------
    untrained : float
        Of `activity`, how strongly each pixel answers to random codes, the mean of many sets of random weights.
    trained, error : float
        Of its images after the lesson, and their mean squared error.
    activity, digit, images : arrays
        The first two (28, 28); the last those that were measured.
    """

    name: str
    kernel: int
    untrained: float
    trained: float
    error: float
    activity: Grey
    digit: Grey
    images: Grey


def write_report(run: Run, model: keras.Model, dataset: Dataset, figures: Figures) -> None:
    evaluation, predictions, test_codes, accuracy = figures.found
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    measured = dataset.test[:MEASURED]
    compared = compare(encoder, dataset, run.options.seed)
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
        walk=_walk(run, encoder, decoder, dataset),
        compared=compared,
        steps=-(-min(LESSON, len(dataset.training)) // BATCH),
        original=codes.checkerboard(grey(measured)),
        own=codes.checkerboard(predictions[:MEASURED]),
        checkerboards=_checkerboards(run, compared, grey(dataset.gallery[:1])[0], grey(measured)),
        **reconstructions.pages(run, model, dataset, evaluation, predictions),
    )


def compare(encoder: keras.Model, dataset: Dataset, seed: int) -> list[Checker]:
    """Each of `COMPARED`, before and after it has learned the same codes for the same few steps."""
    lesson = dataset.training[:LESSON]
    taught = codes.encoded(encoder, lesson)
    asked = codes.encoded(encoder, np.concatenate([dataset.gallery[:1], dataset.test[:MEASURED]]))
    targets = grey(dataset.test[:MEASURED])
    made = []
    for name, kernel in COMPARED:
        keras.utils.set_random_seed(seed)
        decoder = build_decoder(asked.shape[1], name, kernel)
        active = activity(deployed.extracted(decoder), name, seed)
        # Whose gradient does not vanish where a sigmoid is sure and wrong: by squared errors some never left black.
        decoder.compile(keras.optimizers.Adam(0.002), "binary_crossentropy")
        decoder.fit(taught, grey(lesson)[..., None], batch_size=BATCH, verbose=0)
        digit, *images = codes.decoded(decoder, asked)
        drawn = np.stack(images)
        made.append(
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
    return made


def _checkerboards(run: Run, compared: list[Checker], digit: Grey, targets: Grey) -> Picture:
    rows: list[tuple[str, list[Grey]]] = [
        ("untrained: how strongly each pixel answers", [stretched(at.activity) for at in compared]),
        ("after the lesson", [at.digit for at in compared]),
        ("the digit", [digit] * len(compared)),
        ("spectrum after the lesson", [spectrum(at.images) for at in compared]),
        ("spectrum of the originals", [spectrum(targets)] * len(compared)),
    ]
    columns = [f"{at.name}\n{at.kernel}×{at.kernel}" for at in compared]
    alt = (
        "For each of the decoders "
        + ", ".join(f"{at.name} {at.kernel}x{at.kernel}" for at in compared)
        + ": how strongly each pixel answers to random codes before anything is learned, "
        + ", ".join(f"{at.untrained:.1f}%" for at in compared)
        + " of it at the stride's frequency; a digit after the lesson; and the spectrum of many."
    )
    return draw(run, "checkerboards", alt, lambda theme: code_pictures.table(columns, rows, theme))


def spectrum(images: Any) -> Grey:
    """The mean power of every frequency, 0 in the middle, on a logarithmic scale over five decades."""
    power = (np.abs(np.fft.fft2(images.astype(np.float64))) ** 2).mean(0)
    power[0, 0] = 0
    power = np.fft.fftshift(power) / (power.max() or 1.0)
    return np.asarray((np.log10(power + 1e-5) + 5) / 5, np.float32)


def _map(run: Run, test_codes: Any, dataset: Dataset, accuracy: float) -> Picture:
    shown, labels = test_codes[:MAPPED], dataset.test_labels[:MAPPED]
    places = codes.plane(shown, labels)
    alt = (
        f"The codes of {len(shown)} test images as points in a plane, coloured by class, each class's number in the "
        f"middle of its points. A linear classifier tells {accuracy:.1%} of all codes' classes."
    )
    return draw(run, "codes", alt, lambda theme: code_pictures.scatter(places, labels, theme))


def _walk(run: Run, encoder: keras.Model, decoder: keras.Model, dataset: Dataset) -> Picture:
    places = [int(dataset.examples(label, 1)[0]) for label in dataset.classes]
    if len(places) == 1:
        places = [0, len(dataset.gallery) - 1]
    ends = codes.encoded(encoder, dataset.gallery[places])
    rows = []
    for number in range(0, len(places) - 1, 2):
        steps = codes.decoded(decoder, codes.between(ends[number], ends[number + 1], STEPS))
        rows.append(("", list(steps)))
    alt = f"Rows of {STEPS} digits, each turning from one class's into the next's: decoded from the codes in between."
    return draw(run, "walk", alt, lambda theme: code_pictures.table([], rows, theme))
