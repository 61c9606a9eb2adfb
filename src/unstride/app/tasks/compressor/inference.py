"""The compressor on NumPy arrays, without Keras: encoding, decoding, and the activity of untrained decoders."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ....data import Doubles, Grey, Values
from ....models._compressor import SMALL, WIDTHS
from ....ops import conv, conv_transpose
from ...weights import ExportedModel
from ..autoencoder.inference import sigmoid

DRAWS, CODES = 32, 32
"""Sets of random weights, and random codes for each, over which `activity` takes the mean."""


class Compressor:
    """A trained compressor. `code` is the length of its codes."""

    def __init__(self, exported: ExportedModel) -> None:
        self.exported = exported
        self.code = int(exported.about["code"])
        self.upsample = str(exported.about["upsample"])

    def encoded(self, images: Grey) -> Values:
        """The codes (n, code) of images (n, 28, 28) from 0 to 1."""
        layer = self.exported.layer
        x: Values = np.ascontiguousarray(images, np.float32)[..., None]
        for name in ("encoder/conv_1", "encoder/conv_2"):
            x = conv(x, *layer(name), stride=2, padding=1, activation="relu")
        x = _dense(x.reshape(len(x), -1), *layer("encoder/dense"), relu=True)
        return _dense(x, *layer("encoder/code"))

    def decoded(self, codes: Values) -> Grey:
        """The images (n, 28, 28), from 0 to 1, of codes."""
        head = "decoder/"
        weights = {name[len(head) :]: values for name, values in self.exported.weights.items() if name.startswith(head)}
        return decoded(weights, self.upsample, codes)


def decoded(weights: Mapping[str, Values], upsample: str, codes: Values) -> Grey:
    """Decode codes (n, code) with these weights to images (n, 28, 28) from 0 to 1."""

    def layer(name: str) -> tuple[Values, Values]:
        return weights[f"{name}/kernel"], weights[f"{name}/bias"]

    x = _dense(codes, *layer("dense"), relu=True)
    x = _dense(x, *layer("grid"), relu=True).reshape(-1, SMALL, SMALL, WIDTHS[0])
    for number in (1, 2):
        kernel, bias = layer(f"{upsample}_{number}")
        if upsample == "transposed":
            x = conv_transpose(x, kernel, bias, stride=2, padding="same")
        elif upsample == "resize":
            x = conv(x.repeat(2, axis=1).repeat(2, axis=2), kernel, bias, padding="same")
        else:
            x = interleaved(conv(x, kernel, bias, padding="same"))
        x = np.maximum(x, 0) if number == 1 else sigmoid(x)
    return np.asarray(x[..., 0])


def random_weights(code: int, upsample: str, kernel: int, seed: int) -> dict[str, Values]:
    """The initial weights of a decoder, with the distributions of `models.compressor`."""
    rng = np.random.default_rng(seed)
    weights: dict[str, Values] = {}

    def add(name: str, shape: tuple[int, ...], last: bool = False) -> None:
        *taps, into, out = shape
        # By the order of its kernel, Keras counts a transposed convolution's output channels as inputs.
        area = math.prod(taps)
        if last:  # Glorot's, before a sigmoid
            bound = math.sqrt(6 / (area * (into + out)))
            values = rng.uniform(-bound, bound, shape)
        else:  # He's, truncated at two standard deviations, before a ReLU
            values = _cut_normal(rng, shape) * math.sqrt(2 / (area * into)) / 0.87962566103423978
        weights[f"{name}/kernel"] = values.astype(np.float32)

    add("dense", (code, 256))
    add("grid", (256, SMALL * SMALL * WIDTHS[0]))
    before = WIDTHS[0]
    for number, filters in ((1, WIDTHS[1]), (2, 1)):
        outputs = 4 * filters if upsample == "subpixel" else filters
        channels = (outputs, before) if upsample == "transposed" else (before, outputs)
        add(f"{upsample}_{number}", (kernel, kernel, *channels), last=number == 2)
        weights[f"{upsample}_{number}/bias"] = np.zeros(outputs, np.float32)
        before = filters
    weights["dense/bias"] = np.zeros(256, np.float32)
    weights["grid/bias"] = np.zeros(SMALL * SMALL * WIDTHS[0], np.float32)
    return weights


def activity(weights: Mapping[str, Values], upsample: str, seed: int, draws: int = DRAWS, codes: int = CODES) -> Grey:
    """The mean squared distance of each pixel from grey, over random codes and random weights.

    A mean over many sets of weights is needed: the chance values of one set would hide how many taps reach a pixel.

    Parameters
    ----------
    weights : arrays by name
        The weights of an untrained decoder. Each set has the same numbers in another random order.
    upsample : {"transposed", "resize", "subpixel"}
        How the decoder upsamples.
    seed : int
    draws, codes : int
        The number of sets of weights, and of codes for each.

    Returns
    -------
    array (28, 28)
    """
    rng = np.random.default_rng(seed)
    size = weights["dense/kernel"].shape[0]
    total = np.zeros((4 * SMALL, 4 * SMALL))
    for _ in range(draws):
        drawn = {name: _reordered(values, rng) for name, values in weights.items()}
        asked = rng.standard_normal((codes, size)).astype(np.float32)
        total += np.square(decoded(drawn, upsample, asked) - 0.5).mean(0)
    return np.asarray(total / draws, np.float32)


def _reordered(values: Values, rng: np.random.Generator) -> Values:
    """The same numbers in another order. Large arrays of independent numbers are only rotated, which is faster."""
    flat = values.ravel()
    many = flat.size > 100_000
    flat = np.roll(flat, int(rng.integers(flat.size))) if many else rng.permutation(flat)
    return flat.reshape(values.shape)


def stretched(image: Grey) -> Grey:
    """The image scaled so that its smallest value is 0 and its largest 1."""
    low, high = float(image.min()), float(image.max())
    return np.asarray((image - low) / ((high - low) or 1.0), np.float32)


def _dense(x: Values, kernel: Values, bias: Values, relu: bool = False) -> Values:
    y = x @ kernel + bias
    return np.asarray(np.maximum(y, 0) if relu else y)


def interleaved(x: Values) -> Values:
    """Depth to space with blocks of 2x2, as the layer DepthToSpace(2)."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, 2 * height, 2 * width, channels // 4)


def _cut_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Doubles:
    """Normal numbers truncated at two standard deviations, by drawing again."""
    values = rng.standard_normal(shape)
    while (beyond := np.abs(values) > 2).any():
        values[beyond] = rng.standard_normal(int(beyond.sum()))
    return values
