"""The examples as traces: `PRESETS` by name. Their numbers and notes are in ``examples.py``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..geometry import GeometryError
from .examples import EXAMPLES, Example
from .trace import Trace

__all__ = ["PRESETS", "Preset", "preset"]


class Preset(Example):
    """An `Example` that makes its `Trace`."""

    def trace(self) -> Trace:
        """
        >>> PRESETS["worked-1"].trace().output
        array([[ 0.,  0.,  1.],
               [ 0.,  4.,  6.],
               [ 4., 12.,  9.]])
        """
        return Trace(self.x, self.kernel, **self.fields)


PRESETS: Mapping[str, Preset] = MappingProxyType({name: Preset(**vars(case)) for name, case in EXAMPLES.items()})
"""All of them, in the reading's order."""


def preset(name: str) -> Preset:
    """The preset of that name."""
    if name not in PRESETS:
        raise GeometryError(f"preset is {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
