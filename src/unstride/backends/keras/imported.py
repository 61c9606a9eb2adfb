"""Keras, imported with an installed backend. Our modules import it from here, so that the choice is made once."""

from __future__ import annotations

from . import keras_backend

try:
    with keras_backend.settled():
        import keras
except ModuleNotFoundError as error:
    if error.name != "keras":  # Keras is installed, but one of its dependencies is not
        raise
    raise ModuleNotFoundError(
        'unstride.keras needs Keras 3.15 or later: pip install "unstride[keras]"', name="keras"
    ) from None

__all__ = ["keras"]
