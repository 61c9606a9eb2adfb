"""Stacks: convolutions and transposed convolutions in a row, executed depth first over small groups of images.

Layer by layer, every grid between two layers travels to memory and back for all images of a batch. A stack takes a few
images at a time through all its stages, so that the result of one stage is in the cache when the next one reads it.
The images fill the processor's vectors, whatever the number of channels. `Stack` describes such a row of stages. The
derivatives are computed backwards in the same way. Everything is float32.
"""

from __future__ import annotations

import functools
import itertools
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._core import core
from ._messages.errors import ArgumentError, GeometryError
from ._messages.masked import refuse_masked
from .backends.numpy import dense
from .geometry import Geometry, as_int, is_sequence, per_axis

__all__ = ["Stack", "Stage"]

Array = NDArray[np.float32]
Shape = tuple[int, ...]

# The number of each activation in the native core, and the default slopes: of leaky_relu for negative numbers, of elu
# at zero from below.
ACTIVATIONS: dict[str | None, int] = {None: 0, "relu": 1, "leaky_relu": 2, "elu": 3, "tanh": 4, "sigmoid": 5}
SLOPES = {"leaky_relu": 0.01, "elu": 1.0}


@dataclass(frozen=True)
class Stage:
    """One convolution or transposed convolution of a stack, with its bias and activation.

    Parameters
    ----------
    transposed : bool
    channels : int
        The number of channels of the result.
    geometry : Geometry
        A plain convolution needs one too, with its crops as numbers (`unstride.geometry.convolution` computes them
        for "same").
    bias : bool
    activation : {None, "relu", "leaky_relu", "elu", "tanh", "sigmoid"}
    slope : float, optional
        The slope of "leaky_relu" for negative numbers (0.01 by default), or the alpha of "elu" (1 by default).

    Raises
    ------
    GeometryError
        The message names the argument, its value and what was expected.
    """

    transposed: bool
    channels: int
    geometry: Geometry
    bias: bool = True
    activation: str | None = None
    slope: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.geometry, Geometry):
            raise TypeError(f"geometry is {self.geometry!r}; expected a Geometry")
        object.__setattr__(self, "channels", as_int("channels", self.channels, 1))
        if self.channels % self.geometry.groups:
            raise GeometryError(
                f"channels is {self.channels}, which {self.geometry.groups} groups do not divide evenly"
            )
        if self.activation not in ACTIVATIONS:
            known = ", ".join(repr(name) for name in ACTIVATIONS)
            raise ArgumentError(f"activation is {self.activation!r}; expected one of {known}")
        if self.activation not in SLOPES:
            if self.slope is not None:
                raise GeometryError(f"slope is {self.slope}; expected None, as {self.activation!r} has no slope")
            return
        slope = SLOPES[self.activation] if self.slope is None else float(self.slope)
        if not has_inverse(self.activation, slope):
            raise GeometryError(f"slope of {self.activation!r} is {slope}; expected a number that is not negative")
        object.__setattr__(self, "slope", _as_float32(slope))


def has_inverse(activation: str | None, slope: float) -> bool:
    """Whether the derivative of the activation follows from its result, as stacks need."""
    return activation not in SLOPES or (math.isfinite(_as_float32(slope)) and slope >= 0)


def _as_float32(number: float) -> float:
    return float(np.float32(number))


