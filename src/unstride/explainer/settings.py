"""The setting of a trace: the formula of the output's size, and each framework's arguments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from string import Template
from textwrap import indent
from typing import Any

from ..geometry import Crop, GeometryError, NotExpressible, convolution, per_axis, split
from .numbers import Numbers
from .shared import data, say
from .tables import paragraph

FRAMEWORKS = ("keras", "torch", "tensorflow", "jax", "onnx")
_FORMS: dict[str, Any] = data("programs.json")["frameworks"]
NAMES: dict[str, str] = {framework: form["name"] for framework, form in _FORMS.items()}


@dataclass(frozen=True)
class Setting:
    """A trace's geometry as one framework's call.

    Attributes
    ----------
    framework : str
    call : str
        Its function or layer for the map and the number of axes.
    arguments : dict or None
        Of that call, under its own names; None where no call comes close. Where `reason` is given they are those of
        the call that the recipe starts from.
    reason : str or None
        Why one call cannot; None if it can.
    recipe : str or None
        How to do it with several calls.
    crops : tuple of (begin, end) or None
        The crops left after the call (conv_transpose), or the zeros to put around the input before it (conv).
    """

    framework: str
    call: str
    arguments: dict[str, Any] | None
    reason: str | None = None
    recipe: str | None = None
    crops: tuple[Crop, ...] | None = None

    @property
    def text(self) -> str:
        """The text of the call, without defaults.

        >>> from unstride.explainer import explain
        >>> explain([1, 2], [3, 4], stride=2).settings["torch"].text
        'torch.nn.ConvTranspose1d(kernel_size=(2,), stride=(2,))'
        """
        given = self.arguments or {}
        return f"{self.call}({', '.join(f'{name}={value!r}' for name, value in shown(given))})"


def shown(arguments: dict[str, Any]) -> list[tuple[str, Any]]:
    """The arguments that are not the default."""
    defaults: dict[str, object] = data("programs.json")["defaults"]
    if "dilation_rate" in arguments:  # Keras's
        defaults = defaults | {"output_padding": None}

    def is_default(name: str, value: Any) -> bool:
        entries = value if isinstance(value, tuple) else (value,)
        return name in defaults and all(entry == defaults[name] for entry in entries)

    return [(name, value) for name, value in arguments.items() if not is_default(name, value)]


def settings_text(trace: Numbers, width: int) -> str:
    """Every framework's call, or the reason and the recipe, for a terminal."""
    parts = []
    for name, entry in settings(trace).items():
        if entry.reason is None:
            lines = [paragraph(entry.text, width - 2)]
        else:
            lines = [paragraph(f"no single call: {entry.reason}", width - 2)]
            lines.append(paragraph(f"instead: {entry.recipe}", width - 2))
        parts.append("\n".join([NAMES[name], *(indent(line, "  ") for line in lines)]))
    return "\n".join([*parts, "--code prints a whole program of each."])


def call_name(framework: str, rank: int, transposed: bool) -> str:
    """The function or layer."""
    form = _FORMS[framework]["function"]
    if isinstance(form, dict):
        form = form["conv_transpose" if transposed else "conv"]
    return Template(form).substitute(rank=rank, Transpose="Transpose" * transposed)


def settings(trace: Numbers) -> dict[str, Setting]:
    """`Trace.settings`."""
    return {framework: setting(trace, framework) for framework in FRAMEWORKS}


def setting(trace: Numbers, framework: str) -> Setting:
    """One framework's."""
    call = call_name(framework, trace.rank, trace.transposed)
    if not trace.transposed:
        return _convolution(trace, framework, call)
    try:
        arguments = trace.geometry.to(framework, trace.input.shape)
    except NotExpressible as error:
        return Setting(framework, call, error.arguments, error.reason, error.recipe, error.crops)
    return Setting(framework, call, arguments)


