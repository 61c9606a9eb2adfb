"""The geometry of a strided convolution and of its transpose: sizes, crops, phases.

Per axis, with kernel size ``k``, stride ``s``, dilation ``d`` and a signed crop ``(b, e)``::

    K = (k - 1) * d + 1                        cells that the dilated kernel spans
    F = (n - 1) * s + K                        cells of the full grid that n small cells scatter into
    full[i * s + j * d] += small[i] * kernel[j]
    big = full[b : F - e]                      a negative crop extends the grid instead

A convolution goes from the big grid to the small one, its transpose from the small grid to the big one, over the
same connections. Every framework's padding is a way to write the crop (`unstride.conventions`). No other module of
the package computes a size.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any, Never

from ._messages.argument_names import refuse
from ._messages.arguments import as_int as as_int
from ._messages.arguments import is_sequence as is_sequence
from ._messages.arguments import per_axis as per_axis
from ._messages.errors import ArgumentError as ArgumentError
from ._messages.errors import Crop as Crop
from ._messages.errors import GeometryError as GeometryError
from ._messages.errors import NotExpressible as NotExpressible

__all__ = ["ArgumentError", "Geometry", "GeometryError", "NotExpressible", "Phase", "convolution"]

Ints = Sequence[Any]
"""Integers, or symbols for those that are not numbers yet."""
Padding = str | int | Sequence[int] | Sequence[Sequence[int]]


@dataclass(frozen=True)
class Phase:
    """One of the ``s`` interleaved sub-grids of a big axis: cells ``offset``, ``offset + s``, ``offset + 2s``, ...

    Its ``q``-th cell is ``sum(small[q + shift] * kernel[tap] for tap, shift in zip(taps, shifts))``, where small
    cells outside the grid count as zero: a small dense convolution, free of inserted zeros.
    """

    offset: int
    taps: range
    shifts: range


def is_open(sizes: Sequence[object]) -> bool:
    """Whether a size is not a number yet: None in TensorFlow's graphs, a symbol in programs that JAX or PyTorch export.

    PyTorch's compiler traces sizes as numbers, and must see only numbers here.
    """
    return any(type(n) is not int for n in sizes)


def span(kernel_size: int, dilation: int) -> int:
    """K: the number of cells that a kernel of `kernel_size` taps spans."""
    return (kernel_size - 1) * dilation + 1


def split(total: int) -> Crop:
    """Split a total crop as Keras and TensorFlow do: half of it, rounded down, at the beginning; an extension wholly
    at the end."""
    begin = max(total, 0) // 2
    return begin, total - begin


# The rules for sizes, for all axes at once.


def full_sizes(size: Ints, stride: Ints, spans: Ints) -> tuple[Any, ...]:
    """F for each axis: the cells that `size` small cells scatter into."""
    return tuple((n - 1) * s + K for n, s, K in zip(size, stride, spans, strict=True))


def transposed_sizes(
    size: Ints, kernel_size: Ints, stride: Ints, dilation: Ints, crops: Sequence[Sequence[Any]]
) -> tuple[Any, ...]:
    """The size of a transposed convolution's result; negative if the crops exceed the full grid."""
    axes = zip(size, kernel_size, stride, dilation, crops, strict=True)
    return tuple([(n - 1) * s + (k - 1) * d + 1 - b - e for n, k, s, d, (b, e) in axes])


