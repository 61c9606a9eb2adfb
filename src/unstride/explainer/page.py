"""The explorer as one HTML page that needs no network: ``unstride explain --html`` and `Trace.html`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._files import check_ending, write_text
from ..geometry import GeometryError
from . import bundle
from .presets import PRESETS
from .trace import Trace

__all__ = ["html", "presets", "state"]

# What a state of the explorer may hold; the page checks the values.
FIELDS = (
    "map", "x", "kernel", "stride", "padding", "output_padding", "dilation", "bias", "gradient", "view", "step",
)  # fmt: skip
HTML_ENDINGS = (".html", ".htm")
VIEWS = {"checkerboard": "overlap", "even": "overlap"}  # where another view shows more


def html(trace_or_state: Trace | Mapping[str, Any] | None = None, path: str | Path | None = None) -> str:
    """A page with the explorer, opened on a case; written to `path` too if that is given.

    Parameters
    ----------
    trace_or_state : Trace or dict, optional
        What is shown first: a trace of 1 or 2 axes, or a state as `state` returns it. Default: the explorer's own.
    path : path, optional
        Where to write the page, a name that ends with .html. It appears there whole or not at all.

    Returns
    -------
    str
        The page: one file, in which everything is.

    Raises
    ------
    GeometryError
        A trace of 3 axes, or a state with a field that there is not.
    ValueError
        `path` ends as another format does.

    Examples
    --------
    >>> page = html({"x": [1, 2, 3], "kernel": [1, 10], "stride": 2})
    >>> len(page) < 150_000, "://" in page.split("<script")[0]  # small, and it asks nobody for anything
    (True, False)
    """
    if path is not None:
        check_ending(path, HTML_ENDINGS, "an HTML page")
    start = {"state": state(trace_or_state), "presets": presets()}
    # "</" would end the script element that the data stand in.
    data = json.dumps(start, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    page = bundle.source("page.html")
    for mark, text in (("STYLE", bundle.style()), ("START", data), ("MODULE", bundle.module())):
        page = page.replace(f"/*{mark}*/", text, 1)
    if path is not None:
        write_text(Path(path), page)
    return page


def state(trace_or_state: Trace | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the explorer opens on, as plain lists and numbers; None for its own beginning.

    >>> from unstride.explainer import explain
    >>> state(explain([1, 2], [3, 4], stride=2))["padding"]
    [[0, 0]]
    """
    if trace_or_state is None:
        return None
    if isinstance(trace_or_state, Trace):
        return _of_trace(trace_or_state)
    found = dict(trace_or_state)
    if unknown := sorted(set(found) - set(FIELDS)):
        raise GeometryError(
            f"a state of the explorer has no field {unknown[0]!r}; expected some of {', '.join(FIELDS)}"
        )
    return found


def presets() -> list[dict[str, Any]]:
    """The examples of `unstride.explainer.presets` as the explorer takes them."""
    found = []
    for preset in PRESETS.values():
        fields = dict(preset.fields)
        case = {"x": _whole(preset.x), "kernel": _whole(preset.kernel), **fields, "view": _view(preset.name)}
        found.append({"name": preset.name, "title": preset.title, "note": preset.note, "state": case})
    return found


def _whole(rows: list[list[float]]) -> list[list[float]]:
    """With 1 in place of 1.0, which is shorter and the same to JavaScript."""
    return [[int(value) if value == int(value) else value for value in row] for row in rows]


def _view(name: str) -> str:
    return VIEWS.get(name, "grid" if name.startswith("example") else "scatter")


def _of_trace(trace: Trace) -> dict[str, Any]:
    if trace.rank > 2:
        raise GeometryError(f"the trace has {trace.rank} axes; the explorer shows 1 or 2")
    geometry = trace.geometry
    ones = bool((trace.upstream == 1).all())
    return {
        "map": trace.map,
        "x": trace.input.tolist(),
        "kernel": trace.kernel.tolist(),
        "stride": list(geometry.stride),
        "padding": [list(crop) for crop in geometry.crops],
        "output_padding": None,
        "dilation": list(geometry.dilation),
        "bias": trace.bias or 0,
        "gradient": None if ones else trace.upstream.ravel().tolist(),
        "view": trace.default_view,
        "step": None,
    }
