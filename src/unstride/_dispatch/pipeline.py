"""The way of a call through the package, the same for all three maps.

1. A call that is in `call_cache` needs no checks.
2. Symbolic Keras tensors become a node of a model (`symbolic`).
3. The arguments are checked (`validation`) and converted to arrays of one backend and a geometry.
4. The backend computes the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from .. import backends
from .._messages.wording import counted
from ..backends import numpy as native
from ..geometry import Geometry, GeometryError, is_open, per_axis, same_zeros
from . import call_cache
from .call_cache import Arrays
from .fields import Fields
from .layout_hints import other_layout
from .validation import (
    arrays_of,
    channel_axis,
    check_activation,
    check_bias,
    check_channels,
    check_out,
    kernel_size_of,
    only_native,
    spatial,
)

NAMES = {
    "conv_transpose": ("x", "kernel", "bias"),
    "conv": ("x", "kernel", "bias"),
    "kernel_gradient": ("big", "small"),
}
"""The names of each map's arrays."""


def computed(op: str, arrays: Arrays, fields: tuple[Any, ...], out: Any) -> Any:
    """The result of a map of three arrays; the last one may be None.

    `fields` are those of `Fields` in a plain tuple, which is the faster cache key.
    """
    if out is None:
        result = call_cache.repeated(op, arrays, fields)
        if result is not None:
            return result
    given = Fields(*fields)
    named = dict(zip(NAMES[op], arrays, strict=False))
    if backends.is_symbolic(*arrays):
        from .symbolic import record

        return record(op, named, given, out)
    backend, checked, layout = arrays_of(given.channels, **named)
    check = _checked_gradient if op == "kernel_gradient" else _checked_map
    geometry, size, ready = check(op, backend, checked, given, layout)
    if backend is native:
        return _natively(op, geometry, size, ready, fields, layout, out)
    only_native(out)
    y = _by_backend(op, backend, geometry, size, ready, given, layout)
    if given.channels is not None and ready[0] is checked[0]:  # no zeros were added to it for this call
        call_cache.remember_tensors(op, arrays, fields, geometry, size)
    return y if given.channels is not None else call_cache.bare(op, y)


def _checked_map(
    op: str, backend: ModuleType, arrays: Sequence[Any], given: Fields, layout: str
) -> tuple[Geometry, tuple[int, ...] | None, Sequence[Any]]:
    """The geometry of a conv_transpose or conv, the size of its result if it is known, and the arrays."""
    x, kernel, bias = arrays
    transposed = op == "conv_transpose"
    check_activation(given.activation)
    size, taps = spatial(x, layout), kernel_size_of(kernel, layout)
    expected = None
    if given.geometry is not None:
        given.only_geometry(None)
        geometry, expected = given.geometry, given.geometry.kernel_size
    elif transposed:
        geometry = given.described(taps)
    elif _may_be_open(backend, size):
        x, geometry = _open_convolution(backend, x, layout, given, taps)
    else:
        geometry = given.of_convolution(size, taps)
    check_channels(x, kernel, geometry, layout, small=transposed, size=expected)
    check_bias(bias, kernel, geometry, layout, small=not transposed)
    # An error is raised here, in our words, and not somewhere inside a framework.
    length = None if is_open(size) else (geometry.output_size if transposed else geometry.conv_size)(size)
    return geometry, length, (x, kernel, bias)


def _checked_gradient(
    op: str,  # noqa: ARG001 - as `_checked_map`
    backend: ModuleType,
    arrays: Sequence[Any],
    given: Fields,
    layout: str,
) -> tuple[Geometry, None, Sequence[Any]]:
    """The geometry of a kernel_gradient, fitted to both grids, and the grids."""
    big, small = arrays
    bigs, smalls = spatial(big, layout), spatial(small, layout)
    if not is_open((big.shape[0], small.shape[0])) and big.shape[0] != small.shape[0]:
        raise GeometryError(f"big has a batch of {big.shape[0]} and small one of {small.shape[0]}; expected the same")
    taps = None if given.kernel_size is None else per_axis("kernel_size", given.kernel_size, len(bigs), 1)
    if given.geometry is not None:
        given.only_geometry(taps)
        geometry = given.geometry
    elif taps is None:
        raise GeometryError("kernel_size is missing; give it, or a geometry: the arrays' shapes do not tell it")
    elif _may_be_open(backend, bigs):
        big, geometry = _open_convolution(backend, big, layout, given, taps)
    else:
        geometry = given.of_convolution(bigs, taps)
    axis = channel_axis(layout)
    for name, count in (("big", big.shape[axis]), ("small", small.shape[axis])):
        if count % geometry.groups:
            raise GeometryError(f"{name} has {count} channels, which {geometry.groups} groups do not divide evenly")
    if geometry.rank != len(bigs) or len(bigs) != len(smalls):
        raise GeometryError(
            f"big has {counted(len(bigs), 'spatial axis', 'spatial axes')}, small {len(smalls)} and the geometry "
            f"{geometry.rank}; expected the same"
        )
    if not _may_be_open(backend, (*smalls, *bigs)):
        try:
            geometry = geometry.fitted(smalls, bigs)
        except GeometryError as error:
            hint = "" if given.channels is None else other_layout(big, small, geometry, layout)
            raise GeometryError(f"{error}{hint}") from None
    return geometry, None, (big, small)


