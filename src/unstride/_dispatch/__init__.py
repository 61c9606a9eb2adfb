"""What a call of one of the three maps passes through before it is computed: checks, and a cache of checked calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAPS: dict[str, Callable[..., Any]] = {}
"""The public functions by their names, for the graphs that call them again. `unstride.ops` fills it."""
