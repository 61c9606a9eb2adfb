"""The three maps as primitives of JAX: on the CPU the native kernels, called by XLA; elsewhere XLA's own convolution.

Each map is linear in both of its arrays, and its transpose with respect to one of them is another of the three maps.
With the transposes, the forward-mode derivatives and the rules for `jax.vmap` (`batching`), JAX can differentiate the
maps any number of times, in either direction. The operands have one type, float32 or float64. `conv` and
`conv_transpose` may have a bias as a third operand, and may fuse ReLU (`relu`). If a spatial size is a symbol, as in
programs that are exported for any size, XLA's own convolution replaces the primitives.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive

from ..._core import core, why_missing
from ...geometry import Geometry, is_open
from .. import limits
from . import xla

Array = Any
# JAX has no types, or not all types, for these modules.
ad: Any = importlib.import_module("jax.interpreters.ad")
mlir: Any = importlib.import_module("jax.interpreters.mlir")
ffi: Any = importlib.import_module("jax.ffi" if jax.__version_info__ >= (0, 5) else "jax.extend.ffi")
_config: Any = jax.config

conv_p: Any = Primitive("unstride_conv")
conv_transpose_p: Any = Primitive("unstride_conv_transpose")
kernel_gradient_p: Any = Primitive("unstride_kernel_gradient")


def conv(
    x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str, *, relu: bool = False
) -> Array:
    return _bind(conv_p, x, kernel, bias, geometry, channels, relu)


def conv_transpose(
    x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str, *, relu: bool = False
) -> Array:
    return _bind(conv_transpose_p, x, kernel, bias, geometry, channels, relu)


def kernel_gradient(big: Array, small: Array, geometry: Geometry, channels: str) -> Array:
    if is_open((*space(big.shape, channels), *space(small.shape, channels))):
        return _gradient_by_xla(True, big, small, geometry=geometry, channels=channels)
    return kernel_gradient_p.bind(big, small, geometry=geometry, channels=channels)


def _bind(
    primitive: Any, x: Array, kernel: Array, bias: Array | None, geometry: Geometry, channels: str, relu: bool
) -> Array:
    operands = (x, kernel) if bias is None else (x, kernel, bias)
    if is_open(space(x.shape, channels)):
        return _map_by_xla(
            primitive is conv_transpose_p, True, *operands, geometry=geometry, channels=channels, relu=relu
        )
    return primitive.bind(*operands, geometry=geometry, channels=channels, relu=relu)


# Shapes.


def space(shape: Sequence[int], channels: str) -> tuple[int, ...]:
    return tuple(shape[1:-1] if channels == "last" else shape[2:])


def grid_axis(dimensions: int, channels: str) -> int:
    """The axis of a grid's channels."""
    return dimensions - 1 if channels == "last" else 1


def kernel_axes(dimensions: int, channels: str) -> tuple[int, int]:
    """The axes of a kernel's big channels (of one group) and of its small channels (of all groups)."""
    return (dimensions - 2, dimensions - 1) if channels == "last" else (1, 0)


def _map_shape(transposed: bool, x: Any, kernel: Any, *_: Any, geometry: Geometry, channels: str, relu: bool) -> Any:
    del relu
    big, small = kernel_axes(kernel.ndim, channels)
    c_out = kernel.shape[big] * geometry.groups if transposed else kernel.shape[small]
    size = (geometry.output_size if transposed else geometry.conv_size)(space(x.shape, channels))
    shape = (x.shape[0], *size, c_out) if channels == "last" else (x.shape[0], c_out, *size)
    return ShapedArray(shape, x.dtype)


def _gradient_shape(big: Any, small: Any, *, geometry: Geometry, channels: str) -> Any:
    c_big, c_small = (array.shape[grid_axis(array.ndim, channels)] for array in (big, small))
    c_big //= geometry.groups
    last = channels == "last"
    shape = (*geometry.kernel_size, c_big, c_small) if last else (c_small, c_big, *geometry.kernel_size)
    return ShapedArray(shape, big.dtype)


conv_p.def_abstract_eval(partial(_map_shape, False))
conv_transpose_p.def_abstract_eval(partial(_map_shape, True))
kernel_gradient_p.def_abstract_eval(_gradient_shape)


# Outside of jit: a program with one operation.


