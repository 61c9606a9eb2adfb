"""The arguments of a case, read and checked: input, kernel, bias, geometry, and the sizes that follow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._messages.wording import counted
from ..geometry import Geometry, GeometryError, Padding, convolution, only_geometry
from .pairs import Cell, frozen, grid, number

Ints = int | Sequence[int]

OPS = ("conv_transpose", "conv")
VIEWS = ("scatter", "grid", "matrix", "overlap", "gradient")
MOST_TERMS = 50_000  # above these, showing every step helps nobody, and the loops of the definitions take seconds
MOST_ENTRIES = 4_000_000


class Given:
    """The checked arguments of `unstride.explain`; `Numbers` computes the rest.

    Attributes
    ----------
    op : "conv_transpose" or "conv"
    input, kernel : array
        The kernel as given, not flipped.
    bias : float or None
    geometry : Geometry
    output_size : tuple of int
    upstream : array
        The upstream gradient, of the output's shape.
    written : (padding, output_padding) or None
        The two arguments as they were given; None where a whole `Geometry` was given.
    """

    def __init__(
        self,
        x: Any,
        kernel: Any,
        bias: float | None = None,
        geometry: Geometry | None = None,
        *,
        op: str = "conv_transpose",
        stride: Ints = 1,
        padding: Padding = 0,
        output_padding: Ints | None = None,
        dilation: Ints = 1,
        upstream: Any = None,
    ) -> None:
        if op not in OPS:
            raise GeometryError(f"op is {op!r}; expected 'conv_transpose' or 'conv'")
        self.op = op
        self.input, self.kernel = grid("x", x), grid("kernel", kernel)
        size, taps = self.input.shape, self.kernel.shape
        if len(size) != len(taps):
            raise GeometryError(
                f"x has {counted(len(size), 'dimension')}, shape {size}, and the kernel {len(taps)}, shape {taps}; "
                "expected the same number, without batch and channels"
            )
        self.written = None if geometry is not None else (padding, output_padding)
        if geometry is not None:
            only_geometry(geometry, taps, stride, padding, output_padding, dilation, 1)
        elif op == "conv_transpose":
            geometry = Geometry(taps, stride, padding, output_padding, dilation)
        elif output_padding is None:
            geometry = convolution(size, taps, stride, padding, dilation)
        else:
            raise GeometryError(
                f"output_padding is {output_padding!r}, but a convolution has none; leave it out, or use "
                "op='conv_transpose'"
            )
        if geometry.groups != 1:
            raise GeometryError(f"groups is {geometry.groups}; expected 1: a trace has no channels to divide")
        self.geometry = geometry
        self.bias = None if bias is None else number("bias", bias)
        self.output_size = geometry.output_size(size) if self.transposed else geometry.conv_size(size)
        self._check_size()
        self.upstream = frozen(np.ones(self.output_size)) if upstream is None else grid("upstream", upstream)
        if self.upstream.shape != self.output_size:
            raise GeometryError(f"upstream has shape {self.upstream.shape}; expected the output's, {self.output_size}")

    def _check_size(self) -> None:
        """Refuse an empty output, and a case too large to show every step."""
        if 0 in self.output_size:
            raise GeometryError(
                f"the output has size {self.output_size}: no cell is left to explain; use less padding or a larger "
                "input"
            )
        size, taps = self.input.shape, self.kernel.shape
        terms = math.prod(self.small_size) * math.prod(taps)
        entries = self.input.size * math.prod(self.output_size)
        if terms > MOST_TERMS or entries > MOST_ENTRIES:
            raise GeometryError(
                f"x of shape {size} with a kernel of shape {taps} makes {terms:,} products and a matrix of "
                f"{entries:,} entries; a trace shows every one, so it takes {MOST_TERMS:,} and {MOST_ENTRIES:,} at "
                "most: explain a part of x"
            )

    @property
    def transposed(self) -> bool:
        """Whether this is the transposed convolution."""
        return self.op == "conv_transpose"

    @property
    def title(self) -> str:
        """ "Transposed convolution" or "Convolution"."""
        return "Transposed convolution" if self.transposed else "Convolution"

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views."""
        return VIEWS

    @property
    def default_view(self) -> str:
        """The view of ``print(trace)``: "scatter" of conv_transpose, "grid" of conv."""
        return "scatter" if self.transposed else "grid"

    def view_named(self, name: str | None) -> str:
        """`name`, if it is one of `views`; `default_view` for None."""
        if name is None:
            return self.default_view
        if name not in VIEWS:
            raise GeometryError(f"view is {name!r}; expected one of {', '.join(map(repr, VIEWS))}")
        return name

    @property
    def rank(self) -> int:
        """The number of axes: 1, 2 or 3."""
        return self.geometry.rank

    @property
    def small_size(self) -> Cell:
        """The size of the small grid: the input of conv_transpose, the output of conv."""
        return self.input.shape if self.transposed else self.output_size

    @property
    def big_size(self) -> Cell:
        """The size of the big grid: the output of conv_transpose, the input of conv."""
        return self.output_size if self.transposed else self.input.shape
