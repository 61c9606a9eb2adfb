"""The options that determine the results of a training, with the reading's as defaults."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..._messages.wording import counted
from ..errors import OptionError

LARGEST = 2**53
"""The largest integer option: larger ones would lose digits as floats."""

KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "text"),
    "bool": ((bool,), "true or false"),
}
"""The options' types and their names in messages."""


@dataclass(frozen=True)
class Options:
    """The options that determine the results of a training. The defaults are the reading's."""

    model: str = "autoencoder"
    epochs: int = 25
    batch_size: int = 1000
    validation_split: float = 0.2
    learning_rate: float = 0.001
    limit: int | None = None
    seed: int = 0
    data: str | None = None
    backend: str = "jax"
    precision: str = "float32"
    # Options of some models, None for the others.
    scale: int | None = None
    code: int | None = None
    upsample: str | None = None
    kernel: int | None = None
    noise: float | None = None
    layers: str | None = None
    quick: bool = False
    """Whether the defaults are those of a quick training."""
    start: str | None = None
    transpose: bool | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            self._check_type(field.name, str(field.type))
        for name, least in (("epochs", 1), ("batch_size", 1), ("limit", 1), ("code", 1), ("kernel", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(f"{flag(name)} is {value}; expected at least {least}")
        if self.precision not in ("float32", "bfloat16"):
            raise OptionError(f"--precision is {self.precision}; expected float32 or bfloat16")
        if self.scale not in (None, 2, 3, 4):
            raise OptionError(f"--scale is {self.scale}; expected 2, 3 or 4")
        if self.upsample not in (None, "transposed", "resize", "subpixel"):
            raise OptionError(f"--upsample is {self.upsample}; expected transposed, resize or subpixel")
        if self.noise is not None and not 0 <= self.noise < math.inf:
            raise OptionError(f"--noise is {self.noise}; expected a deviation of at least 0, pixels being 0 to 1")
        if not 0 < self.validation_split < 1:
            raise OptionError(
                f"--validation-split is {self.validation_split}; expected a share between 0 and 1, as 0.2"
            )
        if not 0 < self.learning_rate < math.inf:
            raise OptionError(f"--learning-rate is {self.learning_rate}; expected a positive number")
        if not 0 <= self.seed < 2**32:
            raise OptionError(f"--seed is {self.seed}; expected a number from 0 to {2**32 - 1}")
        for name, value in vars(self).items():
            if isinstance(value, int) and value > LARGEST:
                raise OptionError(f"{flag(name)} is {value}; expected at most {LARGEST}")

    def _check_type(self, name: str, annotation: str) -> None:
        value = getattr(self, name)
        kind, _, optional = annotation.partition(" | ")
        if value is None and optional:
            return
        types, words = KINDS[kind]
        if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
            raise OptionError(f"{flag(name)} is {value!r:.60}; expected {words}")

    def split(self, images: int) -> tuple[int, int]:
        """The numbers of images for training and for validation, which are the last ones, as Keras splits them."""
        training = math.floor(images * (1 - self.validation_split))
        if not 0 < training < images:
            raise OptionError(
                f"{'the data has' if self.limit is None else '--limit leaves'} {counted(images, 'image')}; "
                f"--validation-split {self.validation_split} takes {images - training} for validation and "
                f"leaves {training} for training; expected at least 1 of each"
            )
        if self.batch_size > training:
            raise OptionError(
                f"--batch-size is {self.batch_size}; expected at most {training}, the images for training "
                f"({images} less {images - training} for validation)"
            )
        return training, images - training

    def steps(self, training: int) -> int:
        """Batches in an epoch of `training` images. The last one may be smaller."""
        return math.ceil(training / self.batch_size)


def flag(name: str) -> str:
    """An option as written on the command line."""
    return "MODEL" if name == "model" else "--" + name.replace("_", "-")
