"""What computes NumPy's arrays and runs stacks: the native core, or NumPy where there is no core.

`core` is the extension module `unstride._native`, or `portable`, which has the same functions for NumPy arrays.
`why_missing` is None, or the reason why NumPy computes. Frameworks' arrays then go to the frameworks' own convolutions.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .. import _native as core

NUMPY = "numpy"
"""The value of ``UNSTRIDE_ISA`` that asks for NumPy, as on a machine without the native core."""

why_missing: str | None = None


def _why_absent() -> str:
    """Why there is no file that this Python can load."""
    others = sorted(
        path.name for path in Path(__file__).parent.parent.glob("_native.*") if path.suffix in (".so", ".pyd")
    )
    if others:
        return f"it was built for another Python or system ({', '.join(others)}); install unstride again with this one"
    return (
        "this installation was built without it: there was no C++17 compiler, or it failed. Install one, and "
        "unstride again with UNSTRIDE_REQUIRE_NATIVE=1, which shows what fails"
    )


if not TYPE_CHECKING:
    if os.environ.get("UNSTRIDE_ISA") == NUMPY:
        why_missing = "UNSTRIDE_ISA is 'numpy'"
    elif importlib.util.find_spec("unstride._native") is None:
        why_missing = _why_absent()
    else:
        try:
            from .. import _native as core
        except ImportError as error:
            why_missing = f"it cannot be loaded ({error}); install unstride again"
            warnings.warn(
                f"unstride's native core is not used: {why_missing}. NumPy computes instead, more slowly",
                RuntimeWarning,
                stacklevel=2,
            )
    if why_missing is not None:
        from . import portable as core

__all__ = ["NUMPY", "core", "why_missing"]
