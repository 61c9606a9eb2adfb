"""Training batches in an order that depends on the seed, and predictions for images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ...backends.keras.imported import keras
from ...data import Bytes, Grey, grey
from .processes import ALONE

PREDICTION_BATCH = 500


class Shuffled(keras.utils.PyDataset):  # type: ignore[misc]
    """Training batches in an order that depends on the seed and the epoch only.

    By default a PyDataset has one worker, so Keras asks for the batches of an epoch in order. It may ask ahead, but
    makes a new iterator after `on_epoch_begin`.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        super().__init__()
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.part = ALONE
        self.shuffle(0)

    def shuffle(self, epoch: int) -> None:
        self.epoch = epoch
        self.order = np.random.default_rng((self.seed, epoch)).permutation(self.count)

    def __len__(self) -> int:
        return math.ceil(self.count / self.batch_size)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        whole = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.batch(np.split(whole, self.part.processes)[self.part.process])

    def batch(self, chosen: npt.NDArray[np.intp]) -> tuple[Any, Any]:
        """Inputs and targets. Randomness in them must depend on the seed, the epoch and each example's number only."""
        raise NotImplementedError


class Batches(Shuffled):
    """Batches of images that are their own targets."""

    def __init__(self, images: Bytes, batch_size: int, seed: int) -> None:
        self.images = images
        super().__init__(len(images), batch_size, seed)

    def batch(self, chosen: npt.NDArray[np.intp]) -> tuple[Grey, Grey]:
        batch = grey(self.images[chosen])[..., None]
        return batch, batch


def predict(model: keras.Model, images: Bytes) -> Grey:
    """The reconstructions, from 0 to 1, of images (n, 28, 28), in the same shape."""
    result = model.predict(grey(images)[..., None], batch_size=PREDICTION_BATCH, verbose=0)
    return np.asarray(result, np.float32)[..., 0]
