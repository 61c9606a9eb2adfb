"""Checks of the three maps' arguments, for arrays of any library. The errors name the argument."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from .. import backends
from .._messages.errors import ArgumentError, GeometryError
from .._messages.masked import refuse_masked
from .._messages.wording import counted
from ..geometry import Geometry
from .layout_hints import READ_AS, remedy


def arrays_of(channels: str | None, **arrays: Any) -> tuple[ModuleType, list[Any], str]:
    """The backend, the arrays converted to it, and their layout.

    The arrays have one floating-point type, and batch and channels.
    """
    if channels is not None and not (isinstance(channels, str) and channels in ("last", "first")):
        raise ArgumentError(f"channels is {channels!r}; expected 'last', 'first' or None")
    for name, array in arrays.items():
        if isinstance(array, Geometry):
            raise TypeError(f"{name} is a Geometry; pass it by name, geometry=...")
        if array is None and name != "bias":
            raise TypeError(f"{name} is None; expected an array")
        refuse_masked(name, array)
    values = [backends.unwrap(array) for array in arrays.values()]
    backend = backends.find(*values)
    for name, array in arrays.items():
        if array is not None and (isinstance(array, np.ndarray) or not hasattr(array, "dtype")):
            _check_numbers(name, array)
    try:
        converted = list(backend.convert(*values))
    except np.exceptions.DTypePromotionError:
        types = ", ".join(f"{name} of type {array.dtype}" for name, array in arrays.items() if hasattr(array, "dtype"))
        raise TypeError(f"the arrays have no common type: {types}; convert them to one first") from None
    for index, (name, array) in enumerate(zip(arrays, converted, strict=True)):
        if array is not None:
            if isinstance(array, np.ndarray) and not hasattr(values[index], "dtype"):
                _check_held(name, values[index], array)
            converted[index] = check_array(name, array, channels, backend)
    return backend, converted, channels or "last"


def _check_numbers(name: str, given: Any) -> None:
    """Raise a TypeError unless a NumPy array, or an object that will be converted to one, holds real numbers."""
    try:
        array = np.asarray(given)
    except ValueError as error:  # lists of different lengths
        raise TypeError(f"{name} is no array: {error}") from error
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        kind = array.dtype.name if array.dtype.kind == "c" or isinstance(given, np.ndarray) else type(given).__name__
        raise TypeError(f"{name} is of type {kind}; expected an array of real numbers: {_NUMBERS}")


_NUMBERS = "float32, float64, float16 or bfloat16"


def _check_held(name: str, given: Any, array: Any) -> None:
    """Raise a TypeError if the arrays' common type cannot hold a list's numbers."""
    raw = np.asarray(given)
    if array.dtype.kind == "f" and raw.dtype.kind == "f" and (lost := np.isinf(array) & np.isfinite(raw)).any():
        raise TypeError(
            f"{name} has {raw[lost][0]}, more than {array.dtype} holds, the type of the arrays beside it; make those "
            f"{raw.dtype}"
        )


def check_array(name: str, array: Any, channels: str | None, backend: ModuleType) -> Any:
    """`array` with batch and channels, after checks of its type and its number of dimensions."""
    dimensions = len(array.shape)
    extra = 0 if channels is None else 2
    if name != "bias" and not 1 <= dimensions - extra <= 3:
        hint = "" if channels is None else " and two of batch and channels; for a bare grid pass channels=None"
        if name == "kernel" and channels is not None:
            hint = " and two of channels; for a bare kernel pass channels=None"
        raise GeometryError(
            f"{name} has {counted(dimensions, 'dimension')}, shape {tuple(array.shape)}; expected 1 to 3 of space{hint}"
        )
    kind = getattr(array.dtype, "name", str(array.dtype)).removeprefix("torch.")
    if kind.startswith(("int", "uint")) and channels is None:
        array = backend.as_float(array)
    elif kind not in ("float16", "bfloat16", "float32", "float64"):
        bare = kind.startswith(("int", "uint")) and name != "bias" and dimensions <= 3
        raise TypeError(
            f"{name} is of type {kind}; expected {_NUMBERS}: convert it first"
            f"{', or pass channels=None if it is a bare grid' if bare else ''}"
        )
    if name == "bias":
        expected = 0 if channels is None else 1
        if dimensions != expected:
            what = "a number, as channels=None" if channels is None else "one number for each channel of the result"
            raise GeometryError(f"bias has shape {tuple(array.shape)}; expected {what}")
        return array[None] if channels is None else array
    if channels is not None:
        return array
    return array[..., None, None] if name == "kernel" else array[None, ..., None]


def check_channels(
    x: Any, kernel: Any, geometry: Geometry, layout: str, *, small: bool, size: tuple[int, ...] | None = None
) -> None:
    """Check that x and the kernel have the same number of spatial axes and channels that fit the geometry's groups.

    The kernel must also have the `size` of the geometry, if one was given.
    """
    if len(x.shape) != len(kernel.shape):
        axes = counted(len(x.shape) - 2, "spatial axis", "spatial axes")
        raise GeometryError(
            f"x has {axes}, of size {spatial(x, layout)}, and the kernel "
            f"{len(kernel.shape) - 2}, of size {kernel_size_of(kernel, layout)}; expected the same number"
            f"{_missing_axes(len(kernel.shape) - len(x.shape), layout)}"
        )
    per_group, c_small = _kernel_channels(kernel, layout)

    def hint() -> str:
        return remedy(x, kernel, geometry.groups, size, layout, small=small)

    if c_small % geometry.groups:
        raise GeometryError(
            f"the kernel of shape {tuple(kernel.shape)}, read as {READ_AS[layout]}, has C_small = {c_small} channels, "
            f"which {geometry.groups} groups do not divide evenly; x has shape {tuple(x.shape)}"
            f"{hint()}"
        )
    count, expected = x.shape[channel_axis(layout)], c_small if small else per_group * geometry.groups
    if count is not None and count != expected:
        rule = "C_small" if small else "C_big = groups * (C_big / groups)"
        raise GeometryError(
            f"x has {count} channels, shape {tuple(x.shape)}, but the kernel of shape {tuple(kernel.shape)}, read as "
            f"{READ_AS[layout]}, takes {rule} = {expected}{hint()}"
        )
    taps = kernel_size_of(kernel, layout)
    if size not in (None, taps):
        raise GeometryError(
            f"the kernel of shape {tuple(kernel.shape)}, read as {READ_AS[layout]}, has size {taps}, but the geometry "
            f"is for {size}; x has shape {tuple(x.shape)}{hint()}"
        )


def _missing_axes(count: int, layout: str) -> str:
    """The hint for an error message where x has `count` axes fewer than the kernel."""
    both = "None, ..., None" if layout == "last" else "None, None"
    hints = {
        1: "; if x is without its batch axis, give x[None]",
        2: f"; if x is without batch and channels, give x[{both}]",
        -2: f"; if the kernel is without channels, give kernel[{both.replace('None, ...,', '..., None,')}]",
    }
    return hints.get(count, "")


def check_bias(bias: Any, kernel: Any, geometry: Geometry, layout: str, *, small: bool) -> None:
    per_group, c_small = _kernel_channels(kernel, layout)
    expected = c_small if small else per_group * geometry.groups
    if bias is not None and bias.shape[0] != expected:
        raise GeometryError(
            f"bias has {bias.shape[0]} entries; expected {expected}, one for each channel of the result"
        )


def check_out(out: Any, shape: tuple[int, ...], dtype: Any, *arguments: Any) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is {type(out).__name__}; expected a numpy.ndarray")
    refuse_masked("out", out)
    if out.dtype != dtype:
        raise TypeError(f"out is of type {out.dtype}; expected the result's, {dtype}")
    if out.shape != shape:
        raise GeometryError(f"out has shape {out.shape}; expected the result's, {shape}")
    if not out.flags.writeable:
        raise GeometryError("out is read-only; expected an array that can be written to")
    if any(argument is not None and np.may_share_memory(out, argument) for argument in arguments):
        raise GeometryError("out overlaps an argument in memory; expected an array of its own")


def only_native(out: Any) -> None:
    if out is not None:
        raise TypeError(
            "out is given beside arrays that are not NumPy's; expected None: other libraries make their own"
        )


def check_activation(activation: Any) -> None:
    if activation is not None and not (isinstance(activation, str) and activation == "relu"):
        raise ArgumentError(f"activation is {activation!r}; expected None or 'relu'")


def _kernel_channels(kernel: Any, layout: str) -> tuple[int, int]:
    """C_big / groups and C_small."""
    return (kernel.shape[-2], kernel.shape[-1]) if layout == "last" else (kernel.shape[1], kernel.shape[0])


def kernel_size_of(kernel: Any, layout: str) -> tuple[int, ...]:
    return tuple(kernel.shape[:-2] if layout == "last" else kernel.shape[2:])


def spatial(array: Any, layout: str) -> tuple[int, ...]:
    """The spatial size. An axis may be None in TensorFlow's graphs."""
    return tuple(array.shape[1:-1] if layout == "last" else array.shape[2:])


def channel_axis(layout: str) -> int:
    return -1 if layout == "last" else 1
