"""Calls like ones before: what their checks found, by everything that these looked at, so that none is made twice.

For NumPy arrays that is all that the native core needs; for PyTorch tensors with derivatives, the geometry.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from . import _native, backends
from .backends import numpy as native
from .geometry import Geometry

_calls: dict[Any, _native.CachedCall] = {}
_geometries: dict[Any, Geometry] = {}
_MOST_KNOWN = 1024


def recalled(map: str, a: Any, b: Any, bias: Any, fields: tuple[Any, ...]) -> Any:
    """The result for NumPy arrays of a call like one before; None if there was none."""
    if type(a) is not np.ndarray:  # asked here, as compilers cannot follow into the native core
        return None
    return _native.recall(_calls, map, a, b, bias, fields)


def remember(
    map: str,
    call: native.Call | native.GradientCall,
    fields: tuple[Any, ...],
    a: Any,
    b: Any,
    bias: Any,
    channels: str | None,
) -> None:
    key = _native.key(map, a, b, bias, fields)
    if key is None or channels is None or 0 in a.shape or 0 in b.shape:  # bare grids are turned into others first
        return
    known = native.known(map, call, a.itemsize)
    if known is not None:
        _keep(_calls, key, known)


def tensor_key(map: str, x: Any, kernel: Any, bias: Any, fields: tuple[Any, ...]) -> Any:
    """What tells a call from another one, for PyTorch tensors of one type; None for others."""
    if not backends.are_torchs(x, kernel, bias):
        return None
    # The types too: a stride of True or 1.0 equals 1, and is none.
    return map, x.dtype, x.shape, kernel.shape, None if bias is None else bias.shape, fields, _kind(fields)


def geometry_of(key: Any) -> Geometry | None:
    if key is None:  # nor does a compiler then look into what is known
        return None
    try:
        return _geometries.get(key)
    except TypeError:  # a list among the fields
        return None


def remember_geometry(key: Any, geometry: Geometry, channels: str | None) -> None:
    if key is not None and channels is not None:
        _keep(_geometries, key, geometry)


def _kind(field: Any) -> Any:
    return tuple(map(_kind, field)) if type(field) is tuple else type(field)


def _keep(known: dict[Any, Any], key: Any, found: Any) -> None:
    if len(known) >= _MOST_KNOWN:
        known.clear()
    with contextlib.suppress(TypeError):  # a list among the fields
        known[key] = found
