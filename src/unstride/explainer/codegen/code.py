"""Programs that compute a trace's output in each framework.

Each is whole: it runs as it is, leaves the result in ``y``, a bare grid, and prints it. Where one call of the
framework cannot do it, the program says why in a comment and uses the recipe of `Setting`: the call that comes
nearest, with zeros added and cells cut off around it, or with the dilation written into the kernel as zeros.
"""

from __future__ import annotations

from ...geometry import GeometryError
from ..numbers import Numbers
from ..settings import Setting, setting
from .case import Case
from .writers import WRITERS


def code(trace: Numbers, framework: str) -> str:
    """`Trace.code`."""
    if framework not in WRITERS:
        raise GeometryError(f"framework is {framework!r}; expected one of {', '.join(map(repr, WRITERS))}")
    found = None if framework in ("numpy", "unstride") else setting(trace, framework)
    case = Case(trace, framework, _portable(found, trace))
    return "\n".join([*case.head(), *WRITERS[framework](case), "print(y)", ""])


def _portable(found: Setting | None, trace: Numbers) -> Setting | None:
    """`found`, or the recipe that runs everywhere, where the call needs a GPU or another backend."""
    if found is None or not trace.transposed or found.arguments is None:
        return found
    arguments = found.arguments
    if found.framework == "tensorflow" and max(trace.geometry.dilation) > 1:
        reason = found.reason or "on a CPU its transposed convolutions refuse most dilations"
        return Setting("tensorflow", found.call, None, reason, None, trace.crops)
    if found.reason is not None:
        return found
    if found.framework == "keras" and arguments["padding"] == "same" and arguments["output_padding"] is not None:
        extra = arguments["output_padding"]
        if any(K % 2 == 0 and op == 0 for K, op in zip(trace.geometry.spans, extra, strict=True)):
            plain = arguments | {"padding": "valid", "output_padding": (0,) * trace.rank}
            reason = (
                "with TensorFlow as its backend it refuses padding='same' with output_padding=0 and an even kernel, "
                "which other backends take"
            )
            recipe = "the layer with padding='valid', output_padding=0; then the crop; then the bias"
            return Setting("keras", found.call, plain, reason, recipe, trace.crops)
    return found
