"""Datasets of training runs: common metadata, and MNIST split as the options say. Needs no Keras."""

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
    """A dataset with a name, three parts, and the digest `sha256` of the data that the weights depend on."""

    name: str
    training: Sized
    validation: Sized
    test: Sized
    sha256: Any  # a str, which mypy does not accept for cached properties

    def describe(self) -> dict[str, Any]:
        """The entry in config.json."""
        return {
            "name": self.name,
            **{part: len(getattr(self, part)) for part in ("training", "validation", "test")},
            **self.details(),
            "sha256": self.sha256,
        }

    def details(self) -> dict[str, Any]:
        """Further entries for `describe`."""
        return {}


@dataclass(frozen=True)
class Dataset(Described):
    """Images of shape (n, 28, 28), from 0 to 255.

    Attributes
    ----------
    name : str
        The source of the images.
    training, validation : array
    training_labels : array
    test, test_labels : array
        The images for the evaluation, and their classes.
    gallery, gallery_labels : array
        All test images, with some of every class.
    notes : tuple of str
        Notes on the files, printed before the training.
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
        """The digest of the images that the weights depend on."""
        digest = hashlib.sha256(self.training.tobytes())
        digest.update(self.validation.tobytes())
        return digest.hexdigest()

    def examples(self, label: int, count: int) -> npt.NDArray[np.intp]:
        """The indices of the first `count` images of a class in the gallery, or of all if there are fewer."""
        return np.flatnonzero(self.gallery_labels == label)[:count]


def read(options: Options) -> Dataset:
    """The data that the options ask for.

    --limit keeps the first images of each set. The last of those for training are used for validation.
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
