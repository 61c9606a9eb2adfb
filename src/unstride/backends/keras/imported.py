"""Keras, imported with a backend that is installed. Our modules take it from here, so that this is decided once."""

from __future__ import annotations

from . import keras_backend

try:
    with keras_backend.settled():
        import keras
except ModuleNotFoundError as error:
    if error.name != "keras":  # Keras is there, something that it needs is not
        raise
    raise ModuleNotFoundError(
        'unstride.keras needs Keras 3.15 or later: pip install "unstride[keras]"', name="keras"
    ) from None

__all__ = ["keras"]
