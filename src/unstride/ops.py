"""The three maps: check the arguments, find the array library, hand over.

======================================  ==================  ================================
map                                     from, to            gradients
======================================  ==================  ================================
``conv(big, kernel)``                   big to small        conv_transpose, kernel_gradient
``conv_transpose(small, kernel)``       small to big        conv, kernel_gradient
``kernel_gradient(big, small)``         both to kernel      conv, conv_transpose
======================================  ==================  ================================

One kernel array serves all three, unflipped: ``<conv(u, K), v> == <u, conv_transpose(v, K)>``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from . import backends
from .backends import numpy as native
from .geometry import Geometry, GeometryError, Padding, convolution, per_axis

Ints = int | Sequence[int]


def conv_transpose(
    x: Any,
    kernel: Any,
    bias: Any = None,
    geometry: Geometry | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints | None = None,
    dilation: Ints = 1,
    groups: int = 1,
    channels: str | None = "last",
    activation: str | None = None,
    out: Any = None,
) -> Any:
    """The transposed convolution: every cell of `x` lays a copy of the kernel, scaled by it, onto a larger grid.

    Parameters
    ----------
    x : array
        ``channels="last"``: ``(batch, *space, C_small)``; ``"first"``: ``(batch, C_small, *space)``; None: a bare
        grid of 1 to 3 dimensions. An array of NumPy, PyTorch, JAX or TensorFlow, a Keras variable, or nested lists.
    kernel : array
        ``"last"``: ``(*k, C_big / groups, C_small)``, as in Keras and TensorFlow; ``"first"``: ``(C_small,
        C_big / groups, *k)``, as in PyTorch and ONNX; None: bare, of as many dimensions as `x`.
    bias : array, optional
        ``(C_big,)``; a number where ``channels=None``. Added to every cell, those that no input reaches included.
    geometry : Geometry, optional
        Instead of the fields that follow.
    stride, padding, output_padding, dilation, groups
        The fields of `Geometry`.
    channels : {"last", "first", None}
        The layout of `x`, `kernel` and the result.
    activation : {None, "relu"}
        "relu" makes negative results 0, on the way (NaN stays NaN).
    out : numpy.ndarray, optional
        Where the result of NumPy arrays goes: of its shape and type, apart from the arguments in memory.

    Returns
    -------
    array
        Of the library and layout of `x`, with ``C_big`` channels and the spatial size ``Geometry.output_size``; of the
        type that the given arrays promote to (numbers and lists take theirs). Half and bfloat16 are computed in
        float32. Bare grids of integers become float64. Differentiable in every framework; in JAX to any order in
        reverse mode, not yet in forward mode (``jax.jvp``).

    Raises
    ------
    GeometryError
        The shapes, or a field, describe no transposed convolution; `out` has another shape, or overlaps an argument.
    TypeError
        An array of integers (unless ``channels=None``), booleans or complex numbers; `out` of another type.

    Examples
    --------
    The reading's two worked examples:

    >>> conv_transpose([[0, 1], [2, 3]], [[0, 1], [2, 3]], channels=None)
    array([[ 0.,  0.,  1.],
           [ 0.,  4.,  6.],
           [ 4., 12.,  9.]])
    >>> conv_transpose([[0, 1], [2, 3]], [[0, 1], [2, 3]], stride=2, channels=None)
    array([[0., 0., 0., 1.],
           [0., 0., 2., 3.],
           [0., 2., 0., 3.],
           [4., 6., 6., 9.]])
    """
    fields = geometry, stride, padding, output_padding, dilation, groups, channels, activation
    key = _key(True, x, kernel, bias, fields)
    if out is None and (call := _recall(_known, key)) is not None:
        return native.computed(call, x, kernel, bias)
    backend, (x, kernel, bias), layout = _arrays(channels, x=x, kernel=kernel, bias=bias)
    _check_activation(activation)
    size, taps = _spatial(x, layout), _kernel_size(kernel, layout)
    if geometry is None:
        geometry = Geometry(taps, stride, padding, output_padding, dilation, groups)
    else:
        _only_geometry(geometry, taps, stride, padding, output_padding, dilation, groups)
    _check_channels(x, kernel, geometry, layout, small=True)
    _check_bias(bias, kernel, geometry, layout, small=False)
    # Raises here, in our words, rather than somewhere inside a framework.
    length = None if None in size else geometry.output_size(size)
    if backend is native:
        assert length is not None
        call = native.call(True, geometry, length, kernel, x, layout, activation)
        return _natively(call, key, x, kernel, bias, channels, out)
    _only_native(out)
    if length is not None and 0 in length:
        return _bare(_nothing(backend, x, kernel, bias, geometry, layout, length), channels)
    y = backend.conv_transpose(x, kernel, bias, geometry, layout)
    return _bare(backend.relu(y) if activation else y, channels)


def conv(
    x: Any,
    kernel: Any,
    bias: Any = None,
    geometry: Geometry | None = None,
    *,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    channels: str | None = "last",
    activation: str | None = None,
    out: Any = None,
) -> Any:
    """The convolution (no flip: what deep learning calls so), from the big grid to the small one.

    Takes and returns what `conv_transpose` does, with the two sizes and channel counts exchanged: `x` has ``C_big``
    channels, `bias` and the result have ``C_small``. The kernel is the same array. ``padding="same"`` follows the size
    of `x`, as in Keras.

    >>> conv([1, 2, 3, 4], [1, 10], stride=2, channels=None)
    array([21., 43.])
    """
    fields = geometry, stride, padding, None, dilation, groups, channels, activation
    key = _key(False, x, kernel, bias, fields)
    if out is None and (call := _recall(_known, key)) is not None:
        return native.computed(call, x, kernel, bias)
    backend, (x, kernel, bias), layout = _arrays(channels, x=x, kernel=kernel, bias=bias)
    _check_activation(activation)
    size, taps = _spatial(x, layout), _kernel_size(kernel, layout)
    if geometry is None:
        geometry = convolution(size, taps, stride, padding, dilation, groups)
    else:
        _only_geometry(geometry, taps, stride, padding, None, dilation, groups)
    _check_channels(x, kernel, geometry, layout, small=False)
    _check_bias(bias, kernel, geometry, layout, small=True)
    length = None if None in size else geometry.conv_size(size)
    if backend is native:
        assert length is not None
        call = native.call(False, geometry, length, kernel, x, layout, activation)
        return _natively(call, key, x, kernel, bias, channels, out)
    _only_native(out)
    y = backend.conv(x, kernel, bias, geometry, layout)
    return _bare(backend.relu(y) if activation else y, channels)


def kernel_gradient(
    big: Any,
    small: Any,
    geometry: Geometry | None = None,
    *,
    kernel_size: Ints | None = None,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    channels: str | None = "last",
    out: Any = None,
) -> Any:
    """The derivative of ``<conv(big, K), small>``, which is ``<big, conv_transpose(small, K)>``, by the kernel K.

    Parameters
    ----------
    big, small : arrays
        On the big and on the small grid, in the layout `channels`; their sizes must belong together.
    geometry : Geometry, optional
        Instead of the fields that follow, of which `kernel_size` is necessary.
    out : numpy.ndarray, optional
        As in `conv_transpose`.

    Returns
    -------
    array
        Of the kernel's shape, in the layout `channels`.

    >>> kernel_gradient([1, 2, 3, 4], [1, 10], kernel_size=2, stride=2, channels=None)
    array([31., 42.])
    """
    fields = geometry, kernel_size, stride, padding, dilation, groups, channels
    key = _key(None, big, small, None, fields)
    if out is None and (call := _recall(_known_gradients, key)) is not None:
        return native.computed_gradient(call, big, small)
    backend, (big, small), layout = _arrays(channels, big=big, small=small)
    bigs, smalls = _spatial(big, layout), _spatial(small, layout)
    if big.shape[0] != small.shape[0]:
        raise GeometryError(f"big has a batch of {big.shape[0]} and small one of {small.shape[0]}; expected the same")
    if geometry is None:
        if kernel_size is None:
            raise GeometryError("kernel_size is missing; give it, or a geometry: the arrays' shapes do not tell it")
        taps = per_axis("kernel_size", kernel_size, len(bigs), 1)
        geometry = convolution(bigs, taps, stride, padding, dilation, groups)
    else:
        asked = None if kernel_size is None else per_axis("kernel_size", kernel_size, len(bigs), 1)
        _only_geometry(geometry, asked, stride, padding, None, dilation, groups)
    axis = _channel_axis(layout)
    for name, count in (("big", big.shape[axis]), ("small", small.shape[axis])):
        if count % geometry.groups:
            raise GeometryError(f"{name} has {count} channels, which {geometry.groups} groups do not divide evenly")
    if geometry.rank != len(bigs) or len(bigs) != len(smalls):
        raise GeometryError(
            f"big has {len(bigs)} spatial axes, small {len(smalls)} and the geometry {geometry.rank}; expected the same"
        )
    geometry = geometry.fitted(smalls, bigs)
    if backend is not native:
        _only_native(out)
        return _bare(backend.kernel_gradient(big, small, geometry, layout), channels, kernel=True)
    call = native.gradient_call(geometry, big, small, layout)
    if out is None:
        _remember(_known_gradients, key, call, channels)
        return _bare(native.computed_gradient(call, big, small), channels, kernel=True)
    _check_out(out, call.shape if channels is not None else call.shape[:-2], big.dtype, big, small)
    native.computed_gradient(call, big, small, out if channels is not None else out[..., None, None])
    return out


# What the checks of a call found, by everything that they looked at: a second such call need not be checked.
_known: dict[Any, native.Call] = {}
_known_gradients: dict[Any, native.GradientCall] = {}
_MOST_KNOWN = 1024


def _key(transposed: bool | None, x: Any, kernel: Any, bias: Any, fields: tuple[Any, ...]) -> Any:
    """What tells a call from another one, for NumPy arrays of one type and with channels; None for others."""
    if type(x) is not np.ndarray or type(kernel) is not np.ndarray or x.dtype != kernel.dtype:
        return None
    if bias is not None and (type(bias) is not np.ndarray or bias.dtype != x.dtype):
        return None
    # The types too: a stride of True or 1.0 equals 1, and is none.
    kinds = tuple(map(type, fields))
    return transposed, x.dtype, x.shape, kernel.shape, None if bias is None else bias.shape, fields, kinds


def _recall(known: dict[Any, Any], key: Any) -> Any:
    try:
        return known.get(key)
    except TypeError:  # a list among the fields
        return None


def _remember(known: dict[Any, Any], key: Any, call: Any, channels: str | None) -> None:
    if key is None or channels is None:  # bare grids are turned into others first
        return
    if len(known) >= _MOST_KNOWN:
        known.clear()
    with contextlib.suppress(TypeError):
        known[key] = call


def _natively(call: native.Call, key: Any, x: Any, kernel: Any, bias: Any, channels: str | None, out: Any) -> Any:
    if out is None:
        _remember(_known, key, call, channels)
        return _bare(native.computed(call, x, kernel, bias), channels)
    shape = call.shape if channels is not None else call.shape[1:-1]
    _check_out(out, shape, x.dtype, x, kernel, bias)
    native.computed(call, x, kernel, bias, out if channels is not None else out[None, ..., None])
    return out


def _check_out(out: Any, shape: tuple[int, ...], dtype: Any, *arguments: Any) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is {type(out).__name__}; expected a numpy.ndarray")
    if out.dtype != dtype:
        raise TypeError(f"out is of type {out.dtype}; expected the result's, {dtype}")
    if out.shape != shape:
        raise GeometryError(f"out has shape {out.shape}; expected the result's, {shape}")
    if not out.flags.writeable:
        raise GeometryError("out is read-only; expected an array that can be written to")
    if any(argument is not None and np.may_share_memory(out, argument) for argument in arguments):
        raise GeometryError("out overlaps an argument in memory; expected an array of its own")


def _only_native(out: Any) -> None:
    if out is not None:
        raise TypeError(
            "out is given beside arrays that are not NumPy's; expected None: other libraries make their own"
        )


def _check_activation(activation: Any) -> None:
    if activation not in (None, "relu"):
        raise GeometryError(f"activation is {activation!r}; expected None or 'relu'")


def _nothing(
    backend: ModuleType, x: Any, kernel: Any, bias: Any, geometry: Geometry, layout: str, length: tuple[int, ...]
) -> Any:
    """A result without cells: no framework computes one, so one with a cell more, which is then cut off."""
    crops = [(b, e - (n == 0)) for n, (b, e) in zip(length, geometry.crops, strict=True)]
    y = backend.conv_transpose(x, kernel, bias, geometry.with_crops(crops), layout)
    cut = tuple(slice(n) for n in length)
    return y[(slice(None), *cut) if layout == "last" else (slice(None), slice(None), *cut)]


def _arrays(channels: str | None, **arrays: Any) -> tuple[ModuleType, list[Any], str]:
    """The backend, the arrays as its own, of one floating-point type and with batch and channels, and their layout."""
    if channels not in ("last", "first", None):
        raise GeometryError(f"channels is {channels!r}; expected 'last', 'first' or None")
    for name, array in arrays.items():
        if isinstance(array, Geometry):
            raise TypeError(f"{name} is a Geometry; pass it by name, geometry=...")
        if array is None and name != "bias":
            raise TypeError(f"{name} is None; expected an array")
    values = [backends.unwrap(array) for array in arrays.values()]
    backend = backends.find(*values)
    converted = list(backend.convert(*values))
    for index, (name, array) in enumerate(zip(arrays, converted, strict=True)):
        if array is not None:
            converted[index] = _checked(name, array, channels, backend)
    return backend, converted, channels or "last"


def _checked(name: str, array: Any, channels: str | None, backend: ModuleType) -> Any:
    """`array` with batch and channels, if its type and its number of dimensions are right."""
    kind = getattr(array.dtype, "name", str(array.dtype)).removeprefix("torch.")
    if kind.startswith(("int", "uint")) and channels is None:
        array = backend.as_float(array)
    elif kind not in ("float16", "bfloat16", "float32", "float64"):
        raise TypeError(f"{name} is of type {kind}; expected float32, float64, float16 or bfloat16: convert it first")
    dimensions = len(array.shape)
    if name == "bias":
        expected = 0 if channels is None else 1
        if dimensions != expected:
            what = "a number, as channels=None" if channels is None else "one number for each channel of the result"
            raise GeometryError(f"bias has shape {tuple(array.shape)}; expected {what}")
        return array[None] if channels is None else array
    extra = 0 if channels is None else 2
    if not 1 <= dimensions - extra <= 3:
        hint = "" if channels is None else " and two of batch and channels; for a bare grid pass channels=None"
        if name == "kernel" and channels is not None:
            hint = " and two of channels; for a bare kernel pass channels=None"
        raise GeometryError(
            f"{name} has {dimensions} dimensions, shape {tuple(array.shape)}; expected 1 to 3 of space{hint}"
        )
    if channels is not None:
        return array
    return array[..., None, None] if name == "kernel" else array[None, ..., None]


def _only_geometry(geometry: Geometry, taps: tuple[int, ...] | None, *fields: Any) -> None:
    if not isinstance(geometry, Geometry):
        raise TypeError(
            f"geometry is {geometry!r}; expected a Geometry (a kernel's size goes by name: kernel_size=...)"
        )
    defaults = (1, 0, None, 1, 1)
    if not all(isinstance(field, int | None) and field == own for field, own in zip(fields, defaults, strict=True)):
        raise GeometryError(
            "both a geometry and some of stride, padding, output_padding, dilation and groups are given; give one or "
            "the other"
        )
    if taps is not None and geometry.kernel_size != taps:
        raise GeometryError(f"the kernel has size {taps}, but the geometry is for {geometry.kernel_size}")


def _check_channels(x: Any, kernel: Any, geometry: Geometry, layout: str, *, small: bool) -> None:
    """That x and the kernel have as many spatial axes, and channels that fit in the geometry's groups."""
    if len(x.shape) != len(kernel.shape):
        raise GeometryError(
            f"x has {len(x.shape) - 2} spatial axes, of size {_spatial(x, layout)}, and the kernel "
            f"{len(kernel.shape) - 2}, of size {_kernel_size(kernel, layout)}; expected the same number"
        )
    per_group, c_small = _kernel_channels(kernel, layout)
    if c_small % geometry.groups:
        raise GeometryError(
            f"the kernel has C_small = {c_small} channels, which {geometry.groups} groups do not divide evenly"
        )
    found, expected = x.shape[_channel_axis(layout)], c_small if small else per_group * geometry.groups
    if found is not None and found != expected:
        rule = "C_small" if small else "C_big = groups * (C_big / groups)"
        order = "(*k, C_big / groups, C_small)" if layout == "last" else "(C_small, C_big / groups, *k)"
        raise GeometryError(
            f"x has {found} channels, shape {tuple(x.shape)}, but the kernel of shape {tuple(kernel.shape)}, read as "
            f"{order}, takes {rule} = {expected}"
        )