@dataclass(frozen=True, init=False)
class Stack:
    """Stages in a row, for inputs of one spatial size and number of channels.

    Parameters
    ----------
    input_size : int or one int per axis
        The spatial size of the first stage's input.
    channels : int
        The number of channels of the first stage's input.
    stages : sequence of Stage
        At least one; all have as many axes as `input_size` (an int stands for the same size along all axes).
    layout : {"last", "first"}
        ``"last"``: grids ``(batch, *space, channels)``, kernels ``(*k, C_big / groups, C_small)``; ``"first"``:
        ``(batch, channels, *space)`` and ``(C_small, C_big / groups, *k)``.

    Attributes
    ----------
    sizes : tuple of tuples of int
        The spatial sizes from the input to the result.
    code : tuple of int
        The whole stack encoded as integers for the native core.

    Raises
    ------
    GeometryError
        The stages do not fit together, or make a grid without cells.

    Examples
    --------
    >>> import numpy as np
    >>> down = Stage(False, 4, Geometry((3, 3), stride=2), activation="relu")
    >>> up = Stage(True, 1, Geometry((3, 3), stride=2), activation="sigmoid")
    >>> stack = Stack((9, 9), 2, [down, up])
    >>> stack.sizes
    ((9, 9), (4, 4), (9, 9))
    >>> stack.weight_shapes
    ((3, 3, 2, 4), (4,), (3, 3, 1, 4), (1,))
    >>> y, _ = stack.forward(np.ones((20, 9, 9, 2), np.float32), [np.ones(s, np.float32) for s in stack.weight_shapes])
    >>> y.shape
    (20, 9, 9, 1)
    """

    input_size: Shape = field(compare=False)
    channels: int = field(compare=False)
    stages: tuple[Stage, ...] = field(compare=False)
    layout: str = field(compare=False)
    sizes: tuple[Shape, ...] = field(init=False, compare=False, repr=False)
    code: tuple[int, ...] = field(init=False, repr=False)

    def __init__(
        self, input_size: int | Sequence[int], channels: int, stages: Sequence[Stage], layout: str = "last"
    ) -> None:
        if layout not in ("last", "first"):
            raise GeometryError(f"layout is {layout!r}; expected 'last' or 'first'")
        stages = tuple(stages)
        if not stages:
            raise GeometryError("stages is empty; expected at least one Stage")
        rank = stages[0].geometry.rank
        if rank > 3:
            raise GeometryError(f"the stages have {rank} axes; expected 1 to 3")
        set_field = object.__setattr__  # the class is frozen: only this method writes
        set_field(self, "input_size", per_axis("input_size", input_size, rank, 1))
        set_field(self, "channels", as_int("channels", channels, 1))
        set_field(self, "stages", stages)
        set_field(self, "layout", layout)
        sizes, channels_before = [self.input_size], self.channels
        for index, stage in enumerate(stages):
            sizes.append(_size_after(index, stage, sizes[-1], channels_before, rank))
            channels_before = stage.channels
        set_field(self, "sizes", tuple(sizes))
        set_field(self, "code", self._code())

    def _code(self) -> tuple[int, ...]:
        code = [len(self.input_size), int(self.layout == "first"), len(self.stages), self.channels, *self.input_size]
        for stage, size in zip(self.stages, self.sizes[1:], strict=True):
            geometry = stage.geometry
            slope = 0 if stage.slope is None else struct.unpack("<I", struct.pack("<f", stage.slope))[0]
            code += [stage.transposed, stage.channels, geometry.groups, stage.bias]
            activation = "relu" if stage.slope == 0 else stage.activation  # relu handles -0.0 better
            code += [ACTIVATIONS[activation], slope, *geometry.kernel_size, *geometry.stride, *geometry.dilation]
            code += [*(begin for begin, _ in geometry.crops), *size]
        return tuple(map(int, code))

    @functools.cached_property
    def weight_shapes(self) -> tuple[Shape, ...]:
        """The shape of each stage's kernel, followed by the shape of its bias if it has one."""
        shapes: list[Shape] = []
        taken = self.channels
        for stage in self.stages:
            big, small = (stage.channels, taken) if stage.transposed else (taken, stage.channels)
            ends, taps = (big // stage.geometry.groups, small), stage.geometry.kernel_size
            shapes.append((*taps, *ends) if self.layout == "last" else (*ends[::-1], *taps))
            if stage.bias:
                shapes.append((stage.channels,))
            taken = stage.channels
        return tuple(shapes)

    def input_shape(self, batch: int) -> Shape:
        return self._grid(batch, self.channels, self.input_size)

    def output_shape(self, batch: int) -> Shape:
        return self._grid(batch, self.stages[-1].channels, self.sizes[-1])

    def _grid(self, batch: int, channels: int, size: Shape) -> Shape:
        return (batch, *size, channels) if self.layout == "last" else (batch, channels, *size)

    def multiply_adds(self) -> int:
        """The multiply-adds of one image, as if every cell of the small grids met the whole kernel."""
        kernels = [shape for shape in self.weight_shapes if len(shape) > 1]
        rows = zip(self.stages, itertools.pairwise(self.sizes), kernels, strict=True)
        return sum(
            math.prod(kernel) * math.prod(before if stage.transposed else after)
            for stage, (before, after), kernel in rows
        )

    def saved(self, batch: int) -> int:
        """The number of values that `forward` keeps for `backward` of a batch."""
        return core.stack_saved(self.code, batch)

    def forward(self, x: Array, weights: Sequence[Array], *, keep: bool = False) -> tuple[Array, Array | None]:
        """The result, and with `keep` the values of the stages in between that `backward` needs (else None).

        Parameters
        ----------
        x : numpy.ndarray
            `input_shape`, float32.
        weights : sequence of numpy.ndarray
            `weight_shapes`, float32: each stage's kernel, then its bias if it has one.
        keep : bool

        Returns
        -------
        y, saved : numpy.ndarray, numpy.ndarray or None

        Raises
        ------
        GeometryError
            An array has another shape.
        TypeError
            An array has another type.
        """
        x, weights = self._grid_of("x", x, self.input_shape), self._weights(weights)
        y = np.empty(self.output_shape(len(x)), np.float32)
        saved = np.empty(self.saved(len(x)), np.float32) if keep else None
        if len(x):
            core.stack_forward(self.code, x, weights, y, saved)
        return y, saved

    def backward(
        self,
        grad_output: Array,
        x: Array,
        weights: Sequence[Array],
        saved: Array | None = None,
        *,
        input_gradient: bool = True,
    ) -> tuple[Array | None, list[Array]]:
        """The gradients with respect to x and each of the weights, from the gradient with respect to the result.

        Parameters
        ----------
        grad_output : numpy.ndarray
            The gradient with respect to the result: `output_shape`, float32.
        x, weights
            As for `forward`.
        saved : numpy.ndarray, optional
            The second result of `forward` for this x. Without it the stages are computed again.
        input_gradient : bool
            Whether to compute the gradient with respect to x.

        Returns
        -------
        numpy.ndarray or None, list of numpy.ndarray
            The same numbers for any number of threads.

        Raises
        ------
        GeometryError
            An array has another shape.
        TypeError
            An array has another type.
        """
        x, weights = self._grid_of("x", x, self.input_shape), self._weights(weights)
        grad_output = self._grid_of("grad_output", grad_output, self.output_shape)
        if len(grad_output) != len(x):
            raise GeometryError(
                f"grad_output is of a batch of {len(grad_output)}, and x of {len(x)}; expected the same"
            )
        if saved is not None:
            saved = _checked("saved", saved, (self.saved(len(x)),))
        gx = np.empty_like(x) if input_gradient else None
        gradients = [np.zeros(shape, np.float32) for shape in self.weight_shapes]
        if len(x):
            core.stack_backward(self.code, x, weights, grad_output, saved, gx, gradients)
        return gx, gradients

    def binary_crossentropy(
        self, x: Array, weights: Sequence[Array], target: Array, epsilon: float = 1e-7
    ) -> tuple[Array, Array, list[Array]]:
        """The result, the loss of each of its elements, and the gradient of the sum of these losses.

        The gradient is that with respect to the weights.

        Parameters
        ----------
        x, weights
            As for `forward`.
        target : numpy.ndarray
            `output_shape`, float32, from 0 to 1.
        epsilon : float, optional
            Results are clipped to between epsilon and 1 - epsilon, with a gradient of 0 outside; from 2**-24 to 1/2.

        Returns
        -------
        y, loss : numpy.ndarray
            The loss is -(t log y + (1 - t) log(1 - y)) for a target t.
        list of numpy.ndarray
            The same numbers for any number of threads.

        Raises
        ------
        GeometryError
            An array has another shape.
        TypeError
            An array has another type.
        ValueError
            `epsilon` is out of range.
        """
        x, weights = self._grid_of("x", x, self.input_shape), self._weights(weights)
        target = _checked("target", target, self.output_shape(len(x)))
        if not 2.0**-24 <= epsilon <= 0.5:
            raise ValueError(f"epsilon is {epsilon}; expected a number from 2**-24 to 1/2")
        y, loss = np.empty_like(target), np.empty_like(target)
        gradients = [np.zeros(shape, np.float32) for shape in self.weight_shapes]
        if len(x):
            core.stack_crossentropy(self.code, x, weights, target, epsilon, y, loss, gradients)
        return y, loss, gradients

    def _grid_of(self, name: str, array: Array, shape: Callable[[int], Shape]) -> Array:
        batch = array.shape[0] if isinstance(array, np.ndarray) and array.ndim else 0
        return _checked(name, array, shape(batch))

    def _weights(self, weights: Sequence[Array]) -> list[Array]:
        if not is_sequence(weights) or len(weights) != len(self.weight_shapes):
            given = f"{len(weights)} arrays" if is_sequence(weights) else type(weights).__name__
            raise GeometryError(
                f"weights is {given}; expected {len(self.weight_shapes)} arrays: each stage's kernel, and its bias if "
                "it has one"
            )
        named = zip(self._names, weights, self.weight_shapes, strict=True)
        return [_checked(name, array, shape) for name, array, shape in named]

    @functools.cached_property
    def _names(self) -> tuple[str, ...]:
        parts = [("kernel", "bias") if stage.bias else ("kernel",) for stage in self.stages]
        return tuple(f"the {part} of stage {index}" for index, of_stage in enumerate(parts) for part in of_stage)


def _size_after(index: int, stage: Stage, size: Shape, channels: int, rank: int) -> Shape:
    geometry = stage.geometry
    if geometry.rank != rank:
        raise GeometryError(f"stage {index} has {geometry.rank} axes, and stage 0 has {rank}; expected the same")
    if channels % geometry.groups:
        raise GeometryError(
            f"stage {index} takes {channels} channels, which {geometry.groups} groups do not divide evenly"
        )
    try:
        result = (geometry.output_size if stage.transposed else geometry.conv_size)(size)
    except GeometryError as error:
        raise GeometryError(f"stage {index}, of {size} cells: {error}") from None
    if min(result) < 1:
        raise GeometryError(f"stage {index} makes {result} cells of {size}; expected at least one along every axis")
    return result


def _checked(name: str, array: Any, shape: Shape) -> Array:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is {type(array).__name__}; expected a numpy.ndarray")
    refuse_masked(name, array)
    if array.dtype != np.float32:
        raise TypeError(f"{name} is of type {array.dtype}; expected float32, as stacks compute in no other")
    if array.shape != shape:
        raise GeometryError(f"{name} has shape {array.shape}; expected {shape}")
    return dense(array, np.float32)