def _convolution(trace: Numbers, framework: str, call: str) -> Setting:
    """A plain convolution's: the windows start at -b, -b + s, ...; zeros at the end that none reaches do not count."""
    geometry = trace.geometry
    size, begins = trace.input.shape, tuple(b for b, _ in geometry.crops)

    def same_windows(crops: Iterable[Crop]) -> bool:
        wanted = geometry.with_crops(list(crops))
        try:
            return tuple(b for b, _ in wanted.crops) == begins and wanted.conv_size(size) == trace.output_size
        except GeometryError:
            return False

    strides, dilation, crops = geometry.stride, geometry.dilation, geometry.crops
    recipe = say("settings", "recipe")
    if framework in ("keras", "tensorflow") and max(strides) > 1 and max(dilation) > 1:
        return Setting(framework, call, None, say("settings", "both"), recipe, crops)
    zeros = [(b, max(e, 0)) for b, e in crops]
    none = (0,) * trace.rank
    same = convolution(size, geometry.kernel_size, strides, "same", dilation).crops
    name = "valid" if same_windows([(0, 0)] * trace.rank) else "same" if same_windows(same) else None
    positive = min(begins) >= 0
    explicit = positive and same_windows(zeros)
    both = positive and same_windows((b, b) for b in begins)
    arguments: dict[str, Any]
    possible = True
    if framework == "keras":
        possible = name is not None
        arguments = {"kernel_size": geometry.kernel_size, "strides": strides, "padding": name or "valid"}
        arguments["dilation_rate"] = dilation
    elif framework == "torch":
        possible = both
        arguments = {"kernel_size": geometry.kernel_size, "stride": strides, "padding": begins if both else none}
        arguments["dilation"] = dilation
    elif framework == "tensorflow":
        padding: Any = (name or "valid").upper()
        if (
            name is None and explicit and trace.rank == 2
        ):  # takes explicit pads, where tf.nn.convolution takes names only
            call, padding = "tf.nn.conv2d", [[0, 0], *map(list, zeros), [0, 0]]
        possible = name is not None or isinstance(padding, list)
        arguments = {"strides": strides, "padding": padding, "dilations": dilation}
    elif framework == "jax":
        arguments = {"window_strides": strides, "padding": list(crops), "rhs_dilation": dilation}
    else:
        possible = explicit
        pads = begins + tuple(e for _, e in zeros) if explicit else none * 2
        arguments = {"kernel_shape": geometry.kernel_size, "strides": strides, "pads": pads, "dilations": dilation}
    if possible:
        return Setting(framework, call, arguments)
    reason = f"{say('settings', framework)}; {say('settings', 'where', crops=crops)}"
    return Setting(framework, call, arguments, reason, recipe, crops)


def size_formula(trace: Numbers) -> tuple[str, ...]:
    """For each axis: the formula, the numbers put in, the result.

    Padding and output padding stand in it as they were written; p is the padding of both ends, b and e are those of the
    beginning and the end where they differ.

    >>> from unstride.explainer import explain
    >>> print(*explain([1, 2], [3, 4], stride=2, output_padding=1).size_formula)
    output = (n − 1)·s + (k − 1)·d + 1 − 2p + op = (2 − 1)·2 + (2 − 1)·1 + 1 − 2·0 + 1 = 5
    """
    lines = []
    ends = written_ends(trace)
    for axis in range(trace.rank):
        n, result = trace.input.shape[axis], trace.output_size[axis]
        k, s, d = trace.kernel.shape[axis], trace.geometry.stride[axis], trace.geometry.dilation[axis]
        b, e, op = (f"({n})".replace("-", "−") if n < 0 else str(n) for n in ends[axis])
        if trace.transposed:
            letters, filled = ("2p", f"2·{b}") if b == e else ("b − e", f"{b} − {e}")
            letters = f"(n − 1)·s + (k − 1)·d + 1 − {letters} + op"
            numbers = f"({n} − 1)·{s} + ({k} − 1)·{d} + 1 − {filled} + {op}"
        else:
            letters = "⌊(n + b + e − (k − 1)·d − 1) / s⌋ + 1"
            numbers = f"⌊({n} + {b} + {e} − ({k} − 1)·{d} − 1) / {s}⌋ + 1"
        lines.append(f"output = {letters} = {numbers} = {result}")
    return tuple(lines)


def written_ends(trace: Numbers) -> list[tuple[int, int, int]]:
    """For each axis (begin, end, output padding), whose sum begin + end - output padding is cropped, as the user wrote
    them. Of a name, what Keras makes of it; of a whole geometry, numbers if there are some that say it."""
    geometry = trace.geometry
    if not trace.transposed:
        return [(b, e, 0) for b, e in geometry.crops]
    if trace.written is None:
        return [(b, b, b - e) if b >= max(e, 0) else (b, e, 0) for b, e in geometry.crops]
    padding, output_padding = trace.written
    given = None if output_padding is None else per_axis("output_padding", output_padding, trace.rank, 0)
    if not isinstance(padding, str):
        extra = given or (0,) * trace.rank
        return [(b, e + op, op) for (b, e), op in zip(geometry.crops, extra, strict=True)]
    axes = list(zip(geometry.spans, geometry.stride, strict=True))
    extra = given or tuple(max(s - K, 0) for K, s in axes)
    if padding.lower() == "valid":
        return [(0, 0, op) for op in extra]
    # A number makes it crop less in all, though not at the end alone.
    totals = [max(K - s, 0) if given is None else K - K % 2 for K, s in axes]
    return [(*split(total), op) for total, op in zip(totals, extra, strict=True)]
