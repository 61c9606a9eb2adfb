"""The models. Each is a function that builds a `keras.Model` and imports Keras only when called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ._autoencoder import autoencoder
from ._compressor import compressor
from ._segmenter import segmenter
from ._upscaler import upscaler

if TYPE_CHECKING:
    import keras

__all__ = ["MODELS", "autoencoder", "compressor", "segmenter", "upscaler"]

MODELS: dict[str, Callable[..., keras.Model]] = {
    "autoencoder": autoencoder,
    "compressor": compressor,
    "upscaler": upscaler,
    "segmenter": segmenter,
}
"""The models by the names that `unstride train` uses."""