def _check_bias(bias: Any, kernel: Any, geometry: Geometry, layout: str, *, small: bool) -> None:
    per_group, c_small = _kernel_channels(kernel, layout)
    expected = c_small if small else per_group * geometry.groups
    if bias is not None and bias.shape[0] != expected:
        raise GeometryError(
            f"bias has {bias.shape[0]} entries; expected {expected}, one for each channel of the result"
        )


def _kernel_channels(kernel: Any, layout: str) -> tuple[int, int]:
    """C_big / groups and C_small."""
    return (kernel.shape[-2], kernel.shape[-1]) if layout == "last" else (kernel.shape[1], kernel.shape[0])


def _kernel_size(kernel: Any, layout: str) -> tuple[int, ...]:
    return tuple(kernel.shape[:-2] if layout == "last" else kernel.shape[2:])


def _spatial(array: Any, layout: str) -> tuple[int, ...]:
    """The spatial size; TensorFlow's graphs may know None of an axis."""
    return tuple(array.shape[1:-1] if layout == "last" else array.shape[2:])


def _channel_axis(layout: str) -> int:
    return -1 if layout == "last" else 1


def _bare(y: Any, channels: str | None, *, kernel: bool = False) -> Any:
    """The result without the batch and channels that a bare grid was given."""
    if channels is not None:
        return y
    return y[..., 0, 0] if kernel else y[0, ..., 0]
