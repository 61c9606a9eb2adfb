"""The autoencoder on NumPy arrays, without Keras: the output of every layer, and the cells that reach a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ....data import Grey, Values
from ....geometry import ArgumentError
from ....models._autoencoder import SIDE, Row, parsed, table
from ....ops import conv, conv_transpose
from ...weights import ExportedModel


class Autoencoder:
    """A trained autoencoder. `rows` are its layers, and `coded` is the number of the layer whose output is the code."""

    def __init__(self, exported: ExportedModel) -> None:
        self.exported = exported
        self.rows = table(parsed(str(exported.about["layers"])))
        self.coded = code_row(self.rows)

    def activations(self, images: Grey) -> list[Values]:
        """The outputs (n, side, side, filters) of all layers for images (n, 28, 28) from 0 to 1."""
        x: Values = np.ascontiguousarray(images, np.float32)[..., None]
        outputs = []
        for row in self.rows:
            x = self._linear(row, x)
            x = np.maximum(x, 0) if row.layer.activation == "relu" else sigmoid(x)
            outputs.append(x)
        return outputs

    def reconstructed(self, images: Grey) -> Grey:
        """The reconstructions of images (n, 28, 28) from 0 to 1, in the same shape."""
        return np.asarray(self.activations(images)[-1][..., 0])

    @cached_property
    def code_shape(self) -> tuple[int, int, int]:
        row = self.rows[self.coded]
        return (row.side, row.side, row.layer.filters)

    def reach(self, pixel: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """The mask of the code's cells that can reach an output pixel."""
        return reach(self.rows, pixel)

    def influence(self, image: Grey, pixel: tuple[int, int]) -> Values:
        """The derivative of a pixel's logit, before the last sigmoid, with respect to the code of an image (28, 28).

        The chain rule uses the layers' transposes: the gradient goes back through a transposed convolution by the
        convolution with the same kernel, and the other way round.
        """
        outputs = self.activations(image[None])
        gradient = np.zeros_like(outputs[-1])
        gradient[0, *pixel, 0] = 1
        for number in range(len(self.rows) - 1, self.coded, -1):
            row = self.rows[number]
            if row.layer.activation == "relu":
                gradient = gradient * (outputs[number] > 0)
            gradient = _back(row, gradient, self.exported.layer(row.name)[0])
        return np.asarray(gradient[0])

    def _linear(self, row: Row, x: Values) -> Values:
        kernel, bias = self.exported.layer(row.name)
        rule = conv_transpose if row.layer.kind == "up" else conv
        y: Values = rule(x, kernel, bias, stride=row.layer.stride, padding=row.layer.padding)
        return y


def code_row(rows: Sequence[Row]) -> int:
    """The layer whose output is the code: the last before a transposed one, or else the last but one."""
    ups = [number for number, row in enumerate(rows) if row.layer.kind == "up"]
    return max(0, (ups[0] if ups else len(rows) - 1) - 1)


def reach(rows: Sequence[Row], pixel: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The mask (side, side) of the code's cells that reach an output pixel, by the geometry of the layers alone."""
    if not all(0 <= place < SIDE for place in pixel):
        raise ArgumentError(f"pixel is {pixel!r}; expected two numbers from 0 to {SIDE - 1}")
    cells: Values = np.zeros((1, rows[-1].side, rows[-1].side, 1), np.float32)
    cells[0, *pixel, 0] = 1
    for row in reversed(rows[code_row(rows) + 1 :]):
        ones = np.ones((row.layer.kernel, row.layer.kernel, 1, 1), np.float32)
        cells = np.minimum(_back(row, cells, ones), 1)
    return np.asarray(cells[0, ..., 0] > 0.5)


def _back(row: Row, gradient: Values, kernel: Values) -> Values:
    """The gradient with respect to a layer's input, from that of its output."""
    sizes = (row.input_side,) * 2, (row.side,) * 2
    geometry = row.layer.geometry(row.input_side)
    if row.layer.kind == "up":
        grad_input: Values = conv(gradient, kernel, geometry=geometry.fitted(*sizes))
    else:
        grad_input = conv_transpose(gradient, kernel, geometry=geometry.fitted(*reversed(sizes)))
    return grad_input


def sigmoid(x: Values) -> Values:
    """1 / (1 + exp(-x)), without an overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float32)
