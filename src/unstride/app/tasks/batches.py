"""The batches that a model learns from, in an order that the seed decides; and what a model makes of images."""

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
    """A training's batches, in an order that the seed and the epoch's number decide.

    Keras asks for the batches of an epoch one after another, because a PyDataset has one worker unless told
    otherwise. It may ask ahead, but makes a new iterator once `on_epoch_begin` has been called.
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
        """Inputs and targets. What is random in them is to be a function of the seed, the epoch and each number."""
        raise NotImplementedError


class Batches(Shuffled):
    """Images, each its own target."""

    def __init__(self, images: Bytes, batch_size: int, seed: int) -> None:
        self.images = images
        super().__init__(len(images), batch_size, seed)

    def batch(self, chosen: npt.NDArray[np.intp]) -> tuple[Grey, Grey]:
        batch = grey(self.images[chosen])[..., None]
        return batch, batch


def predict(model: keras.Model, images: Bytes) -> Grey:
    """The reconstructions of images (n, 28, 28), from 0 to 1, in the same shape."""
    result = model.predict(grey(images)[..., None], batch_size=PREDICTION_BATCH, verbose=0)
    return np.asarray(result, np.float32)[..., 0]
