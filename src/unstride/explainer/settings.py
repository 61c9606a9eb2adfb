"""The setting of a trace in words: how the output's size comes about, and what each framework calls it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from ..geometry import Crop, GeometryError, NotExpressible, convolution, per_axis, split
from .numbers import Numbers
from .tables import paragraph

FRAMEWORKS = ("keras", "torch", "tensorflow", "jax", "onnx")
NAMES = {
    "keras": "Keras",
    "torch": "PyTorch",
    "tensorflow": "TensorFlow",
    "jax": "JAX",
    "onnx": "ONNX",
    "numpy": "NumPy",
    "unstride": "unstride",
}


@dataclass(frozen=True)
class Setting:
    """How one framework is asked for a trace's geometry.

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
        How it is done there all the same.
    crops : tuple of (begin, end) or None
        What is left to crop after the call (conv_transpose), or to put around the input before it (conv).
    """

    framework: str
    call: str
    arguments: dict[str, Any] | None
    reason: str | None = None
    recipe: str | None = None
    crops: tuple[Crop, ...] | None = None

    @property
    def text(self) -> str:
        """The call as one would write it, without what is the default anyway.

        >>> from unstride.explainer import explain
        >>> explain([1, 2], [3, 4], stride=2).settings["torch"].text
        'torch.nn.ConvTranspose1d(kernel_size=(2,), stride=(2,))'
        """
        given = self.arguments or {}
        return f"{self.call}({', '.join(f'{name}={value!r}' for name, value in shown(given))})"


DEFAULTS: dict[str, object] = {
    "stride": 1, "strides": 1, "dilation": 1, "dilations": 1, "dilation_rate": 1, "rhs_dilation": 1, "groups": 1,
    "group": 1, "output_padding": 0, "padding": 0, "pads": 0,
}  # fmt: skip


def shown(arguments: dict[str, Any]) -> list[tuple[str, Any]]:
    """The arguments that are not the default (Keras's output_padding has None as its own)."""
    defaults = DEFAULTS | ({"output_padding": None} if "dilation_rate" in arguments else {})

    def is_default(name: str, value: Any) -> bool:
        entries = value if isinstance(value, tuple) else (value,)
        return name in defaults and all(entry == defaults[name] for entry in entries)

    return [(name, value) for name, value in arguments.items() if not is_default(name, value)]


def settings_text(trace: Numbers, width: int) -> str:
    """Every framework's call, or why there is none and what to do, for a terminal."""
    parts = []
    for name, found in settings(trace).items():
        if found.reason is None:
            lines = [paragraph(found.text, width - 2)]
        else:
            lines = [paragraph(f"no single call: {found.reason}", width - 2)]
            lines.append(paragraph(f"instead: {found.recipe}", width - 2))
        parts.append("\n".join([NAMES[name], *(indent(line, "  ") for line in lines)]))
    return "\n".join([*parts, "--code prints a whole program of each."])


def call_name(framework: str, rank: int, transposed: bool) -> str:
    """The function or layer."""
    if framework == "keras":
        return f"keras.layers.Conv{rank}D{'Transpose' * transposed}"
    if framework == "torch":
        return f"torch.nn.Conv{'Transpose' * transposed}{rank}d"
    if framework == "tensorflow":
        return f"tf.nn.conv{rank}d_transpose" if transposed else "tf.nn.convolution"
    if framework == "jax":
        return "jax.lax.conv_transpose" if transposed else "jax.lax.conv_general_dilated"
    return f"Conv{'Transpose' * transposed}"


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

    symmetric = tuple((b, b) for b in begins)
    own = [(b, max(e, 0)) for b, e in geometry.crops]
    same = convolution(size, geometry.kernel_size, geometry.stride, "same", geometry.dilation).crops
    name = "valid" if same_windows([(0, 0)] * trace.rank) else "same" if same_windows(same) else None
    strides, dilation = geometry.stride, geometry.dilation
    where = f"these zeros around the input, (begin, end) an axis, are {geometry.crops}"
    arguments: dict[str, Any]
    possible = True
    if framework in ("keras", "tensorflow") and max(strides) > 1 and max(dilation) > 1:
        return Setting(framework, call, None, "it refuses strides and dilation together", _RECIPE, geometry.crops)
    if framework == "keras":
        arguments = {"kernel_size": geometry.kernel_size, "strides": strides, "padding": name or "valid"}
        arguments["dilation_rate"] = dilation
        reason = f"its padding is 'valid' or 'same'; {where}"
        possible = name is not None
    elif framework == "torch":
        possible = min(begins) >= 0 and same_windows(symmetric)
        arguments = {"kernel_size": geometry.kernel_size, "stride": strides}
        arguments |= {"padding": begins if possible else (0,) * trace.rank, "dilation": dilation}
        reason = f"it pads both ends alike, with no negative number; {where}"
    elif framework == "tensorflow":
        explicit = trace.rank == 2 and min(begins) >= 0 and same_windows(own)  # 2-D alone takes explicit pads
        padding: Any = name.upper() if name else "VALID"
        if name is None and explicit:
            call, padding = "tf.nn.conv2d", [[0, 0], *map(list, own), [0, 0]]  # convolution takes names only
        arguments = {"strides": strides, "padding": padding, "dilations": dilation}
        possible = name is not None or explicit
        reason = f"its padding is 'VALID', 'SAME' or, in 2-D, not negative; {where}"
    elif framework == "jax":
        arguments = {"window_strides": strides, "padding": list(geometry.crops), "rhs_dilation": dilation}
        reason = ""
    else:
        possible = min(begins) >= 0 and same_windows(own)
        pads = begins + tuple(e for _, e in own)
        arguments = {"kernel_shape": geometry.kernel_size, "strides": strides}
        arguments |= {"pads": pads if possible else (0,) * 2 * trace.rank, "dilations": dilation}
        reason = f"its pads are not negative; {where}"
    if possible:
        return Setting(framework, call, arguments)
    return Setting(framework, call, arguments, reason, _RECIPE, geometry.crops)


_RECIPE = "put the zeros around the input first (cut cells off where negative), then the convolution without padding"


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
