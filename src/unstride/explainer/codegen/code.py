"""Programs that compute a trace's output in each framework.

Each program is complete: it leaves the result in ``y``, a bare grid, and prints it. If one call of the framework is
not enough, a comment gives the reason, and the program follows the recipe of `Setting`: the nearest call, with zeros
added and cells cut off around it, or with the dilation written into the kernel as zeros.

The explorer writes the same programs, letter by letter, from the same ``shared/programs.json``: ``web/programs.mjs``.
"""

from __future__ import annotations

from dataclasses import replace

from ...geometry import GeometryError
from ..numbers import Numbers
from ..settings import Setting, setting
from .case import PROGRAMS, Case
from .writers import WRITERS


def code(trace: Numbers, framework: str) -> str:
    """`Trace.code`."""
    if framework not in WRITERS:
        raise GeometryError(f"framework is {framework!r}; expected one of {', '.join(map(repr, WRITERS))}")
    nearest = None if framework in ("numpy", "unstride") else _portable(setting(trace, framework), trace)
    case = Case(trace, framework, nearest)
    return "\n".join([*case.lines(WRITERS[framework](case)), ""])


def _portable(nearest: Setting, trace: Numbers) -> Setting:
    """`nearest`, or the recipe that runs everywhere, where the call needs a GPU or another backend."""
    if not trace.transposed or nearest.arguments is None:
        return nearest
    arguments = nearest.arguments
    if nearest.framework == "tensorflow" and max(trace.geometry.dilation) > 1:
        return replace(nearest, arguments=None, reason=nearest.reason or PROGRAMS["no cpu"], crops=trace.crops)
    if nearest.framework == "keras" and nearest.reason is None and arguments["padding"] == "same":
        extra = arguments["output_padding"] or (1,) * trace.rank
        if any(K % 2 == 0 and op == 0 for K, op in zip(trace.geometry.spans, extra, strict=True)):
            plain = arguments | {"padding": "valid", "output_padding": (0,) * trace.rank}
            return Setting(
                "keras", nearest.call, plain, PROGRAMS["even same"], PROGRAMS["even same recipe"], trace.crops
            )
    return nearest
