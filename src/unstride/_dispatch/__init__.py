"""The way of a call of the three maps to a backend: argument checks, and a cache of validated calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAPS: dict[str, Callable[..., Any]] = {}
"""The public functions by their names, for graphs that call them later. `unstride.ops` fills it."""
