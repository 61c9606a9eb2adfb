"""How well images are reconstructed: cross-entropy, its floor, and squared error, image by image."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]

# Keras's own, so that the loss here is the one that it trains.
EPSILON = 1e-7


@dataclass(frozen=True)
class ClassFigures:
    """The means over one class's images; None if there are none."""

    label: int
    images: int
    loss: float | None
    error: float | None


@dataclass(frozen=True)
class Evaluation:
    """The means over all images: `loss` is the cross-entropy in nats, `floor` the lowest that it could be, `error`
    the squared error; each per pixel."""

    images: int
    loss: float
    floor: float
    error: float
    classes: tuple[ClassFigures, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def cross_entropy(targets: Grey, predictions: Grey) -> Values:
    """-(t log p + (1 - t) log(1 - p)), the mean of each image's pixels, of arrays (n, height, width)."""
    t = targets.astype(np.float64)
    p = np.clip(predictions.astype(np.float64), EPSILON, 1 - EPSILON)
    return np.asarray(-np.mean(t * np.log(p) + (1 - t) * np.log1p(-p), axis=(1, 2)))


def entropy(targets: Grey) -> Values:
    """What `cross_entropy` is at the least, and is if p = t: 0 for black and white, log 2 for an even grey."""
    return cross_entropy(targets, targets)


def squared_error(targets: Grey, predictions: Grey) -> Values:
    """(t - p)², the mean of each image's pixels."""
    return np.asarray(np.mean(np.square(targets.astype(np.float64) - predictions), axis=(1, 2)))


def evaluate(targets: Grey, predictions: Grey, labels: npt.NDArray[np.uint8], classes: list[int]) -> Evaluation:
    """The figures over all images and over each of `classes`."""
    losses, errors = cross_entropy(targets, predictions), squared_error(targets, predictions)
    figures = []
    for label in classes:
        own = labels == label
        count = int(own.sum())
        figures.append(
            ClassFigures(
                label,
                count,
                float(losses[own].mean()) if count else None,
                float(errors[own].mean()) if count else None,
            )
        )
    return Evaluation(
        images=len(targets),
        loss=float(losses.mean()),
        floor=float(entropy(targets).mean()),
        error=float(errors.mean()),
        classes=tuple(figures),
    )
