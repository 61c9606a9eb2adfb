"""Metrics of reconstructions, for each image: cross-entropy, its floor, and squared error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ....data import Bytes, Doubles, Grey

# Keras's value, so that this loss is the one that is trained.
EPSILON = 1e-7


@dataclass(frozen=True)
class ClassMetrics:
    """The means over the images of a class; None if there are none."""

    label: int
    images: int
    loss: float | None
    floor: float | None
    error: float | None


@dataclass(frozen=True)
class Evaluation:
    """The means over all pixels of all images.

    `loss` is the cross-entropy in nats, `floor` its lowest possible value, `error` the squared error.
    """

    images: int
    loss: float
    floor: float
    error: float
    classes: tuple[ClassMetrics, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def cross_entropy(targets: Grey, predictions: Grey) -> Doubles:
    """-(t log p + (1 - t) log(1 - p)), the mean over the pixels of each image, for arrays (n, height, width)."""
    t = targets.astype(np.float64)
    # Clipped in float32 as in Keras, where 1 - EPSILON is rounded down.
    p = np.clip(predictions, np.float32(EPSILON), np.float32(1 - EPSILON)).astype(np.float64)
    return np.asarray(-np.mean(t * np.log(p) + (1 - t) * np.log1p(-p), axis=(1, 2)))


def entropy(targets: Grey) -> Doubles:
    """The lowest `cross_entropy`, at p = t: 0 for black and white, log 2 for a middle grey."""
    return cross_entropy(targets, targets)


def squared_error(targets: Grey, predictions: Grey) -> Doubles:
    """(t - p)², the mean over the pixels of each image."""
    return np.asarray(np.mean(np.square(targets.astype(np.float64) - predictions), axis=(1, 2)))


def reconstruction_metrics(targets: Grey, predictions: Grey, labels: Bytes, classes: list[int]) -> Evaluation:
    """The metrics over all images and over each of `classes`."""
    values = {
        "loss": cross_entropy(targets, predictions),
        "floor": entropy(targets),
        "error": squared_error(targets, predictions),
    }

    def means(chosen: npt.NDArray[np.bool_]) -> dict[str, float | None]:
        return {name: float(value[chosen].mean()) if chosen.any() else None for name, value in values.items()}

    return Evaluation(
        images=len(targets),
        **{name: float(value.mean()) for name, value in values.items()},
        classes=tuple(ClassMetrics(label, int((labels == label).sum()), **means(labels == label)) for label in classes),
    )
