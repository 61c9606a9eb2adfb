"""Cache of validated calls, keyed by everything that validation depends on.

For NumPy arrays an entry is all that the native core needs. PyTorch's tensors have a cache of their own
(`unstride.backends.torch.repeated`).
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from .. import _native, backends
from ..backends import numpy as native
from ..geometry import Geometry

Arrays = tuple[Any, Any, Any]
"""x, kernel and bias, or big, small and None."""

_calls: dict[Any, _native.CachedCall] = {}
_MOST_CALLS = 1024


def repeated(op: str, arrays: Arrays, fields: tuple[Any, ...]) -> Any:
    """The result of a call like one before; None if there was none."""
    if type(arrays[0]) is np.ndarray:  # asked here, as compilers cannot follow into the native core
        return _native.recall(_calls, op, *arrays, fields)
    cache = backends.cache_of(arrays[0])
    return None if cache is None else cache.repeated(op, arrays, fields)


def remember(op: str, call: native.Call | native.GradientCall, arrays: Arrays, fields: tuple[Any, ...]) -> None:
    """Keep a call on NumPy arrays. `fields` are those of `pipeline.Fields`."""
    first, second, _ = arrays
    key = _native.key(op, *arrays, fields)
    # Bare grids are turned into others first.
    if key is None or fields[-2] is None or 0 in first.shape or 0 in second.shape:
        return
    known = native.known(op, call, first.itemsize)
    if known is None:
        return
    if len(_calls) >= _MOST_CALLS:
        _calls.clear()
    with contextlib.suppress(TypeError):  # a list among the fields
        _calls[key] = known


def remember_tensors(
    op: str, arrays: Arrays, fields: tuple[Any, ...], geometry: Geometry, size: tuple[int, ...] | None
) -> None:
    """Keep a call on a framework's tensors, where that is done. `size` is the result's; None for a kernel."""
    if (cache := backends.cache_of(arrays[0])) is not None:
        cache.remember(op, arrays, fields, geometry, size)
