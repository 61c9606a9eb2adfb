"""One trace as a program of one framework: the arrays, the excuse, the crops, and how a call is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from textwrap import wrap
from typing import Any

from ...geometry import Crop
from ..numbers import Numbers
from ..pairs import Array
from ..settings import NAMES, Setting
from ..shared import data

WIDTH = 88
PROGRAMS: dict[str, Any] = data("programs.json")


@dataclass(frozen=True)
class Case:
    """A trace to be written in one framework."""

    trace: Numbers
    framework: str
    setting: Setting | None

    @property
    def arguments(self) -> dict[str, Any]:
        return {} if self.setting is None else self.setting.arguments or {}

    @property
    def why_not(self) -> str | None:
        """Why one call of the framework cannot do it."""
        return None if self.setting is None else self.setting.reason

    @property
    def stretch(self) -> tuple[int, ...] | None:
        """The dilation that has to be written into the kernel, as the framework refuses it together with strides."""
        refuses = self.setting is not None and self.setting.arguments is None
        return self.trace.geometry.dilation if refuses else None

    @property
    def own_bias(self) -> str | None:
        """The bias as an argument of the call; None without a bias, or if it is added afterwards."""
        form = self.form.get("bias")
        if form is None or self.trace.bias is None or self.why_not is not None:
            return None
        return filled(form, bias=repr(self.trace.bias))

    @property
    def form(self) -> dict[str, Any]:
        """How this framework's programs read."""
        form: dict[str, Any] = PROGRAMS["frameworks"][self.framework]
        return form

    def lines(self, arguments: dict[str, Any]) -> list[str]:
        """The whole program; `arguments` are those of the call."""
        trace, form = self.trace, self.form
        values = {
            "rank": trace.rank,
            "op": trace.op,
            "_transpose": "_transpose" * trace.transposed,
            "function": "" if self.setting is None else self.setting.call,
            "stride": trace.geometry.stride,
            "dilation": trace.geometry.dilation,
            "full_size": trace.full_size,
            "any_size": ", ".join(["1", "1", *["None"] * trace.rank]),
            "own_bias": self.own_bias or "",
        }
        if "call" in form:
            function = filled(form["call"].get("function", "$function"), **values)
            values["call"] = call(function, filled(form["call"][""], **values), arguments)
        program = form["program"][trace.op] if isinstance(form["program"], dict) else form["program"]
        return [
            self._head(),
            "",
            *form["imports"],
            "",
            *self._array("x", trace.input),
            *self._array("kernel", trace.kernel),
            *(filled(line, **values) for line in form.get("setup", ())),
            *self._excuse(),
            "",
            *self._stretched(),
            *self._before(),
            *(filled(line, **values) for line in program),
            *self._after(),
            *form.get("end", ()),
            "print(y)",
        ]

    def _head(self) -> str:
        trace = self.trace
        sizes = {"input": trace.input.shape, "kernel": trace.kernel.shape, "output": trace.output_size}
        written = {name: "×".join(map(str, size)) for name, size in sizes.items()}
        return filled(PROGRAMS["head"], name=trace.title, framework=NAMES[self.framework], **written)

    def _array(self, name: str, array: Array) -> list[str]:
        """``name = make([[...], ...])``, with one row a line if one line is too long."""
        before, after = self.form["array"].split("$")
        line = f"{name} = {before}{literal(array)}{after}"
        if len(line) <= WIDTH or array.ndim == 1:
            return [line]
        return [f"{name} = {before}[", *(f"    {literal(row)}," for row in array), f"]{after}"]

    def _excuse(self) -> list[str]:
        """The comment that gives the reason and the recipe."""
        if self.setting is None or self.why_not is None:
            return []
        recipe = self.setting.recipe if self.stretch is None else PROGRAMS["dilated"][self.trace.op]
        words = filled(PROGRAMS["excuse"], framework=NAMES[self.framework], reason=self.why_not, recipe=recipe)
        lines = wrap(words, WIDTH - 2, break_on_hyphens=False, break_long_words=False)
        return ["", *(f"# {line}" for line in lines)]

    def _stretched(self) -> list[str]:
        """The lines that make the kernel with zeros between its taps."""
        if self.stretch is None:
            return []
        zeros = self.form["zeros"].replace("$", str(self.trace.geometry.spans))
        steps = ", ".join(f"::{d}" for d in self.stretch)
        return [filled(line, zeros=zeros, steps=steps) for line in PROGRAMS["stretch"]]

    @property
    def _around(self) -> tuple[Crop, ...]:
        """Zeros to put around the input before a convolution, or cells to cut off the full grid after a transposed
        one; none where the call does it."""
        if self.framework == "numpy":
            return self.trace.crops
        if self.why_not is None or self.setting is None:
            return ((0, 0),) * self.trace.rank
        return self.setting.crops if self.setting.crops is not None else self.trace.crops

    def _before(self) -> list[str]:
        """The lines that extend the input of a convolution."""
        if self.trace.transposed:
            return []
        return resized("x", self.trace.input.shape, tuple((-b, -e) for b, e in self._around), self.form.get("pad", ""))

    def _after(self) -> list[str]:
        """The lines that crop the result of a transposed convolution, and add the bias."""
        trace = self.trace
        lines: list[str] = []
        if trace.transposed:
            size = tuple(n + b + e for n, (b, e) in zip(trace.output_size, self._around, strict=True))
            lines = resized("y", size, self._around, self.form.get("pad", ""))
        if trace.bias is not None and self.own_bias is None:
            lines.append(f"y = y + {trace.bias!r}")
        return lines


def filled(form: str, **values: Any) -> str:
    """A template of ``programs.json`` with `values` in it."""
    return Template(form).substitute(values)


def resized(name: str, size: Sequence[int], crops: Sequence[Crop], pad: str) -> list[str]:
    """Lines that crop the grid `name` of that size: zeros where a crop is negative, then the cells cut off.

    >>> resized("y", (5, 5), [(1, 0), (0, -1)], "np.pad($name, $pads)")
    ['y = np.pad(y, ((0, 0), (0, 1)))', 'y = y[1:5, 0:6]']
    """
    lines = []
    pads = tuple((max(-b, 0), max(-e, 0)) for b, e in crops)
    if any(pair != (0, 0) for pair in pads):
        backwards = tuple(n for pair in reversed(pads) for n in pair)
        lines.append(f"{name} = {filled(pad, name=name, pads=pads, reversed=backwards)}")
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


def call(name: str, first: str, named: dict[str, Any]) -> str:
    """The text of a call; one argument a line if one line is too long."""

    def written(value: Any) -> str:
        if isinstance(value, Raw):
            return value
        return f'"{value}"' if isinstance(value, str) else repr(_tuple(value))

    parts = [f"{key}={written(value)}" for key, value in named.items()]
    line = f"{name}({', '.join([first, *parts])})"
    if len(line) <= WIDTH - 4:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in [first, *parts]), ")"])


def _tuple(value: Any) -> Any:
    """Lists as tuples, which all frameworks take."""
    return tuple(map(_tuple, value)) if isinstance(value, list | tuple) else value


class Raw(str):
    """Code, not to be quoted."""

    __slots__ = ()
