"""The arguments of the three maps other than the arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..geometry import Geometry, Padding, convolution, only_geometry

Ints = int | Sequence[int]


class Fields(NamedTuple):
    """All arguments of the three maps except the arrays. A map that lacks an argument has its default here."""

    geometry: Geometry | None
    kernel_size: Ints | None
    stride: Ints
    padding: Padding
    output_padding: Ints | None
    dilation: Ints
    groups: int
    channels: str | None
    activation: str | None

    def described(self, taps: tuple[int, ...]) -> Geometry:
        """The geometry of these fields. "valid" and "same" have the meaning of a transposed convolution."""
        return Geometry(taps, self.stride, self.padding, self.output_padding, self.dilation, self.groups)

    def of_convolution(self, size: Sequence[int], taps: tuple[int, ...]) -> Geometry:
        return convolution(size, taps, self.stride, self.padding, self.dilation, self.groups)

    def only_geometry(self, taps: tuple[int, ...] | None) -> None:
        given = self.stride, self.padding, self.output_padding, self.dilation, self.groups
        only_geometry(self.geometry, taps, *given)
