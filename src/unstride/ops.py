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

from collections.abc import Sequence
from types import ModuleType
from typing import Any, Never

from . import backends
from ._dispatch.call_cache import geometry_of, recalled, remember, remember_geometry, tensor_key
from ._dispatch.layout_hints import other_layout
from ._dispatch.validation import (
    arrays_of,
    channel_axis,
    check_activation,
    check_bias,
    check_channels,
    check_out,
    kernel_size_of,
    only_geometry,
    only_native,
    spatial,
)
from ._messages.argument_names import refuse
from ._messages.wording import counted
from .backends import numpy as native
from .geometry import Geometry, GeometryError, Padding, convolution, is_open, per_axis, same_zeros

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
    **misnamed: Never,
) -> Any:
    """The transposed convolution: every cell of `x` lays a copy of the kernel, scaled by it, onto a larger grid.

    Parameters
    ----------
    x : array
        ``channels="last"``: ``(batch, *space, C_small)``; ``"first"``: ``(batch, C_small, *space)``; None: a bare
        grid of 1 to 3 dimensions. An array of NumPy, PyTorch, JAX or TensorFlow, a Keras variable, a symbolic Keras
        tensor (which gives one back: a node of a functional model), or nested lists.
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
        type that the given arrays promote to by their library's rules (numbers and lists take theirs): an image of
        uint8 and a kernel of float32 make float32. Half and bfloat16 are computed in float32. Bare grids of integers
        alone become float64. Differentiable in every framework; in JAX to any order,
        forwards (``jax.jvp``) and backwards, and under ``jax.vmap``.

    Raises
    ------
    GeometryError
        The shapes, or a field, describe no transposed convolution; `out` has another shape, or overlaps an argument.
    TypeError
        No array is of floating-point numbers (with ``channels=None``: none of numbers at all), one is of complex
        numbers or has a mask (``numpy.ma``), or their types have none in common; `out` of another type.

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
    if misnamed:
        refuse(conv_transpose, misnamed)
    fields = geometry, stride, padding, output_padding, dilation, groups, channels, activation
    if out is None and (known := recalled("conv_transpose", x, kernel, bias, fields)) is not None:
        return known
    if out is None and (views := backends.torch_views(channels, x, kernel, bias)) is not None:
        x, kernel, bias = views
        y = conv_transpose(
            x, kernel, bias, geometry, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation,
            groups=groups, channels=channels, activation=activation,
        )  # fmt: skip
        return backends.torch_result(y)
    key = tensor_key("conv_transpose", x, kernel, bias, fields)
    if out is None and (checked := geometry_of(key)) is not None:
        y = backends.torch_conv_transpose(x, kernel, bias, checked, channels)
        return backends.torch_relu(y) if activation else y
    if symbols := backends.symbols(x, kernel, bias):
        arrays = {"x": x, "kernel": kernel, "bias": bias}
        own = {
            "stride": stride,
            "padding": padding,
            "output_padding": output_padding,
            "dilation": dilation,
            "groups": groups,
        }
        return symbols.record("conv_transpose", arrays, geometry, channels, out, activation=activation, **own)
    backend, (x, kernel, bias), layout = arrays_of(channels, x=x, kernel=kernel, bias=bias)
    check_activation(activation)
    size, taps = spatial(x, layout), kernel_size_of(kernel, layout)
    given = None
    if geometry is None:
        geometry = Geometry(taps, stride, padding, output_padding, dilation, groups)
    else:
        only_geometry(geometry, None, stride, padding, output_padding, dilation, groups)
        given = geometry.kernel_size
    check_channels(x, kernel, geometry, layout, small=True, size=given)
    check_bias(bias, kernel, geometry, layout, small=False)
    # Raises here, in our words, rather than somewhere inside a framework.
    length = None if is_open(size) else geometry.output_size(size)
    if backend is native:
        assert length is not None
        call = native.call(True, geometry, length, kernel, x, layout, activation)
        return _natively(call, fields, x, kernel, bias, channels, out)
    only_native(out)
    if length is not None and 0 in length:
        return _bare(_nothing(backend, x, kernel, bias, geometry, layout, length), channels)
    remember_geometry(key, geometry, channels)
    y = _handed_over(backend, backend.conv_transpose, activation, x, kernel, bias, geometry, layout)
    return _bare(y, channels)


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
    **misnamed: Never,
) -> Any:
    """The convolution (no flip: what deep learning calls so), from the big grid to the small one.

    Takes and returns what `conv_transpose` does, with the two sizes and channel counts exchanged: `x` has ``C_big``
    channels, `bias` and the result have ``C_small``. The kernel is the same array. ``padding="same"`` follows the size
    of `x`, as in Keras.

    >>> conv([1, 2, 3, 4], [1, 10], stride=2, channels=None)
    array([21., 43.])
    """
    if misnamed:
        refuse(conv, misnamed)
    fields = geometry, stride, padding, None, dilation, groups, channels, activation
    if out is None and (known := recalled("conv", x, kernel, bias, fields)) is not None:
        return known
    if out is None and (views := backends.torch_views(channels, x, kernel, bias)) is not None:
        x, kernel, bias = views
        y = conv(
            x, kernel, bias, geometry, stride=stride, padding=padding, dilation=dilation,
            groups=groups, channels=channels, activation=activation,
        )  # fmt: skip
        return backends.torch_result(y)
    key = tensor_key("conv", x, kernel, bias, fields)
    if out is None and (checked := geometry_of(key)) is not None:
        y = backends.torch_conv(x, kernel, bias, checked, channels)
        return backends.torch_relu(y) if activation else y
    if symbols := backends.symbols(x, kernel, bias):
        arrays = {"x": x, "kernel": kernel, "bias": bias}
        own = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "activation": activation}
        return symbols.record("conv", arrays, geometry, channels, out, **own)
    backend, (x, kernel, bias), layout = arrays_of(channels, x=x, kernel=kernel, bias=bias)
    check_activation(activation)
    size, taps = spatial(x, layout), kernel_size_of(kernel, layout)
    given = None
    if geometry is None and _may_be_open(backend, size):
        x, geometry = _open_convolution(backend, x, layout, taps, stride, padding, dilation, groups)
    elif geometry is None:
        geometry = convolution(size, taps, stride, padding, dilation, groups)
    else:
        only_geometry(geometry, None, stride, padding, None, dilation, groups)
        given = geometry.kernel_size
    check_channels(x, kernel, geometry, layout, small=False, size=given)
    check_bias(bias, kernel, geometry, layout, small=True)
    length = None if is_open(size) else geometry.conv_size(size)
    if backend is native:
        assert length is not None
        call = native.call(False, geometry, length, kernel, x, layout, activation)
        return _natively(call, fields, x, kernel, bias, channels, out)
    only_native(out)
    remember_geometry(key, geometry, channels)
    y = _handed_over(backend, backend.conv, activation, x, kernel, bias, geometry, layout)
    return _bare(y, channels)


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
    **misnamed: Never,
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
    if misnamed:
        refuse(kernel_gradient, misnamed)
    fields = geometry, kernel_size, stride, padding, dilation, groups, channels
    if out is None and (known := recalled("kernel_gradient", big, small, None, fields)) is not None:
        return known
    if out is None and (views := backends.torch_views(channels, big, small)) is not None:
        big, small = views
        made = kernel_gradient(
            big, small, geometry, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation,
            groups=groups, channels=channels,
        )  # fmt: skip
        return backends.torch_result(made)
    if symbols := backends.symbols(big, small):
        own = {"kernel_size": kernel_size, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        return symbols.record("kernel_gradient", {"big": big, "small": small}, geometry, channels, out, **own)
    backend, (big, small), layout = arrays_of(channels, big=big, small=small)
    bigs, smalls = spatial(big, layout), spatial(small, layout)
    if not is_open((big.shape[0], small.shape[0])) and big.shape[0] != small.shape[0]:
        raise GeometryError(f"big has a batch of {big.shape[0]} and small one of {small.shape[0]}; expected the same")
    if geometry is None:
        if kernel_size is None:
            raise GeometryError("kernel_size is missing; give it, or a geometry: the arrays' shapes do not tell it")
        taps = per_axis("kernel_size", kernel_size, len(bigs), 1)
        if _may_be_open(backend, bigs):
            big, geometry = _open_convolution(backend, big, layout, taps, stride, padding, dilation, groups)
        else:
            geometry = convolution(bigs, taps, stride, padding, dilation, groups)
    else:
        asked = None if kernel_size is None else per_axis("kernel_size", kernel_size, len(bigs), 1)
        only_geometry(geometry, asked, stride, padding, None, dilation, groups)
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
            hint = "" if channels is None else other_layout(big, small, geometry, layout)
            raise GeometryError(f"{error}{hint}") from None
    if backend is not native:
        only_native(out)
        return _bare(backend.kernel_gradient(big, small, geometry, layout), channels, kernel=True)
    call = native.gradient_call(geometry, big, small, layout)
    if out is None:
        derivative = native.computed_gradient(call, big, small)
        remember("kernel_gradient", call, fields, big, small, None, channels)
        return _bare(derivative, channels, kernel=True)
    check_out(out, call.shape if channels is not None else call.shape[:-2], big.dtype, big, small)
    native.computed_gradient(call, big, small, out if channels is not None else out[..., None, None])
    return out


def _open_convolution(
    backend: ModuleType,
    x: Any,
    layout: str,
    taps: tuple[int, ...],
    stride: Ints,
    padding: Padding,
    dilation: Ints,
    groups: int,
) -> tuple[Any, Geometry]:
    """The input and the geometry of a convolution whose sizes are no numbers yet. Zeros that depend on one are added to
    the input."""
    geometry = Geometry(taps, stride, padding, None, dilation, groups)
    if not isinstance(padding, str):
        return x, geometry
    if padding.lower() == "valid":
        return x, geometry.with_crops([(0, 0)] * geometry.rank)
    axes = zip(backend.sizes(x, layout), taps, geometry.stride, geometry.dilation, strict=True)
    zeros = [same_zeros(*axis) for axis in axes]
    if max(geometry.stride) == 1:
        return x, geometry.with_crops(zeros)
    return backend.padded(x, zeros, layout), geometry.with_crops([(0, 0)] * geometry.rank)


def _may_be_open(backend: ModuleType, size: Sequence[Any]) -> bool:
    """Whether sizes are no numbers yet, or look like numbers while PyTorch exports a program for any."""
    return is_open(size) or (backend is not native and getattr(backend, "exporting", bool)())


def _natively(call: native.Call, fields: Any, x: Any, kernel: Any, bias: Any, channels: str | None, out: Any) -> Any:
    if out is None:
        y = native.computed(call, x, kernel, bias)
        remember("conv_transpose" if call.transposed else "conv", call, fields, x, kernel, bias, channels)
        return _bare(y, channels)
    shape = call.shape if channels is not None else call.shape[1:-1]
    check_out(out, shape, x.dtype, x, kernel, bias)
    native.computed(call, x, kernel, bias, out if channels is not None else out[None, ..., None])
    return out


def _handed_over(backend: ModuleType, rule: Any, activation: str | None, *arguments: Any) -> Any:
    if activation and getattr(backend, "FUSES_RELU", False):
        return rule(*arguments, relu=True)
    y = rule(*arguments)
    return backend.relu(y) if activation else y


def _nothing(
    backend: ModuleType, x: Any, kernel: Any, bias: Any, geometry: Geometry, layout: str, length: tuple[int, ...]
) -> Any:
    """A result without cells: no framework computes one, so one with a cell more, which is then cut off."""
    crops = [(b, e - (n == 0)) for n, (b, e) in zip(length, geometry.crops, strict=True)]
    y = backend.conv_transpose(x, kernel, bias, geometry.with_crops(crops), layout)
    cut = tuple(slice(n) for n in length)
    return y[(slice(None), *cut) if layout == "last" else (slice(None), slice(None), *cut)]


def _bare(y: Any, channels: str | None, *, kernel: bool = False) -> Any:
    """The result without the batch and channels that a bare grid was given."""
    if channels is not None:
        return y
    return y[..., 0, 0] if kernel else y[0, ..., 0]
