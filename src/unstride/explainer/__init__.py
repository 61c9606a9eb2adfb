"""Every number and every step of a small transposed convolution, as text, pictures, pages and programs.

=========================  =====================================================
``unstride.explain(...)``  a `Trace` of one small case
``explainer.trace``        the `Trace`: every number, and all ways to show it
``explainer.steps``        the steps of each of the five views
``explainer.presets``      the course reading's examples, by name
``explainer.text``         tables for a terminal
``explainer.codegen``      programs that compute the same in each framework
``explainer.page``         the explorer as one HTML file (``unstride.explainer.web.page``)
``explainer.widget``       the explorer in a notebook
``explainer.quiz``         questions whose answers are computed
=========================  =====================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Never

from .._messages.argument_names import refuse, renamed

if TYPE_CHECKING:
    from ..geometry import Geometry, Padding
    from .trace import Trace

__all__ = ["explain"]

Ints = int | Sequence[int]


def explain(
    x: Any,
    kernel: Any,
    bias: float | None = None,
    geometry: Geometry | None = None,
    *,
    op: str = "conv_transpose",
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints | None = None,
    dilation: Ints = 1,
    upstream: Any = None,
    **misnamed: Never,
) -> Trace:
    """The `Trace` of one small transposed convolution: every copy, sum, window, matrix entry and gradient of it.

    Parameters
    ----------
    x : array
        A bare grid of 1 to 3 dimensions, without batch or channels: anything that NumPy makes an array of.
    kernel : array
        A bare grid of as many dimensions as `x`, not flipped.
    bias : number, optional
        Added to every cell of the output.
    geometry : Geometry, optional
        Instead of the fields below, as in `unstride.conv_transpose`.
    op : {"conv_transpose", "conv"}
        "conv" explains the plain convolution of `x` instead, with `padding` as in `unstride.conv`. Its old name,
        ``map``, still works, with a DeprecationWarning.
    stride, padding, output_padding, dilation
        The fields of `Geometry`.
    upstream : array, optional
        The upstream gradient, of the output's shape. Default: ones, the gradient of the output's sum.

    Raises
    ------
    GeometryError
        The shapes, or a field, describe no (transposed) convolution; or the case is too large to show every step.
    TypeError
        An argument is no array of real numbers.

    Examples
    --------
    >>> trace = explain([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2)
    >>> trace.output
    array([[0., 0., 0., 1.],
           [0., 0., 2., 3.],
           [0., 2., 0., 3.],
           [4., 6., 6., 9.]])
    >>> [(term.input, term.tap, term.product) for term in trace.contributors((3, 3))]
    [((1, 1), (1, 1), 9.0)]
    """
    from .trace import Trace

    op = renamed(misnamed, "map", "op", op)
    if misnamed:
        refuse(explain, misnamed)
    return Trace(
        x, kernel, bias, geometry, op=op, stride=stride, padding=padding, output_padding=output_padding,
        dilation=dilation, upstream=upstream,
    )  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "Trace":
        from .trace import Trace

        return Trace
    if name in ("page", "widget"):
        from importlib import import_module

        return import_module(".web.page" if name == "page" else ".widget", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
