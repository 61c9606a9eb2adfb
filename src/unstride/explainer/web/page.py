"""The explorer as one HTML page that needs no network: ``unstride explain --html`` and `Trace.html`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..._files import check_ending, write_text
from ...geometry import GeometryError, is_sequence, per_axis
from .. import shared
from ..examples import EXAMPLES
from ..numbers import Numbers
from . import bundle

__all__ = ["html", "presets", "state"]

# The fields of a state of the explorer; the page checks the values.
FIELDS = (
    "map", "x", "kernel", "stride", "padding", "output_padding", "dilation", "bias", "gradient", "view", "step",
)  # fmt: skip
HTML_ENDINGS = (".html", ".htm")


def html(trace_or_state: Numbers | Mapping[str, Any] | None = None, path: str | Path | None = None) -> str:
    """A page with the explorer, opened on a case; written to `path` too if that is given.

    Parameters
    ----------
    trace_or_state : Trace or dict, optional
        The first case: a trace of 1 or 2 axes, or a state as `state` returns it. Default: the explorer's own.
    path : path, optional
        Where to write the page, a name that ends with .html. It appears there whole or not at all.

    Returns
    -------
    str
        The page: one file, in which everything is.

    Raises
    ------
    GeometryError
        A trace of 3 axes or one too large for the page, or a state with an unknown field.
    ValueError
        `path` ends as another format does.

    Examples
    --------
    >>> page = html({"x": [1, 2, 3], "kernel": [1, 10], "stride": 2})
    >>> len(page) < 200_000, "://" in page.split("<script")[0]  # small, and it asks nobody for anything
    (True, False)
    """
    if path is not None:
        check_ending(path, HTML_ENDINGS, "an HTML page")
    start = {"state": state(trace_or_state), "presets": presets()}
    # "</" would end the script element that the data stand in.
    data = json.dumps(start, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    page = bundle.source("page.html")
    for mark, text in (("STYLE", bundle.source("style.css")), ("START", data), ("MODULE", bundle.module())):
        page = page.replace(f"/*{mark}*/", text, 1)
    if path is not None:
        write_text(Path(path), page)
    return page


def state(trace_or_state: Numbers | Mapping[str, Any] | None, view: str | None = None) -> dict[str, Any] | None:
    """The explorer's first state, as plain lists and numbers; None for its default.

    Padding and output padding of a trace stand there as they were written. The step is 0: nothing is done yet.

    Parameters
    ----------
    trace_or_state : Trace or dict, optional
    view : str, optional
        The view of a trace. Default: that of the example which the trace is, or else its `default_view`.

    Examples
    --------
    >>> from unstride.explainer import explain
    >>> case = state(explain([1, 2], [3, 4], stride=2, padding="same"), view="matrix")
    >>> case["padding"], case["view"], case["step"]
    ('same', 'matrix', 0)
    """
    if trace_or_state is None:
        return None
    if isinstance(trace_or_state, Numbers):
        return _of_trace(trace_or_state, view)
    case = dict(trace_or_state)
    if unknown := sorted(set(case) - set(FIELDS)):
        raise GeometryError(
            f"a state of the explorer has no field {unknown[0]!r}; expected some of {', '.join(FIELDS)}"
        )
    return case


def presets() -> list[dict[str, Any]]:
    """The examples as the explorer takes them."""
    cases = []
    for example in EXAMPLES.values():
        fields = {"map" if name == "op" else name: value for name, value in example.fields.items()}
        case = {"x": _whole(example.x), "kernel": _whole(example.kernel), **fields, "view": example.view}
        cases.append({"name": example.name, "title": example.title, "note": example.note, "state": case})
    return cases


def _whole(rows: list[Any]) -> list[Any]:
    """With 1 in place of 1.0, which is shorter and the same to JavaScript."""
    return [_whole(row) if isinstance(row, list) else int(row) if row == int(row) else row for row in rows]


def _of_trace(trace: Numbers, view: str | None) -> dict[str, Any]:
    if trace.rank > 2:
        raise GeometryError(f"the trace has {trace.rank} axes; the explorer shows 1 or 2")
    geometry = trace.geometry
    ones = bool((trace.upstream == 1).all())
    padding, output_padding = _written(trace)
    _check_limits(trace, padding, output_padding)
    return {
        "map": trace.op,
        "x": _whole(trace.input.tolist()),
        "kernel": _whole(trace.kernel.tolist()),
        "stride": list(geometry.stride),
        "padding": padding,
        "output_padding": output_padding,
        "dilation": list(geometry.dilation),
        "bias": trace.bias or 0,
        "gradient": None if ones else trace.upstream.ravel().tolist(),
        "view": _own_view(trace) if view is None else trace.view_named(view),
        "step": 0,
    }


def _written(trace: Numbers) -> tuple[Any, list[int] | None]:
    """Padding and output padding as `explain` was given them; of a whole geometry numbers if they say it, or pairs."""
    if trace.written is None:
        crops = trace.geometry.crops
        if all(b == e for b, e in crops):
            return [b for b, _ in crops], None
        if trace.transposed and all(b >= max(e, 0) for b, e in crops):
            return [b for b, _ in crops], [b - e for b, e in crops]
        return [list(crop) for crop in crops], None
    padding, extra = trace.written
    output_padding = None if extra is None else list(per_axis("output_padding", extra, trace.rank, 0))
    if isinstance(padding, str):
        return padding.lower(), output_padding
    entries: list[Any] = list(padding) if is_sequence(padding) else [padding] * trace.rank
    return [list(map(int, entry)) if is_sequence(entry) else int(entry) for entry in entries], output_padding


def _check_limits(trace: Numbers, padding: Any, output_padding: list[int] | None) -> None:
    """Refuse a case that the explorer would refuse to open: above its limits numbers are not legible."""
    limits: dict[str, int] = shared.data("limits.json")
    entries = [] if isinstance(padding, str) else padding
    numbers = [n for entry in entries for n in (entry if isinstance(entry, list) else [entry])]
    geometry = trace.geometry
    for name, values, low, high in (
        ("input size", trace.input.shape, 1, limits["size"]),
        ("kernel size", trace.kernel.shape, 1, limits["kernel"]),
        ("output size", trace.output_size, 1, limits["result"]),
        ("stride", geometry.stride, 1, limits["stride"]),
        ("dilation", geometry.dilation, 1, limits["dilation"]),
        ("padding", numbers, limits["low"], limits["high"]),
        ("output padding", output_padding or [], 0, limits["extra"]),
    ):
        for value in values:
            if not low <= value <= high:
                raise GeometryError(
                    f"the {name} is {value} along an axis; the explorer's page shows {low} to {high}: explain a "
                    "smaller case there, or draw this one (svg, png, gif)"
                )


def _own_view(trace: Numbers) -> str:
    """The view in which the page opens the example that this trace is; of other traces their default."""
    for example in EXAMPLES.values():
        other = example.numbers()
        same = (other.op, other.bias, other.geometry) == (trace.op, trace.bias, trace.geometry)
        if same and np.array_equal(other.input, trace.input) and np.array_equal(other.kernel, trace.kernel):
            return example.view
    return trace.default_view
