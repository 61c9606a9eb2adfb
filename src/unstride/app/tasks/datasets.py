"""What a run is trained and judged on: what all kinds of it tell of themselves, and MNIST's images, divided as the
run's options say. Needs no Keras."""

from __future__ import annotations

import hashlib
from collections.abc import Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import data
from ...data import Bytes
from ..errors import OptionError
from ..runs.options import Options


class Described:
    """Has a name, training, validation and test examples, and the digest `sha256` of all that the weights depend on."""

    name: str
    training: Sized
    validation: Sized
    test: Sized
    sha256: Any  # a str, as cached properties say in their own way

    def describe(self) -> dict[str, Any]:
        """For a run's config.json."""
        return {
            "name": self.name,
            **{part: len(getattr(self, part)) for part in ("training", "validation", "test")},
            **self.details(),
            "sha256": self.sha256,
        }

    def details(self) -> dict[str, Any]:
        """What else is worth telling."""
        return {}


@dataclass(frozen=True)
class Dataset(Described):
    """Images of shape (n, 28, 28), from 0 to 255.

    Attributes
    ----------
    name : str
        Where they are from.
    training, validation : array
    training_labels : array
    test, test_labels : array
        What the run is judged by.
    gallery, gallery_labels : array
        All test images, of which there are some of every class.
    notes : tuple of str
        What the user may want to know of the files, to be said before the training.
    """

    name: str
    training: Bytes
    training_labels: Bytes
    validation: Bytes
    test: Bytes
    test_labels: Bytes
    gallery: Bytes
    gallery_labels: Bytes
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> list[int]:
        return [int(label) for label in np.unique(self.gallery_labels)]

    @cached_property
    def sha256(self) -> str:
        """Of the images that the weights depend on."""
        digest = hashlib.sha256(self.training.tobytes())
        digest.update(self.validation.tobytes())
        return digest.hexdigest()

    def examples(self, label: int, count: int) -> npt.NDArray[np.intp]:
        """Where in the gallery the first `count` images of a class are; fewer if it has fewer."""
        return np.flatnonzero(self.gallery_labels == label)[:count]


def read(options: Options) -> Dataset:
    """The options' data, or an error that says what is wrong with either.

    A limit keeps the first so many training images, of which the last ones are for validation as without it,
    and the first so many test images.
    """
    transpose = bool(options.transpose)
    if transpose and options.data is None:
        raise OptionError("--transpose turns the images of a FOLDER such as EMNIST's; the digits built in are upright")
    (images, image_labels), (test, labels) = data.mnist(options.data, transpose)
    notes: tuple[str, ...] = ()
    if not transpose and data.is_emnist(options.data):
        notes = ("EMNIST's images are stored with rows and columns swapped; --transpose turns them upright",)
    images = images[: options.limit]
    training, _ = options.split(len(images))
    return Dataset(
        name="MNIST, embedded in unstride" if options.data is None else options.data,
        training=images[:training],
        training_labels=image_labels[:training],
        validation=images[training:],
        test=test[: options.limit],
        test_labels=labels[: options.limit],
        gallery=test,
        gallery_labels=labels,
        notes=notes,
    )
