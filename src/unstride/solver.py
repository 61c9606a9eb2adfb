"""`solve`: the geometries that make an output of one size from an input of another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Never

from ._messages.argument_names import refuse
from .geometry import Geometry, GeometryError, Padding, as_int, is_sequence, per_axis, span

Ints = int | Sequence[int]

STRIDES = 256
"""The most strides that are tried where the stride is open, so that any search ends within a second."""


@dataclass(frozen=True)
class _Choice:
    """One axis of a geometry that fits the sizes."""

    kernel_size: int
    stride: int
    dilation: int
    crop: tuple[int, int]

    def cost(self, small: int, big: int) -> tuple[int, ...]:
        """The sorting key, simplest first: uneven crops or an uneven overlap come after all others."""
        begin, end = self.crop
        return (
            (begin != end) + (self.kernel_size % self.stride != 0),
            begin != end,
            abs(big - small * self.stride),  # 0 if the stride alone scales the size
            self.dilation - 1,
            abs(begin) + abs(end),
            self.kernel_size,
        )


def solve(
    input_size: Ints,
    output_size: Ints,
    *,
    kernel_size: Ints | None = None,
    stride: Ints | None = None,
    padding: Padding | None = None,
    output_padding: Ints | None = None,
    dilation: Ints | None = None,
    groups: int = 1,
    limit: int = 100,
    **misnamed: Never,
) -> list[Geometry]:
    """The geometries under which ``conv_transpose`` makes `output_size` from `input_size`, simplest first.

    The simplest have symmetric crops and a kernel size that the stride divides (every output cell then receives
    equally many terms: no checkerboard). Among them, those come first whose stride alone scales the size, then those
    with little cropping and a small kernel. Given fields are kept, and open fields are searched: kernel sizes up to
    ``max(7, 4 * stride)`` (beyond 32 only multiples of the stride), crops smaller than the kernel, and extensions
    smaller than the stride and at the end only. If more than 256 strides are possible, the 256 that come nearest to
    scaling the size alone are searched. An open dilation is 1.

    Parameters
    ----------
    input_size, output_size : int or one int per axis
        Spatial sizes of 1 to 3 axes, without batch and channels. If one is an int, it stands for all axes of the
        other; two ints mean one axis.
    kernel_size, stride, padding, output_padding, dilation, groups
        As in `Geometry`; None leaves a field open. An `output_padding` is used only together with a `padding`.
    limit : int
        The largest number of geometries to return.

    Returns
    -------
    list of Geometry
        Empty if nothing fits.

    Raises
    ------
    GeometryError
        A given field has an illegal value, or there are more than three axes.

    Examples
    --------
    >>> for geometry in solve(7, 28)[:3]:
    ...     print(geometry)
    Geometry(kernel_size=(4,), stride=(4,), padding=((0, 0),))
    Geometry(kernel_size=(8,), stride=(4,), padding=((2, 2),))
    Geometry(kernel_size=(12,), stride=(4,), padding=((4, 4),))
    """
    if misnamed:
        refuse(solve, misnamed)
    as_int("limit", limit, 1)
    if output_padding is not None and padding is None:
        raise GeometryError("output_padding is given without padding; give both, or neither")
    rank = _rank(
        input_size=input_size, output_size=output_size, kernel_size=kernel_size, stride=stride, dilation=dilation
    )
    smalls = per_axis("input_size", input_size, rank, 1)
    bigs = per_axis("output_size", output_size, rank, 1)
    fields = {
        "kernel_size": _open(kernel_size, "kernel_size", rank),
        "stride": _open(stride, "stride", rank),
        "dilation": per_axis("dilation", 1 if dilation is None else dilation, rank, 1),
    }
    axes = []
    for axis, (small, big) in enumerate(zip(smalls, bigs, strict=True)):
        given = {name: values[axis] for name, values in fields.items()}
        paddings = {
            "padding": _of_axis("padding", padding, axis, rank),
            "output_padding": _of_axis("output_padding", output_padding, axis, rank),
        }
        axes.append((small, big, tuple(given.items()), tuple(paddings.items())))
    return _combine(axes, groups, limit)


def _combine(axes: list[tuple[Any, ...]], groups: int, limit: int) -> list[Geometry]:
    """Geometries of all axes, combined from the choices of each. Axes with the same request get the same choice."""
    ranked: dict[Any, list[tuple[tuple[int, ...], _Choice]]] = {}
    for axis in axes:
        if axis not in ranked:
            small, big, given, paddings = axis
            choices = _choices(small, big, **dict(given), **dict(paddings))
            ranked[axis] = sorted(((c.cost(small, big), c) for c in choices), key=lambda pair: pair[0])[:limit]
    kinds = list(ranked)
    # Axes that differ prefer equal kernel sizes and strides; a limit on each keeps their product small.
    most = limit if len(kinds) == 1 else max(8, round(4000 ** (1 / len(kinds))))
    combined = []
    for picks in itertools.product(*(ranked[kind][:most] for kind in kinds)):
        cost = tuple(map(sum, zip(*(c for c, _ in picks), strict=True)))
        odd = len({c.kernel_size for _, c in picks}) + len({c.stride for _, c in picks})
        combined.append(((*cost[:3], odd, *cost[3:]), {k: c for k, (_, c) in zip(kinds, picks, strict=True)}))
    combined.sort(key=lambda pair: pair[0])
    result = []
    for _, choice in combined[:limit]:
        picked = [choice[axis] for axis in axes]
        result.append(
            Geometry(
                [c.kernel_size for c in picked],
                [c.stride for c in picked],
                [c.crop for c in picked],
                None,
                [c.dilation for c in picked],
                groups,
            )
        )
    return result


def _choices(
    small: int,
    big: int,
    kernel_size: int | None,
    stride: int | None,
    dilation: int,
    padding: Any,
    output_padding: int | None,
) -> Iterator[_Choice]:
    # With a larger stride the crop would exceed the kernel, or (one input cell) the stride has no effect on the size.
    most = big // max(small - 1, 1) + 1
    first = max(1, min(big // small, most) - STRIDES // 2)
    strides = range(first, min(most, first + STRIDES - 1) + 1) if stride is None else (stride,)
    for s in strides:
        for k in _kernel_sizes(s, small, big, dilation) if kernel_size is None else (kernel_size,):
            K = span(k, dilation)
            total = (small - 1) * s + K - big
            if padding is not None:
                given = Geometry(k, s, padding, output_padding, dilation)
                if sum(given.crops[0]) == total:
                    yield _Choice(k, s, dilation, given.crops[0])
            elif -s < total <= 0:
                yield _Choice(k, s, dilation, (0, total))
            elif 0 < total <= 2 * (K - 1):
                half = total // 2
                crops = {(half, total - half), (total - half, half)} | ({(0, total)} if total < K else set())
                yield from (_Choice(k, s, dilation, crop) for crop in sorted(crops))


def _kernel_sizes(stride: int, small: int, big: int, dilation: int) -> list[int]:
    # With a smaller span, the output would be too short even with the largest extension.
    least = max(big - small * stride + 1, 1)
    first = -(-(least - 1) // dilation) + 1
    few = range(first, min(max(7, 4 * stride), 32) + 1)
    return [*few, *(k for k in range(stride, 4 * stride + 1, stride) if k > 32 and k >= first)]


def _rank(**values: Any) -> int:
    ranks = {len(value) for value in values.values() if is_sequence(value)}
    for name, value in values.items():
        if is_sequence(value) and len(value) > 3:
            raise GeometryError(
                f"{name} is ({', '.join(map(str, value))}), {len(value)} axes; expected 1 to 3, those of space: "
                "leave out batch and channels, as in solve((7, 7), (28, 28))"
            )
    if len(ranks) > 1:
        raise GeometryError(
            "the sizes and other arguments have different numbers of axes: "
            + ", ".join(f"{name} {len(value)}" for name, value in values.items() if is_sequence(value))
        )
    return ranks.pop() if ranks else 1


def _open(value: Any, name: str, rank: int) -> tuple[int | None, ...]:
    return (None,) * rank if value is None else per_axis(name, value, rank, 1)


def _of_axis(name: str, value: Any, axis: int, rank: int) -> Any:
    """The entry of one axis of a padding or an output padding: hashable, and valid for a Geometry of one axis."""
    if not is_sequence(value):
        return value if value is None or isinstance(value, str) else as_int(name, value)
    if len(value) != rank:
        raise GeometryError(f"{name} has {len(value)} entries, {list(value)}; expected one for each axis: {rank}")
    entry, name = value[axis], f"{name} of axis {axis}"
    return (tuple(as_int(name, end) for end in entry),) if is_sequence(entry) else as_int(name, entry)