def _open_convolution(
    backend: ModuleType, x: Any, layout: str, given: Fields, taps: tuple[int, ...]
) -> tuple[Any, Geometry]:
    """The input and the geometry of a convolution whose sizes are not numbers yet. Zeros that depend on a size are
    added to the input."""
    geometry = given.described(taps)
    if not isinstance(given.padding, str):
        return x, geometry
    if given.padding.lower() == "valid":
        return x, geometry.with_crops([(0, 0)] * geometry.rank)
    axes = zip(backend.sizes(x, layout), taps, geometry.stride, geometry.dilation, strict=True)
    zeros = [same_zeros(*axis) for axis in axes]
    if max(geometry.stride) == 1:
        return x, geometry.with_crops(zeros)
    return backend.padded(x, zeros, layout), geometry.with_crops([(0, 0)] * geometry.rank)


def _may_be_open(backend: ModuleType, size: Sequence[Any]) -> bool:
    """Whether sizes are not numbers yet, or only look like numbers while PyTorch exports a program for any size."""
    return is_open(size) or (backend is not native and getattr(backend, "exporting", bool)())


def _natively(
    op: str,
    geometry: Geometry,
    size: tuple[int, ...] | None,
    arrays: Sequence[Any],
    fields: tuple[Any, ...],
    layout: str,
    out: Any,
) -> Any:
    """The result for NumPy arrays, written to `out` if given."""
    call: native.Call | native.GradientCall
    compute: Any
    channels, activation = fields[-2:]
    if op == "kernel_gradient":
        big, small, bias = *arrays, None
        compute, call = native.computed_gradient, native.gradient_call(geometry, big, small, layout)
    else:
        assert size is not None
        x, kernel, bias = arrays
        compute = native.computed
        call = native.call(op == "conv_transpose", geometry, size, kernel, x, layout, activation)
    if out is None:
        result = compute(call, *arrays)
        call_cache.remember(op, call, (arrays[0], arrays[1], bias), fields)
        return result if channels is not None else call_cache.bare(op, result)
    bare = slice(None) if channels is not None else slice(None, -2) if op == "kernel_gradient" else slice(1, -1)
    check_out(out, call.shape[bare], arrays[0].dtype, *arrays)
    whole = out if channels is not None else out[..., None, None] if op == "kernel_gradient" else out[None, ..., None]
    compute(call, *arrays, whole)
    return out


def _by_backend(
    op: str,
    backend: ModuleType,
    geometry: Geometry,
    size: tuple[int, ...] | None,
    arrays: Sequence[Any],
    given: Fields,
    layout: str,
) -> Any:
    """The result for the arrays of a framework."""
    if op == "conv_transpose" and size is not None and 0 in size:
        return _nothing(backend, arrays, geometry, layout, size)
    rule = getattr(backend, op)
    if given.activation is None:
        return rule(*arrays, geometry, layout)
    if getattr(backend, "FUSES_RELU", False):
        return rule(*arrays, geometry, layout, relu=True)
    return backend.relu(rule(*arrays, geometry, layout))


def _nothing(backend: ModuleType, arrays: Sequence[Any], geometry: Geometry, layout: str, size: tuple[int, ...]) -> Any:
    """A result without cells. No framework computes one, so we compute one more cell and cut it off."""
    crops = [(b, e - (n == 0)) for n, (b, e) in zip(size, geometry.crops, strict=True)]
    y = backend.conv_transpose(*arrays, geometry.with_crops(crops), layout)
    cut = tuple(slice(n) for n in size)
    return y[(slice(None), *cut) if layout == "last" else (slice(None), slice(None), *cut)]