@functools.lru_cache(maxsize=1024)
def _program(primitive: Any, **fields: Any) -> Any:
    return jax.jit(partial(primitive.bind, **fields))


def run_alone(primitive: Any, *operands: Array, **fields: Any) -> Any:
    """The implementation of any of our primitives outside of jit."""
    if _config.jax_disable_jit:
        with jax.disable_jit(False):
            return _program(primitive, **fields)(*operands)
    return _program(primitive, **fields)(*operands)


for _primitive in (conv_p, conv_transpose_p, kernel_gradient_p):
    _primitive.def_impl(partial(run_alone, _primitive))


# Derivatives.


def _map_jvp(primitive: Any, primals: Any, tangents: Any, *, relu: bool, **fields: Any) -> tuple[Array, Any]:
    y = primitive.bind(*primals, relu=relu, **fields)
    x, kernel, *_ = primals
    dx, dkernel, *dbias = tangents
    parts = []
    if type(dx) is not ad.Zero:
        parts.append(primitive.bind(dx, kernel, relu=False, **fields))
    if type(dkernel) is not ad.Zero:
        parts.append(primitive.bind(x, dkernel, relu=False, **fields))
    if dbias and type(dbias[0]) is not ad.Zero:
        parts.append(lax.broadcast_in_dim(dbias[0], y.shape, (grid_axis(y.ndim, fields["channels"]),)))
    if not parts:
        return y, jnp.zeros_like(y)
    dy = functools.reduce(ad.add_jaxvals, parts)
    return y, lax.select(y > 0, dy, jnp.zeros_like(dy)) if relu else dy  # as in jax.nn.relu


def _map_transpose(
    transposed: bool, cotangent: Any, *operands: Any, geometry: Geometry, channels: str, relu: bool
) -> list[Any]:
    if type(cotangent) is ad.Zero:
        return [ad.Zero(one.aval) if ad.is_undefined_primal(one) else None for one in operands]
    if relu:
        raise NotImplementedError("relu is not linear, and has no transpose; differentiate with jax.vjp or jax.grad")
    x, kernel, *bias = operands
    cotangents: list[Any] = [None] * len(operands)
    if bias and ad.is_undefined_primal(bias[0]):
        kept = grid_axis(cotangent.ndim, channels)
        cotangents[2] = jnp.sum(cotangent, tuple(axis for axis in range(cotangent.ndim) if axis != kept))
    if ad.is_undefined_primal(x):
        if transposed:
            cotangents[0] = conv(cotangent, kernel, None, geometry, channels)
        else:
            fitted = _fitted(geometry, cotangent, x.aval, channels)
            cotangents[0] = conv_transpose(cotangent, kernel, None, fitted, channels)
    if ad.is_undefined_primal(kernel):
        if transposed:
            cotangents[1] = kernel_gradient(cotangent, x, geometry, channels)
        else:
            cotangents[1] = kernel_gradient(x, cotangent, _fitted(geometry, cotangent, x, channels), channels)
    return cotangents


def _fitted(geometry: Geometry, small: Any, big: Any, channels: str) -> Geometry:
    """The geometry that includes the cells at the end of the big grid that a convolution leaves unread."""
    return geometry.fitted(space(small.shape, channels), space(big.shape, channels))


def _gradient_jvp(primals: Any, tangents: Any, **fields: Any) -> tuple[Array, Any]:
    (big, small), (dbig, dsmall) = primals, tangents
    y = kernel_gradient_p.bind(big, small, **fields)
    parts = []
    if type(dbig) is not ad.Zero:
        parts.append(kernel_gradient_p.bind(dbig, small, **fields))
    if type(dsmall) is not ad.Zero:
        parts.append(kernel_gradient_p.bind(big, dsmall, **fields))
    return y, functools.reduce(ad.add_jaxvals, parts) if parts else ad.Zero.from_primal_value(y)


def _gradient_transpose(cotangent: Any, big: Any, small: Any, *, geometry: Geometry, channels: str) -> tuple[Any, Any]:
    if ad.is_undefined_primal(big):
        if type(cotangent) is ad.Zero:
            return ad.Zero(big.aval), None
        return conv_transpose(small, cotangent, None, geometry, channels), None
    if type(cotangent) is ad.Zero:
        return None, ad.Zero(small.aval)
    return None, conv(big, cotangent, None, geometry, channels)


