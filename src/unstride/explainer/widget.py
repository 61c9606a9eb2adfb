"""The explorer in a notebook (Jupyter, VS Code, Colab, marimo), by anywidget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

try:
    import anywidget
    import traitlets
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"the explorer in a notebook needs {error.name}: pip install anywidget (unstride.explainer.page.html makes a "
        "page that needs nothing)",
        name=error.name,
    ) from None

from .trace import Trace
from .web import bundle, page

__all__ = ["Explorer"]


class Explorer(anywidget.AnyWidget):  # type: ignore[misc]
    """The explorer as a widget; its whole state is the traitlet `state`, in both directions.

    Parameters
    ----------
    trace_or_state : Trace or dict, optional
        The first case, as for `unstride.explainer.page.html`.

    Attributes
    ----------
    state : dict
        The current case: ``x`` and ``kernel`` as nested lists, ``map``, ``stride``, ``padding``,
        ``output_padding``, ``dilation``, ``bias``, ``gradient``, ``view`` and ``step`` (0: nothing is done yet; None:
        the last).
    trace : Trace
        The current case, with all its numbers.

    Examples
    --------
    >>> explorer = Explorer({"x": [1, 2, 3], "kernel": [1, 10], "stride": 2})
    >>> explorer.trace.output
    array([ 1., 10.,  2., 20.,  3., 30.])
    """

    _esm = bundle.module()
    _css = bundle.source("style.css")

    state: Any = traitlets.Dict().tag(sync=True)
    presets: Any = traitlets.List().tag(sync=True)

    def __init__(self, trace_or_state: Trace | Mapping[str, Any] | None = None, **settings: Any) -> None:
        start = page.state(trace_or_state)
        if start is None:
            start = {"x": [[0, 1], [2, 3]], "kernel": [[0, 1], [2, 3]], "stride": [2, 2], "step": 0}
        super().__init__(state=start, presets=page.presets(), **settings)

    @property
    def trace(self) -> Trace:
        """`unstride.explain` of the current case."""
        state = dict(self.state)
        case = state["x"], state["kernel"], state.get("bias") or None
        fields = {name: state[name] for name in ("stride", "padding", "output_padding", "dilation") if name in state}
        fields["op"] = state.get("map", "conv_transpose")
        trace = Trace(*case, **fields)
        upstream = state.get("gradient")
        return trace if upstream is None else Trace(*case, upstream=np.reshape(upstream, trace.output_size), **fields)
