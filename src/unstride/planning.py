"""`plan`: how the native kernels would compute a call (phases, taps, multiply-adds, bytes, kernel)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Never

import numpy as np

from ._core import core
from ._dispatch.layout_hints import READ_AS
from ._messages.argument_names import refuse, renamed
from ._messages.wording import counted
from .backends.limits import check_range
from .geometry import ArgumentError, Geometry, GeometryError, Padding, as_int, is_sequence

_MOST_CHANNELS = 1 << 24
_MOST_PHASES = 1 << 20
_MOST_TAPS = 1 << 16

_METHODS = {
    "matrix_product": "the input cells of each tap side by side in a matrix, times the kernel, by NumPy",
    "igemm": "output channels in the vector lanes, a tile of positions in registers",
    "dot": "input channels and taps in the vector lanes, summed at the end",
    "spatial": "positions in the vector lanes, the input's channels copied apart",
    "depthwise": "channels of input and output alike in the vector lanes",
    "outer_product": "one array's channels in the vector lanes, the other's broadcast, summed over positions",
    "depthwise_gradient": "channels of both arrays in the vector lanes (depthwise), summed over positions",
}


@dataclass(frozen=True)
class Pass:
    """The output cells ``offset + q * step + c`` along one axis, for all q and all c below `group`. They share taps.

    For a transposed convolution this is one phase, or several at once if `group` is more than 1.
    """

    offset: int
    step: int
    group: int
    taps: int


@dataclass(frozen=True)
class Plan:
    """How one of the maps is computed. `print` shows all of it; see `plan`.

    Attributes
    ----------
    op : str
        The name of the map.
    geometry : Geometry
    small, big : tuple of int
        The spatial sizes of the two grids.
    passes : tuple of tuples of Pass
        The passes of each axis, which are computed one after the other.
    kernel : str
        The kind of kernel: "igemm", "dot", "spatial", "depthwise", "outer_product" or
        "depthwise_gradient"; without the native core "matrix_product".
    lanes : int
        The number of lanes in its vectors on this machine.
    multiply_adds : int
        The multiply-adds that are computed.
    avoided : int
        The additional multiply-adds of a convolution over the zero-spaced, padded grid.
    bytes_read, bytes_written, bytes_packed : int
        The bytes of the arrays, each counted once, and of the rearranged kernel.
    pieces : int
        Work items that threads take one by one, or several at a time if the weights are not rearranged.
    """

    op: str
    geometry: Geometry
    batch: int
    c_small: int
    c_big: int
    small: tuple[int, ...]
    big: tuple[int, ...]
    passes: tuple[tuple[Pass, ...], ...]
    kernel: str
    lanes: int
    instruction_set: str
    multiply_adds: int
    avoided: int
    bytes_read: int
    bytes_written: int
    bytes_packed: int
    pieces: int

    @property
    def map(self) -> str:
        """The former name of `op`."""
        return self.op

    def __str__(self) -> str:
        def grid(size: tuple[int, ...], channels: int) -> str:
            return " x ".join(map(str, (self.batch, *size, channels)))

        ends = (grid(self.small, self.c_small), grid(self.big, self.c_big))
        source, target = ends if self.op == "conv_transpose" else ends[::-1]
        if self.op == "kernel_gradient":
            source, target = f"{ends[1]} and {ends[0]}", " x ".join(map(str, self.geometry.kernel_size)) + " taps"
        lines = [f"{self.op}: {source} -> {target}, {self.geometry}"]
        for axis, passes in enumerate(self.passes):
            texts = ", ".join(self._pass_text(p) for p in passes[:4]) + (", ..." if len(passes) > 4 else "")
            lines.append(f"  axis {axis}: {counted(len(passes), 'pass', 'passes')}: {texts}")
        total = self.multiply_adds + self.avoided
        unpacked = self.op != "kernel_gradient" and self.kernel != "matrix_product" and not self.bytes_packed
        by_tap = "; weights are read where they lie, tap by tap" if unpacked else ""
        lines += [
            f"  multiply-adds: {self.multiply_adds:,}; avoided: {self.avoided:,} of {total:,} on the zero-spaced grid",
            f"  bytes: {self.bytes_read:,} read, {self.bytes_written:,} written, "
            f"{self.bytes_packed:,} of weights rearranged",
            f"  kernel: {self.kernel}, {counted(self.lanes, 'lane')} ({self.instruction_set}): "
            f"{_METHODS[self.kernel]}{by_tap}",
            f"  pieces for threads: {self.pieces}",
        ]
        return "\n".join(lines)

    @staticmethod
    def _pass_text(p: Pass) -> str:
        cells = "every cell" if p.step == p.group == 1 else f"cells {p.offset} + {p.step}q"
        if p.group > 1:
            cells += f" and the {p.group - 1} after"
        return f"{cells} from {counted(p.taps, 'input cell')}"


def plan(
    x: Any,
    kernel: Any,
    geometry: Geometry | None = None,
    *,
    op: str = "conv_transpose",
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    output_padding: int | Sequence[int] | None = None,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    dtype: Any = np.float32,
    **misnamed: Never,
) -> Plan:
    """How the native kernels compute `conv_transpose`, or its gradients, for arrays with channels last.

    Parameters
    ----------
    x : array or shape
        The small grid, ``(batch, *space, C_small)``.
    kernel : array or shape
        ``(*k, C_big / groups, C_small)``.
    geometry, stride, padding, output_padding, dilation, groups
        As in `conv_transpose`.
    op : {"conv_transpose", "conv", "kernel_gradient"}
        `conv_transpose` of x, or its gradient with respect to the input ("conv") or to the kernel ("kernel_gradient").
        The gradients have a big grid of the size of `conv_transpose`'s result.
    dtype : float32 or float64

    Returns
    -------
    Plan

    Raises
    ------
    GeometryError
        The shapes, or a field, describe no call; the result is empty; or the plan would be too long: more than 1024
        phases along an axis (`conv_transpose` is then computed tap by tap) or 2**20 in all, or more than 65,536 taps
        along an axis.
    TypeError
        `dtype` is neither float32 nor float64.

    >>> p = plan((1, 8, 8, 4), (3, 3, 2, 4), stride=2, padding="same")
    >>> p.big, p.multiply_adds, p.avoided
    ((16, 16), 4232, 14200)
    >>> [[p.taps for p in axis] for axis in plan((1, 100, 64), (5, 32, 64), stride=2).passes]
    [[3, 2]]
    """
    op = renamed(misnamed, "map", "op", op)
    if misnamed:
        refuse(plan, misnamed)
    shape, taps = _shape("x", x), _shape("kernel", kernel)
    if len(shape) != len(taps):
        raise GeometryError(
            f"x has {counted(len(shape), 'dimension')}, shape {shape}, and the kernel {len(taps)}, shape {taps}; "
            "expected the same number"
        )
    if geometry is None:
        geometry = Geometry(taps[:-2], stride, padding, output_padding, dilation, groups)
    if geometry.kernel_size != taps[:-2]:
        raise GeometryError(f"the kernel has size {taps[:-2]}, but the geometry is for {geometry.kernel_size}")
    if not isinstance(op, str) or op not in ("conv_transpose", "conv", "kernel_gradient"):
        raise ArgumentError(f"op is {op!r}; expected 'conv_transpose', 'conv' or 'kernel_gradient'")
    try:
        number = np.dtype(dtype)
    except (TypeError, ValueError):
        number = None
    if dtype is None or number not in (np.float32, np.float64):
        raise TypeError(f"dtype is {dtype if number is None else number}; expected float32 or float64")
    batch, small, c_small = shape[0], shape[1:-1], shape[-1]
    if c_small != taps[-1]:
        raise GeometryError(
            f"x has {counted(c_small, 'channel')}, shape {shape}, and the kernel of shape {taps}, read as "
            f"{READ_AS['last']}, takes {taps[-1]}; expected the same number. Shapes are read with channels last, "
            "whatever the layout of the call"
        )
    if c_small % geometry.groups:
        raise GeometryError(f"x has {counted(c_small, 'channel')}, which {geometry.groups} groups do not divide evenly")
    big, c_big = geometry.output_size(small), taps[-2] * geometry.groups
    if 0 in big:
        raise GeometryError(f"the crop leaves nothing of the result: its size is {big}; there is nothing to plan")
    check_range(geometry, small, big)
    for name, count in (("the batch", batch), ("groups", geometry.groups), ("C_small", c_small), ("C_big", c_big)):
        if count > _MOST_CHANNELS:
            raise GeometryError(f"{name} is {count}; plan counts to 2**24")
    phases = [min(s, n) if op == "conv_transpose" else 1 for s, n in zip(geometry.stride, big, strict=True)]
    if max(phases) > core.max_phases or math.prod(phases) > _MOST_PHASES:
        raise GeometryError(
            f"stride {geometry.stride} makes {' x '.join(f'{count:,}' for count in phases)} phases; plan tells of at "
            f"most {core.max_phases:,} an axis and {_MOST_PHASES:,} in all"
        )
    if max(geometry.kernel_size) > _MOST_TAPS:
        raise GeometryError(
            f"kernel_size {geometry.kernel_size} has too many taps; plan tells of {_MOST_TAPS:,} an axis"
        )
    begins = [b for b, _ in geometry.crops]
    native_plan = core.describe(
        op, small, big, geometry.kernel_size, geometry.stride, geometry.dilation, begins,
        batch, geometry.groups, c_small // geometry.groups, taps[-2], number.itemsize,
    )  # fmt: skip
    rank = geometry.rank
    passes = tuple(
        tuple(Pass(p["offset"], p["step"], p["group"], len(p["shifts"])) for p in axis)
        for axis in native_plan["axes"][-rank:]
    )
    smalls, bigs = batch * math.prod(small) * c_small, batch * math.prod(big) * c_big
    weights = math.prod(taps)
    done = int(native_plan["multiply_adds"])
    # On the zero-spaced grid every big cell meets every tap (conv_transpose), or every small cell (the others).
    dense = (bigs * c_small if op == "conv_transpose" else smalls * c_big) // geometry.groups * math.prod(taps[:-2])
    read = {"conv_transpose": smalls + weights, "conv": bigs + weights, "kernel_gradient": smalls + bigs}[op]
    written = {"conv_transpose": bigs, "conv": smalls, "kernel_gradient": weights}[op]
    return Plan(
        op, geometry, batch, c_small, c_big, small, big, passes, native_plan["method"], native_plan["lanes"],
        core.instruction_set(), done, dense - done, read * number.itemsize, written * number.itemsize,
        0 if op == "kernel_gradient" or native_plan["work"].startswith("unpacked") else weights * number.itemsize,
        len(native_plan["tasks"]) if "tasks" in native_plan else len(native_plan["parts"]),
    )  # fmt: skip


def _shape(name: str, given: Any) -> tuple[int, ...]:
    shape = getattr(given, "shape", given)
    if not is_sequence(shape) or not 3 <= len(shape) <= 5:
        raise GeometryError(f"{name} is {given!r}; expected an array or a shape of 1 to 3 axes of space and two more")
    return tuple(as_int(f"axis {axis} of {name}", entry, 1) for axis, entry in enumerate(shape))
