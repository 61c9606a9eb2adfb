"""Trains the compressor's decoders on NumPy arrays, because Keras would first compile a program for each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from ....data import Grey, Values
from ....geometry import Geometry, convolution
from ....models._compressor import SMALL, WIDTHS
from ....ops import conv, conv_transpose, kernel_gradient
from ..autoencoder.inference import sigmoid
from .inference import interleaved

RATE, DECAYS, EPSILON = 0.002, (0.9, 0.999), 1e-7
"""Adam's parameters: Keras's defaults, with another rate."""


def taught(
    weights: Mapping[str, Values], upsample: str, codes: Values, targets: Grey, *, steps: int, batch: int, seed: int
) -> dict[str, Values]:
    """Train a decoder with `steps` steps of Adam on the cross-entropy of its images, and return its weights.

    Parameters
    ----------
    weights : arrays by name
        The initial weights, such as those of `random_weights`.
    upsample : {"transposed", "resize", "subpixel"}
        How the decoder upsamples.
    codes, targets : arrays (n, code) and (n, 28, 28)
        The inputs, and the images that they should become, from 0 to 1.
    steps, batch : int
        The number of steps, and of images in each. `seed` shuffles the images, anew for each pass over them.
    """
    now = {name: np.array(values, np.float32) for name, values in weights.items()}
    first = {name: np.zeros_like(values) for name, values in now.items()}
    second = {name: np.zeros_like(values) for name, values in now.items()}
    beta, gamma = DECAYS
    for step, chosen in zip(range(1, steps + 1), _batches(len(codes), batch, seed), strict=False):
        rate = RATE * math.sqrt(1 - gamma**step) / (1 - beta**step)  # a NumPy float would make everything float64
        for name, grad in gradients(now, upsample, codes[chosen], targets[chosen]).items():
            first[name] += (1 - beta) * (grad - first[name])
            second[name] += (1 - gamma) * (np.square(grad) - second[name])
            now[name] -= rate * first[name] / (np.sqrt(second[name]) + EPSILON)
    return now


def _batches(count: int, batch: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(count)
        yield from (order[start : start + batch] for start in range(0, count, batch))


def gradients(weights: Mapping[str, Values], upsample: str, codes: Values, targets: Grey) -> dict[str, Values]:
    """The gradient of the mean binary cross-entropy with respect to each of a decoder's weights.

    The gradient goes back through a transposed convolution by the convolution with the same kernel, and the other
    way round.
    """
    grads: dict[str, Values] = {}

    def dense(name: str, x: Values, grad_output: Values) -> Values:
        grads[f"{name}/kernel"], grads[f"{name}/bias"] = x.T @ grad_output, grad_output.sum(0)
        return np.asarray(grad_output @ weights[f"{name}/kernel"].T)

    hidden = np.maximum(codes @ weights["dense/kernel"] + weights["dense/bias"], 0)
    flat = np.maximum(hidden @ weights["grid/kernel"] + weights["grid/bias"], 0)
    grid = flat.reshape(-1, SMALL, SMALL, WIDTHS[0])
    middle = np.maximum(_doubled(weights, upsample, 1, grid), 0)
    image = sigmoid(_doubled(weights, upsample, 2, middle))

    grad_output = np.asarray((image - targets[..., None]) / image.size, np.float32)
    grad_output = _back(weights, upsample, 2, middle, grad_output, grads) * (middle > 0)
    grad_output = _back(weights, upsample, 1, grid, grad_output, grads).reshape(flat.shape) * (flat > 0)
    grad_output = dense("grid", hidden, grad_output) * (hidden > 0)
    dense("dense", codes, grad_output)
    return grads


def _geometry(upsample: str, kernel: int, side: int) -> Geometry:
    if upsample == "transposed":
        return Geometry((kernel, kernel), 2, "same")
    return convolution((side, side), (kernel, kernel), 1, "same")


def _doubled(weights: Mapping[str, Values], upsample: str, number: int, x: Values) -> Values:
    """A layer that doubles the grid, without its activation."""
    kernel, bias = weights[f"{upsample}_{number}/kernel"], weights[f"{upsample}_{number}/bias"]
    if upsample == "transposed":
        return np.asarray(conv_transpose(x, kernel, bias, _geometry(upsample, len(kernel), x.shape[1])))
    if upsample == "resize":
        x = x.repeat(2, axis=1).repeat(2, axis=2)
        return np.asarray(conv(x, kernel, bias, _geometry(upsample, len(kernel), x.shape[1])))
    return interleaved(np.asarray(conv(x, kernel, bias, _geometry(upsample, len(kernel), x.shape[1]))))


def _back(
    weights: Mapping[str, Values], upsample: str, number: int, x: Values, grad_output: Values, grads: dict[str, Values]
) -> Values:
    """Store the gradients of that layer's weights in `grads`, and return the gradient with respect to `x`."""
    name = f"{upsample}_{number}"
    kernel = weights[f"{name}/kernel"]
    if upsample == "transposed":
        geometry = _geometry(upsample, len(kernel), x.shape[1])
        grads[f"{name}/kernel"] = np.asarray(kernel_gradient(grad_output, x, geometry))
        grads[f"{name}/bias"] = grad_output.sum((0, 1, 2))
        return np.asarray(conv(grad_output, kernel, geometry=geometry))
    if upsample == "resize":
        x = x.repeat(2, axis=1).repeat(2, axis=2)
    else:
        grad_output = _apart(grad_output)
    geometry = _geometry(upsample, len(kernel), x.shape[1])
    grads[f"{name}/kernel"] = np.asarray(kernel_gradient(x, grad_output, geometry))
    grads[f"{name}/bias"] = grad_output.sum((0, 1, 2))
    back = np.asarray(conv_transpose(grad_output, kernel, geometry=geometry))
    if upsample == "subpixel":
        return back
    n, height, width, channels = back.shape
    return np.asarray(back.reshape(n, height // 2, 2, width // 2, 2, channels).sum((2, 4)))


def _apart(x: Values) -> Values:
    """Space to depth with blocks of 2x2, the inverse of `interleaved`."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return np.ascontiguousarray(x.reshape(n, height // 2, width // 2, 4 * channels))
