"""Stacks in NumPy, stage by stage, forwards and backwards. The values of all stages are kept or computed again."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .portable_maps import compute, gradient

Array = NDArray[np.float32]


class _Stage(NamedTuple):
    """A stage as `Stack.code` has it."""

    transposed: bool
    channels: int
    bias: bool
    activation: int
    slope: np.float32
    size: tuple[int, ...]
    fields: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]  # stride, dilation, crops' begins, groups


NONE, RELU, LEAKY_RELU, ELU, TANH, SIGMOID = range(6)  # the numbers of the activations in the code


def _read(code: Sequence[int]) -> tuple[bool, list[_Stage]]:
    """Whether channels come first, and the stages."""
    numbers: Iterator[int] = iter(code)
    rank, first, stages, _channels = itertools.islice(numbers, 4)
    list(itertools.islice(numbers, rank))  # the input's size

    def axes() -> tuple[int, ...]:
        return tuple(itertools.islice(numbers, rank))

    found = []
    for _ in range(stages):
        transposed, channels, groups, bias, activation, slope = itertools.islice(numbers, 6)
        _taps, stride, dilation, begin, size = axes(), axes(), axes(), axes(), axes()
        alpha = np.float32(struct.unpack("<f", struct.pack("<I", slope))[0])
        fields = stride, dilation, begin, groups
        found.append(_Stage(bool(transposed), channels, bool(bias), activation, alpha, size, fields))
    return bool(first), found


def _shape(stage: _Stage, batch: int, first: bool) -> tuple[int, ...]:
    return (batch, stage.channels, *stage.size) if first else (batch, *stage.size, stage.channels)


def stack_saved(code: Sequence[int], batch: int) -> int:
    """How many numbers `stack_forward` keeps: the results of all stages but the last."""
    first, stages = _read(code)
    return sum(math.prod(_shape(stage, batch, first)) for stage in stages[:-1])


def stack_forward(code: Sequence[int], x: Array, weights: Sequence[Array], y: Array, saved: Array | None) -> None:
    first, stages = _read(code)
    grids = _kept(stages, len(x), first, saved)
    _forward(stages, first, x, weights, [*grids, y])


def stack_backward(
    code: Sequence[int],
    x: Array,
    weights: Sequence[Array],
    y_gradient: Array,
    saved: Array | None,
    x_gradient: Array | None,
    weight_gradients: Sequence[Array],
) -> None:
    first, stages = _read(code)
    grids = [x, *_kept(stages, len(x), first, saved), np.empty_like(y_gradient)]
    # The last result is never kept; the derivative of its activation needs it.
    known = len(grids) - 2 if saved is not None else 0
    _forward(stages, first, x, weights, grids[1:], known)
    _backward(stages, first, grids, weights, y_gradient, x_gradient, weight_gradients)


def stack_crossentropy(
    code: Sequence[int],
    x: Array,
    weights: Sequence[Array],
    target: Array,
    epsilon: float,
    y: Array,
    loss: Array,
    weight_gradients: Sequence[Array],
) -> None:
    first, stages = _read(code)
    grids = [x, *_kept(stages, len(x), first, None), y]
    _forward(stages, first, x, weights, grids[1:])
    low, high = np.float32(epsilon), np.float32(1) - np.float32(epsilon)
    clipped = np.clip(y, low, high)
    with np.errstate(all="ignore"):
        loss[...] = -(target * np.log(clipped) + (1 - target) * np.log1p(-clipped))
        slopes = np.where((y < low) | (y > high), np.float32(0), (clipped - target) / (clipped * (1 - clipped)))
    _backward(stages, first, grids, weights, slopes, None, weight_gradients)


def _kept(stages: Sequence[_Stage], batch: int, first: bool, saved: Array | None) -> list[Array]:
    """The results of all stages but the last: parts of `saved`, or new arrays."""
    shapes = [_shape(stage, batch, first) for stage in stages[:-1]]
    if saved is None:
        return [np.empty(shape, np.float32) for shape in shapes]
    ends = list(itertools.accumulate(map(math.prod, shapes), initial=0))
    return [saved[a:b].reshape(shape) for (a, b), shape in zip(itertools.pairwise(ends), shapes, strict=True)]


def _weights(stages: Sequence[_Stage], weights: Sequence[Any]) -> list[tuple[Any, Any]]:
    """The kernel and the bias (or None) of each stage."""
    rest = iter(weights)
    return [(next(rest), next(rest) if stage.bias else None) for stage in stages]


def _forward(
    stages: Sequence[_Stage], first: bool, x: Array, weights: Sequence[Array], results: Sequence[Array], known: int = 0
) -> None:
    """Write the stages' results, but for the first `known` of them, which are there."""
    for index, (stage, (kernel, bias), y) in enumerate(zip(stages, _weights(stages, weights), results, strict=True)):
        if index >= known:
            relu = stage.activation == RELU
            compute(stage.transposed, x, kernel, bias, y, *stage.fields, first, first, relu)
            if not relu:
                _activate(stage, y)
        x = y


def _activate(stage: _Stage, y: Array) -> None:
    with np.errstate(all="ignore"):
        if stage.activation == LEAKY_RELU:
            np.copyto(y, y * stage.slope, where=y < 0)
        elif stage.activation == ELU:
            np.copyto(y, stage.slope * np.expm1(y), where=y < 0)
        elif stage.activation == TANH:
            np.tanh(y, out=y)
        elif stage.activation == SIGMOID:
            np.reciprocal(1 + np.exp(-y), out=y)


def _derivative(stage: _Stage, y: Array, grad_output: Array) -> Array:
    """The gradient before the activation, from the activation's result."""
    with np.errstate(all="ignore"):
        if stage.activation == RELU:
            return np.where(y > 0, grad_output, np.float32(0))
        if stage.activation == LEAKY_RELU:
            return np.where(y < 0, grad_output * stage.slope, grad_output)
        if stage.activation == ELU:
            return np.where(y < 0, grad_output * (y + stage.slope), grad_output)
        if stage.activation == TANH:
            return grad_output * (1 - y * y)
        if stage.activation == SIGMOID:
            return grad_output * (y * (1 - y))
    return grad_output


def _backward(
    stages: Sequence[_Stage],
    first: bool,
    grids: Sequence[Array],
    weights: Sequence[Array],
    grad_output: Array,
    x_gradient: Array | None,
    weight_gradients: Sequence[Array],
) -> None:
    """Write the gradients; `grids` are x and the results of all stages."""
    cells = tuple(axis for axis in range(grids[0].ndim) if axis != (1 if first else grids[0].ndim - 1))
    pairs, gradients = _weights(stages, weights), _weights(stages, weight_gradients)
    for index in reversed(range(len(stages))):
        stage, (kernel, _), (kernel_gradient, bias_gradient) = stages[index], pairs[index], gradients[index]
        x, y = grids[index], grids[index + 1]
        grad_output = np.ascontiguousarray(_derivative(stage, y, grad_output))
        big, small = (grad_output, x) if stage.transposed else (x, grad_output)
        gradient(big, small, kernel_gradient, *stage.fields, first, first)
        if bias_gradient is not None:
            bias_gradient[...] = grad_output.sum(cells, dtype=np.float64)
        if index or x_gradient is not None:
            previous = np.empty_like(x) if index else x_gradient
            assert previous is not None
            compute(not stage.transposed, grad_output, kernel, None, previous, *stage.fields, first, first, False)
            grad_output = previous
