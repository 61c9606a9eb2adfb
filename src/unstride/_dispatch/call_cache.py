"""Cache of validated calls, keyed by everything that validation depends on.

An entry for NumPy arrays holds everything that the native core needs. PyTorch's tensors have their own cache
(`unstride.backends.torch.call_cache`).
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from .. import backends
from .._core import core
from ..backends import numpy as native
from ..geometry import Geometry

Arrays = tuple[Any, Any, Any]
"""x, kernel and bias, or big, small and None."""

_calls: dict[Any, core.CachedCall] = {}
_MOST_CALLS = 1024


def repeated(op: str, arrays: Arrays, fields: tuple[Any, ...]) -> Any:
    """The result of a call that is in the cache; None if it is not."""
    if type(arrays[0]) is np.ndarray:  # tested in Python: compilers cannot trace the native core
        if fields[-2] is not None:
            return core.recall(_calls, op, *arrays, fields)
        if type(arrays[1]) is np.ndarray and arrays[2] is None:
            result = core.recall(_calls, op, *with_channels(op, arrays), fields)
            return None if result is None else bare(op, result)
        return None
    cache = backends.cache_of(arrays[0])
    return None if cache is None else cache.repeated(op, arrays, fields)


def with_channels(op: str, arrays: Arrays) -> Arrays:
    """Bare grids, and a bare kernel, with a batch and channels of one."""
    first, second, bias = arrays
    return first[None, ..., None], second[None, ..., None] if op == "kernel_gradient" else second[..., None, None], bias


def bare(op: str, y: Any) -> Any:
    """The result without the batch and channels that were added to bare grids."""
    return y[..., 0, 0] if op == "kernel_gradient" else y[0, ..., 0]


def remember(op: str, call: native.Call | native.GradientCall, arrays: Arrays, fields: tuple[Any, ...]) -> None:
    """Add a call on NumPy arrays to the cache. `fields` are those of `Fields`, as a plain tuple."""
    first, second, bias = arrays
    key = core.key(op, *arrays, fields)
    # Bare grids with a bias, which is a number then, are not looked up.
    if key is None or 0 in first.shape or 0 in second.shape or (fields[-2] is None and bias is not None):
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
    """Add a call to the cache of a framework's tensors, if it has one. `size` is the result's; None for a kernel."""
    if (cache := backends.cache_of(arrays[0])) is not None:
        cache.remember(op, arrays, fields, geometry, size)
