"""Puts exported weights, without normalizations, back into a Keras model that has them, to train it further."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....backends.keras.imported import keras
from ....data import Values
from ...errors import RunError


def assign(model: keras.Model, weights: dict[str, Values], images: Values, last: str) -> None:
    """Assign weights from `export_weights` to a new model of the same kind.

    Batch normalizations had been folded into their convolutions. They are restored with the mean and variance of the
    convolution's results on `images`, and with a scale and an offset that undo them. The model then computes the same
    as the weights, also in training mode, as far as `images` resemble the training data. The layer `last` keeps its
    random weights if the given ones are for another number of classes.

    Raises
    ------
    RunError
        If a layer's weights are missing or have another shape.
    """
    normalized = []
    for layer in model.layers:
        if not hasattr(layer, "kernel"):
            continue
        kernel, bias = (weights.get(f"{layer.name}/{name}") for name in ("kernel", "bias"))
        if kernel is None or bias is None or kernel.shape != tuple(layer.kernel.shape):
            if kernel is not None and layer.name == last and kernel.shape[:-1] == tuple(layer.kernel.shape)[:-1]:
                continue
            shape = "missing" if kernel is None or bias is None else f"of shape {kernel.shape}"
            raise RunError(
                f"--start: the kernel of {layer.name} is {shape}; expected one of shape {tuple(layer.kernel.shape)}"
            )
        layer.kernel.assign(kernel)
        after = _normalization(layer)
        if after is None:
            layer.bias.assign(bias)
            continue
        after.gamma.assign(np.ones(bias.shape))
        after.beta.assign(bias)
        after.moving_mean.assign(np.zeros(bias.shape))
        after.moving_variance.assign(np.full(bias.shape, 1 - after.epsilon))
        normalized.append((layer, after, bias))
    results = keras.Model(model.inputs, [layer.output for layer, _, _ in normalized])
    seen = results.predict(images, batch_size=16, verbose=0)
    for (_, after, bias), values in zip(normalized, seen, strict=True):
        axes = tuple(range(values.ndim - 1))
        mean, variance = values.mean(axes, dtype=np.float64), values.var(axes, dtype=np.float64)
        after.gamma.assign(np.sqrt(variance + after.epsilon))
        after.beta.assign(bias + mean)
        after.moving_mean.assign(mean)
        after.moving_variance.assign(variance)


def _normalization(layer: Any) -> Any:
    """The batch normalization that follows a layer, if any."""
    for node in layer._outbound_nodes:
        if isinstance(node.operation, keras.layers.BatchNormalization):
            return node.operation
    return None
