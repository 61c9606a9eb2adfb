"""The models, each a function that builds a `keras.Model`, and imports Keras only when it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ._autoencoder import autoencoder

if TYPE_CHECKING:
    import keras

__all__ = ["MODELS", "autoencoder"]

MODELS: dict[str, Callable[[], keras.Model]] = {"autoencoder": autoencoder}
"""What `unstride train` can train, by name."""
