"""The loss of a training step by the native core, if Keras's loss is binary cross-entropy of probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import keras


def native_losses(model: Any) -> AbstractContextManager[None]:
    """A context in which a model's compiled losses are computed natively. It is entered while a step is traced."""
    return other_losses(model, _binary_crossentropy)


@contextmanager
def other_losses(model: Any, function: Callable[..., Any]) -> Iterator[None]:
    """A context in which `function` replaces `keras.losses.binary_crossentropy` in a model's compiled losses.

    Only the function is replaced, so names, weights, reduction and saved files stay Keras's.
    """
    flat = getattr(model._compile_loss, "_flat_losses", None) or ()  # none before the loss has seen an output
    changed = [part.loss for part in flat if getattr(part.loss, "fn", None) is keras.losses.binary_crossentropy]
    try:
        for loss in changed:
            loss.fn = function
        yield
    finally:
        for loss in changed:
            loss.fn = keras.losses.binary_crossentropy


def _binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: Any = -1
) -> Any:
    """`keras.losses.binary_crossentropy` on JAX, by the native core where possible."""
    from ..backends.jax import losses

    ops, epsilon = keras.ops, keras.config.epsilon()
    predicted = ops.convert_to_tensor(y_pred)
    target = ops.cast(y_true, predicted.dtype)
    known = predicted.dtype == "float32" and target.shape == predicted.shape
    if from_logits or not known or not losses.LEAST_EPSILON <= epsilon <= 0.5:
        return keras.losses.binary_crossentropy(y_true, y_pred, from_logits, label_smoothing, axis)
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return ops.mean(losses.binary_crossentropy(target, predicted, epsilon), axis=axis)
