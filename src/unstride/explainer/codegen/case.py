"""What the programs of all frameworks share: the arrays, the excuse, the crops, and how a call is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from ...geometry import Crop
from ..numbers import Numbers
from ..pairs import Array
from ..settings import NAMES, Setting

WIDTH = 88


@dataclass(frozen=True)
class Case:
    """A trace to be written in one framework."""

    trace: Numbers
    framework: str
    setting: Setting | None

    @property
    def why_not(self) -> str | None:
        """Why one call of the framework cannot do it."""
        return None if self.setting is None else self.setting.reason

    @property
    def arguments(self) -> dict[str, Any]:
        return {} if self.setting is None else self.setting.arguments or {}

    def head(self) -> list[str]:
        trace = self.trace
        name = "Transposed convolution" if trace.transposed else "Convolution"
        sizes = ("×".join(map(str, size)) for size in (trace.input.shape, trace.kernel.shape, trace.output_size))
        return ['"""{} in {}: input {}, kernel {}, output {}."""'.format(name, NAMES[self.framework], *sizes), ""]

    def array(self, name: str, array: Array, make: str) -> list[str]:
        """``name = make([[...], ...])``, a row a line where one line is too long."""
        line = f"{name} = {make.format(literal(array))}"
        if len(line) <= WIDTH or array.ndim == 1:
            return [line]
        rows = [f"    {literal(row)}," for row in array]
        before, after = make.split("{}")
        return [f"{name} = {before}[", *rows, f"]{after}"]

    def arrays(self, make: str) -> list[str]:
        return [*self.array("x", self.trace.input, make), *self.array("kernel", self.trace.kernel, make)]

    def excuse(self) -> list[str]:
        """The comment that says why not, and what is done instead."""
        if self.why_not is None:
            return []
        recipe = self.setting.recipe if self.setting is not None and self.stretch is None else None
        if self.stretch is not None:
            what = "to the full grid, then the crop" if self.trace.transposed else "of the extended input"
            recipe = f"the dilation is written into the kernel as zeros, and the map is computed {what}"
        said = f"{NAMES[self.framework]} has no single call for this: {self.why_not}. Instead: {recipe}."
        return ["", *fill(said, WIDTH - 2).replace("\n", "\n# ").join(["# ", ""]).split("\n")]

    @property
    def stretch(self) -> tuple[int, ...] | None:
        """The dilation that has to be written into the kernel, as the framework refuses it together with strides."""
        refuses = self.setting is not None and self.setting.arguments is None
        return self.trace.geometry.dilation if refuses else None

    def stretched(self, zeros: str) -> list[str]:
        """The lines that make the kernel with zeros between its taps."""
        if self.stretch is None:
            return []
        steps = ", ".join(f"::{d}" for d in self.stretch)
        return [
            f"dilated = {zeros.format(self.trace.geometry.spans)}",
            f"dilated[{steps}] = kernel",
            "kernel = dilated",
        ]

    @property
    def around(self) -> tuple[Crop, ...]:
        """Zeros to put around the input before a convolution, or cells to cut off the full grid after a transposed
        one; none where the call does it."""
        nothing = ((0, 0),) * self.trace.rank
        if self.why_not is None or self.setting is None:
            return nothing
        return self.setting.crops if self.setting.crops is not None else self.trace.crops

    def before(self, pad: Callable[[Sequence[Crop]], str]) -> list[str]:
        """The lines that extend the input of a convolution."""
        if self.trace.transposed:
            return []
        crops = tuple((-b, -e) for b, e in self.around)
        return resized("x", self.trace.input.shape, crops, pad)

    def after(self, pad: Callable[[Sequence[Crop]], str], bias: bool = True) -> list[str]:
        """The lines that crop the result of a transposed convolution, and add the bias."""
        trace = self.trace
        lines: list[str] = []
        if trace.transposed:
            size = tuple(n + b + e for n, (b, e) in zip(trace.output_size, self.around, strict=True))
            lines = resized("y", size, self.around, pad)
        if bias and trace.bias is not None:
            lines.append(f"y = y + {trace.bias!r}")
        return lines


def resized(name: str, size: Sequence[int], crops: Sequence[Crop], pad: Callable[[Sequence[Crop]], str]) -> list[str]:
    """Lines that crop the grid `name` of that size: zeros where a crop is negative, then the cells cut off.

    >>> resized("y", (5, 5), [(1, 0), (0, -1)], lambda pads: f"np.pad(y, {pads})")
    ['y = np.pad(y, [(0, 0), (0, 1)])', 'y = y[1:5, 0:6]']
    """
    lines = []
    pads = [(max(-b, 0), max(-e, 0)) for b, e in crops]
    if any(pair != (0, 0) for pair in pads):
        lines.append(f"{name} = {pad(pads)}")
    if any(max(pair) > 0 for pair in crops):
        extended = [n + p + q for n, (p, q) in zip(size, pads, strict=True)]
        cuts = (f"{max(b, 0)}:{n - max(e, 0)}" for n, (b, e) in zip(extended, crops, strict=True))
        lines.append(f"{name} = {name}[{', '.join(cuts)}]")
    return lines


def literal(array: Array) -> str:
    values = array.tolist()

    def written(entry: Any) -> str:
        if isinstance(entry, list):
            return f"[{', '.join(map(written, entry))}]"
        return str(int(entry)) if entry == int(entry) and abs(entry) < 1e15 else repr(entry)

    return written(values)


def call(name: str, *arguments: str, **named: Any) -> str:
    """A call as it is written, a line for each argument where one line is too long."""

    def written(value: Any) -> str:
        return value if isinstance(value, Raw) else f'"{value}"' if isinstance(value, str) else repr(value)

    parts = [*arguments, *(f"{key}={written(value)}" for key, value in named.items())]
    line = f"{name}({', '.join(parts)})"
    if len(line) <= WIDTH - 4:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), ")"])


class Raw(str):
    """Code, not to be quoted."""

    __slots__ = ()