ad.primitive_jvps[conv_p] = partial(_map_jvp, conv_p)
ad.primitive_jvps[conv_transpose_p] = partial(_map_jvp, conv_transpose_p)
ad.primitive_jvps[kernel_gradient_p] = _gradient_jvp
ad.primitive_transposes[conv_p] = partial(_map_transpose, False)
ad.primitive_transposes[conv_transpose_p] = partial(_map_transpose, True)
ad.primitive_transposes[kernel_gradient_p] = _gradient_transpose


# The lowering to programs.


def _register() -> bool:
    if why_missing is not None:
        return False
    try:
        for name, target in core.xla_targets().items():
            ffi.register_ffi_target(name, target, platform="cpu")
    except Exception as error:  # a jaxlib with another foreign-function interface
        warnings.warn(
            f"this jaxlib does not take unstride's kernels ({type(error).__name__}: {error}); XLA's own convolution "
            "gives the same numbers, more slowly",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


REGISTERED = _register()


def calls_ours(context: Any) -> bool:
    """Whether a program may call the native core."""
    module = context.module_context
    if not REGISTERED or getattr(module.lowering_parameters, "for_export", False):
        return False  # an exported program should run without unstride
    # XLA knows how to split its own operations among devices.
    return getattr(module.axis_context, "num_devices", None) in (None, 1)


def _goes_native(context: Any, geometry: Geometry, transposed: bool) -> bool:
    if not calls_ours(context):
        return False
    arrays = (*context.avals_in, *context.avals_out)
    if any(0 in array.shape for array in arrays):
        return False
    if transposed and max(geometry.stride) > core.max_phases:
        return False
    fields = (*geometry.stride, *geometry.dilation, *(abs(b) for b, _ in geometry.crops))
    return max(fields) <= limits.MOST


def _lower_on_cpu(primitive: Any, by_xla: Any, context: Any, *operands: Any, **fields: Any) -> Any:
    geometry, channels = fields["geometry"], fields["channels"]
    if not _goes_native(context, geometry, primitive is conv_transpose_p):
        return mlir.lower_fun(by_xla, multiple_results=False)(context, *operands, **fields)
    first = np.int64(channels == "first")
    attributes = {
        "stride": np.array(geometry.stride, np.int64),
        "dilation": np.array(geometry.dilation, np.int64),
        "begin": np.array([begin for begin, _ in geometry.crops], np.int64),
        "groups": np.int64(geometry.groups),
        "first": first,
        "kernel_first": first,
    }
    if "relu" in fields:
        attributes["relu"] = np.int64(fields["relu"])
    return ffi.ffi_lowering(primitive.name)(context, *operands, **attributes)


def _map_by_xla(
    transposed: bool, cpu: bool, x: Array, kernel: Array, *bias: Array, geometry: Geometry, channels: str, relu: bool
) -> Array:
    if channels == "first":
        x, kernel = jnp.moveaxis(x, 1, -1), jnp.moveaxis(kernel, (0, 1), (-1, -2))
    y = (xla.conv_transpose if transposed else xla.conv)(x, kernel, geometry, cpu)
    if bias:
        y = y + bias[0]
    if relu:
        y = jnp.maximum(y, 0)
    return jnp.moveaxis(y, -1, 1) if channels == "first" else y


def _gradient_by_xla(cpu: bool, big: Array, small: Array, *, geometry: Geometry, channels: str) -> Array:
    if channels == "first":
        big, small = jnp.moveaxis(big, 1, -1), jnp.moveaxis(small, 1, -1)
    gradient = xla.kernel_gradient(big, small, geometry, cpu)
    return jnp.moveaxis(gradient, (-1, -2), (0, 1)) if channels == "first" else gradient


for _primitive, _by_xla in (
    (conv_p, partial(_map_by_xla, False)),
    (conv_transpose_p, partial(_map_by_xla, True)),
    (kernel_gradient_p, _gradient_by_xla),
):
    mlir.register_lowering(_primitive, mlir.lower_fun(partial(_by_xla, False), multiple_results=False))
    mlir.register_lowering(_primitive, partial(_lower_on_cpu, _primitive, partial(_by_xla, True)), platform="cpu")