def conv_sizes(
    size: Ints, kernel_size: Ints, stride: Ints, dilation: Ints, crops: Sequence[Sequence[Any]]
) -> tuple[Any, ...]:
    """The size of a convolution's result; not positive if the kernel spans more than the padded input."""
    axes = zip(size, kernel_size, stride, dilation, crops, strict=True)
    return tuple([(n + b + e - (k - 1) * d - 1) // s + 1 for n, k, s, d, (b, e) in axes])


def named_crops(name: str, stride: Ints, spans: Ints, output_padding: Ints | None) -> tuple[Crop, ...]:
    """The crops of Keras's padding "valid" or "same".

    Keras computes an output length and leaves its split to the backend's convolution. Without an output padding the
    total crop is K - s for "same" and nothing for "valid"; with the output padding op, K - K % 2 - op and -op.
    """
    if output_padding is None:
        if name == "same":
            return tuple(split(K - s) for K, s in zip(spans, stride, strict=True))
        return tuple((0, -max(s - K, 0)) for K, s in zip(spans, stride, strict=True))
    if name == "same":
        return tuple(split(K - K % 2 - op) for K, op in zip(spans, output_padding, strict=True))
    return tuple((0, -op) for op in output_padding)


@dataclass(frozen=True, init=False, repr=False)
class Geometry:
    """The connections between a big and a small grid: kernel size, stride, dilation, crops and groups.

    Parameters
    ----------
    kernel_size : int or one int per axis
        Taps along each axis. Its length is the number of axes; a bare int is one axis.
    stride : int or one int per axis
        Big cells from one small cell to the next.
    padding : int, one int per axis, one ``(begin, end)`` pair per axis, "valid" or "same"
        Cells cropped off the full grid; a negative number extends the grid with cells that no input reaches.
        "valid" and "same" have the meaning of Keras's transposed convolutions.
    output_padding : None, int or one int per axis
        Cells added at the end of the result. If the padding is numbers, None means 0; with "valid" and "same" it means
        Keras's None (`conventions.keras`).
    dilation : int or one int per axis
        Big cells from one kernel tap to the next.
    groups : int
        Number of independent groups of channels.

    Attributes
    ----------
    kernel_size, stride, dilation : tuple of int, one per axis
    crops, padding : tuple of (begin, end), one pair per axis
        Padding and output padding together.
    groups : int

    Raises
    ------
    GeometryError
        The message names the argument, its value, its axis and what was expected.

    Examples
    --------
    >>> g = Geometry((3, 3), stride=2, padding=1, output_padding=1)
    >>> g.crops
    ((1, 0), (1, 0))
    >>> g.output_size((7, 5))           # (7 - 1) * 2 + 3 - 1 = 14
    (14, 10)
    >>> g.conv_size((14, 10))
    (7, 5)
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    crops: tuple[Crop, ...] = field(init=False)
    groups: int
    padding: InitVar[Padding] = property(operator.attrgetter("crops"))  # noqa: RUF009 - for `dataclasses.replace`

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        output_padding: int | Sequence[int] | None = None,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        **misnamed: Never,
    ) -> None:
        if misnamed:
            refuse(Geometry, misnamed)
        sizes = kernel_size if is_sequence(kernel_size) else (kernel_size,)
        rank = len(sizes)
        if rank == 0:
            raise GeometryError("kernel_size is empty; expected one int for each axis, for example (3, 3)")
        set_field = object.__setattr__  # the class is frozen: only this method writes
        set_field(self, "kernel_size", per_axis("kernel_size", sizes, rank, 1))
        set_field(self, "stride", per_axis("stride", stride, rank, 1))
        set_field(self, "dilation", per_axis("dilation", dilation, rank, 1))
        set_field(self, "groups", as_int("groups", groups, 1))
        set_field(self, "crops", self._read_padding(padding, output_padding))

    def _read_padding(self, padding: object, output_padding: object) -> tuple[Crop, ...]:
        if isinstance(padding, str):
            return self._crops_of_name(padding, output_padding)
        extra = per_axis("output_padding", 0 if output_padding is None else output_padding, self.rank, 0)
        if is_sequence(padding) and any(is_sequence(entry) for entry in padding):
            pairs = self._read_pairs(padding)
        elif is_sequence(padding) and len(padding) != self.rank:
            raise GeometryError(
                f"padding has {len(padding)} entries, {list(padding)}; expected an int, one int an axis ({self.rank}), "
                f"or one (begin, end) pair an axis, for example {((1, 0),) * self.rank}"
            )
        else:
            pairs = tuple((p, p) for p in per_axis("padding", padding, self.rank))
        return tuple((b, e - more) for (b, e), more in zip(pairs, extra, strict=True))

    def _read_pairs(self, padding: Sequence[object]) -> tuple[Crop, ...]:
        if len(padding) != self.rank:
            raise GeometryError(
                f"padding has {len(padding)} pairs, {list(padding)}; expected a (begin, end) pair for each of the "
                f"{self.rank} axes"
            )
        pairs = []
        for axis, pair in enumerate(padding):
            if is_sequence(pair) and len(pair) != 2:
                raise GeometryError(f"padding of axis {axis} is {pair!r}; expected an int or a (begin, end) pair")
            begin, end = pair if is_sequence(pair) else (pair, pair)
            name = f"padding of axis {axis}"
            pairs.append((as_int(f"{name}, begin,", begin), as_int(f"{name}, end,", end)))
        return tuple(pairs)

    def _crops_of_name(self, padding: str, output_padding: object) -> tuple[Crop, ...]:
        name = padding.lower()
        if name not in ("valid", "same"):
            raise GeometryError(
                f"padding is {padding!r}; expected 'valid', 'same', an int, one int an axis, or one (begin, end) "
                "pair an axis"
            )
        extra = None if output_padding is None else per_axis("output_padding", output_padding, self.rank, 0)
        return named_crops(name, self.stride, self.spans, extra)

    def __repr__(self) -> str:
        parts = [f"kernel_size={self.kernel_size}", f"stride={self.stride}", f"padding={self.crops}"]
        if set(self.dilation) != {1}:
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        return f"Geometry({', '.join(parts)})"

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.kernel_size)

    @property
    def spans(self) -> tuple[int, ...]:
        """K for each axis: the cells that the dilated kernel spans."""
        return tuple(span(k, d) for k, d in zip(self.kernel_size, self.dilation, strict=True))

    def with_crops(self, crops: Sequence[Sequence[int]]) -> Geometry:
        """The geometry with the same kernel size, stride, dilation and groups, and with these crops."""
        return Geometry(self.kernel_size, self.stride, crops, None, self.dilation, self.groups)

    def full_size(self, size: int | Sequence[int]) -> tuple[int, ...]:
        """F for each axis: the cells that `size` small cells scatter into, before the crop."""
        sizes = per_axis("input size", size, self.rank, 1)  # an empty input scatters nothing, so it has no full size
        return full_sizes(sizes, self.stride, self.spans)

    def output_size(self, size: int | Sequence[int]) -> tuple[int, ...]:
        """The spatial size of ``conv_transpose`` for a (small) input of this spatial size: ``F - b - e`` per axis.

        An int stands for the same size along all axes. A crop of exactly all cells gives 0.

        >>> Geometry(3, stride=2, padding="same").output_size(4)
        (8,)
        """
        full = self.full_size(size)
        sizes = per_axis("input size", size, self.rank)
        result = transposed_sizes(sizes, self.kernel_size, self.stride, self.dilation, self.crops)
        for axis, (length, F) in enumerate(zip(result, full, strict=True)):
            if length < 0:
                raise GeometryError(
                    f"the crop of axis {axis} is {self.crops[axis]}, more than the {F} cells that the input fills; "
                    "use less padding or a larger input"
                )
        return result

    def conv_size(self, size: int | Sequence[int]) -> tuple[int, ...]:
        """The spatial size of ``conv`` for a (big) input of this size: ``(big + b + e - K) // s + 1`` per axis.

        >>> Geometry(3, stride=2).conv_size(8)      # the last cell is never read
        (3,)
        """
        sizes = per_axis("input size", size, self.rank, 1)
        for axis, (big, (b, e), K) in enumerate(zip(sizes, self.crops, self.spans, strict=True)):
            if big + b + e < K:
                raise GeometryError(
                    f"the kernel spans {K} cells along axis {axis}, where the input with its padding has only "
                    f"{big + b + e}; use more padding, a larger input or a smaller kernel"
                )
        return conv_sizes(sizes, self.kernel_size, self.stride, self.dilation, self.crops)

    def fitted(self, small: int | Sequence[int], big: int | Sequence[int]) -> Geometry:
        """This geometry with the end crops that connect exactly these two sizes.

        A convolution may leave up to ``s - 1`` cells at the end of the big grid unread; its transpose must return them
        (as zeros). This makes the end crop smaller, and is the only freedom that two sizes leave.
        """
        small_size = per_axis("small size", small, self.rank, 1)
        big_size = per_axis("big size", big, self.rank, 1)
        crops = tuple(
            (b, F - b - length)
            for (b, _), F, length in zip(self.crops, self.full_size(small_size), big_size, strict=True)
        )
        for axis, ((_, was), (_, now)) in enumerate(zip(self.crops, crops, strict=True)):
            if not 0 <= was - now < self.stride[axis]:
                sizes = self._or_nothing(self.output_size, small_size), self._or_nothing(self.conv_size, big_size)
                raise GeometryError(
                    f"a small grid of {small_size} cells and a big grid of {big_size} cells do not belong together "
                    f"under {self}: axis {axis} does not fit. conv_transpose makes {sizes[0]} of the small grid, conv "
                    f"makes {sizes[1]} of the big one"
                )
        return self.with_crops(crops)

    @staticmethod
    def _or_nothing(rule: Any, size: tuple[int, ...]) -> object:
        try:
            return rule(size)
        except GeometryError:
            return "nothing"

    def phases(self, axis: int) -> tuple[Phase, ...]:
        """The ``s`` phases of one axis; phase ``r`` is reached by the taps ``j`` with ``j*d = r + b (mod s)``.

        >>> [(p.offset, list(p.taps), list(p.shifts)) for p in Geometry(3, stride=2).phases(0)]
        [(0, [0, 2], [0, -1]), (1, [1], [0])]
        """
        k, s, d, (b, _) = self.kernel_size[axis], self.stride[axis], self.dilation[axis], self.crops[axis]
        common = math.gcd(s, d)
        phases = []
        for offset in range(s):
            first = next((j for j in range(min(k, s)) if (offset + b - j * d) % s == 0), k)
            taps = range(first, k, s // common)
            shift = (offset + b - first * d) // s
            drop = d // common  # from one tap of the phase to the next, the input cell moves back
            phases.append(Phase(offset, taps, range(shift, shift - drop * len(taps), -drop)))
        return tuple(phases)

    def taps(self, axis: int, small: int, big: int) -> Iterator[tuple[int, slice, slice]]:
        """For each kernel tap of one axis: the small and the big cells that it connects, as slices of equal length.

        Taps that connect no cells are left out.

        >>> list(Geometry(3, stride=2, padding=1).taps(0, small=2, big=3))
        [(0, slice(1, 2, 1), slice(1, 2, 2)), (1, slice(0, 2, 1), slice(0, 3, 2)), (2, slice(0, 1, 1), slice(1, 2, 2))]
        """
        s, d, (b, _) = self.stride[axis], self.dilation[axis], self.crops[axis]
        for j in range(self.kernel_size[axis]):
            # small cell i meets big cell i*s + j*d - b
            first = max(-((j * d - b) // s), 0)
            last = min((big - 1 - j * d + b) // s, small - 1)
            if first <= last:
                start = first * s + j * d - b
                yield j, slice(first, last + 1, 1), slice(start, start + (last - first) * s + 1, s)

    def to(self, framework: str, size: int | Sequence[int] | None = None) -> dict[str, Any]:
        """This geometry as the arguments of `framework`: "torch", "keras", "tensorflow", "jax" or "onnx".

        `size` is the (small) input's spatial size, which only TensorFlow needs. `unstride.conventions` lists the layers
        and functions that take the arguments. A geometry that the framework lacks raises `NotExpressible`.

        >>> Geometry((4,), stride=2, padding=1).to("torch")
        {'kernel_size': (4,), 'stride': (2,), 'padding': (1,), 'output_padding': (0,), 'groups': 1, 'dilation': (1,)}
        """
        if framework not in WRITERS:
            raise ArgumentError(f"framework is {framework!r}; expected one of {', '.join(map(repr, WRITERS))}")
        return WRITERS[framework](self, size)


WRITERS: dict[str, Callable[[Geometry, Any], dict[str, Any]]] = {}
"""The function that `Geometry.to` calls for each framework. `unstride.conventions` fills it."""


def same_zeros(size: int, kernel_size: int, stride: int, dilation: int) -> Crop:
    """The zeros at both ends that a convolution's "same" adds along one axis.

    It is computed by sums and quotients alone, so `size` may be a symbol or a tensor.

    >>> same_zeros(7, 3, 2, 1), same_zeros(8, 3, 2, 1), same_zeros(8, 1, 2, 1)
    ((1, 1), (0, 1), (0, 0))
    """
    K = span(kernel_size, dilation)
    if stride == 1:
        return split(K - 1)
    total = (-(-size // stride) - 1) * stride + K - size  # from K - s to K - 1
    if stride > K:  # max(total, 0), as the count of the numbers from 1 to K - 1 that are at most the total
        total = sum(((total - i) // stride + 1 for i in range(1, K)), 0)
    return total // 2, total - total // 2


def convolution(
    size: int | Sequence[int],
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Geometry:
    """The geometry of a plain convolution whose (big) input has spatial size `size`.

    It differs from `Geometry` in "valid" and "same", which have the meaning of Keras's and TensorFlow's plain
    convolutions: "valid" is no padding, and "same" depends on the size: the result has ``ceil(size / s)`` cells, and
    the zeros are split evenly, an odd one at the end.

    >>> convolution(7, 3, stride=2, padding="same").crops, convolution(8, 3, stride=2, padding="same").crops
    (((1, 1),), ((0, 1),))
    """
    geometry = Geometry(kernel_size, stride, padding, None, dilation, groups)
    if not isinstance(padding, str):
        return geometry
    if padding.lower() == "valid":
        return geometry.with_crops([(0, 0)] * geometry.rank)
    sizes = per_axis("input size", size, geometry.rank, 1)
    smalls = [-(-big // s) for big, s in zip(sizes, geometry.stride, strict=True)]
    return geometry.with_crops([split(F - big) for F, big in zip(geometry.full_size(smalls), sizes, strict=True)])


def only_geometry(geometry: Any, taps: tuple[int, ...] | None, *fields: Any) -> None:
    """Raise an error for a geometry that is given together with its fields (stride, padding, output_padding, dilation,
    groups), or whose kernel size is not `taps`."""
    if not isinstance(geometry, Geometry):
        raise TypeError(
            f"geometry is {geometry!r}; expected a Geometry (a kernel's size goes by name: kernel_size=...)"
        )
    defaults = (1, 0, None, 1, 1)
    # No union of types: the compilers of PyTorch before 2.9 do not trace it.
    plain = (field is None or isinstance(field, int) for field in fields)
    if not all(plain) or fields != defaults:
        raise GeometryError(
            "both a geometry and some of stride, padding, output_padding, dilation and groups are given; give one or "
            "the other"
        )
    if taps is not None and geometry.kernel_size != taps:
        raise GeometryError(f"the kernel has size {taps}, but the geometry is for {geometry.kernel_size}")
