"""Elementwise losses as primitives of JAX: on the CPU by the native core, with the derivative from the same pass.

XLA computes one logarithm at a time, and in the loops of a training step on one thread. The reading's loss took an
eighth of a step that way. On other devices, and for derivatives of the derivative, JAX's operations compute the same
formula.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive

from .native import ad, calls_ours, ffi, mlir, run_alone

Array = Any
batching: Any = importlib.import_module("jax.interpreters.batching")  # JAX does not have all of its types
LEAST_EPSILON = 2.0**-24  # with a smaller epsilon, 1 - epsilon is 1 in float32

crossentropy_p: Any = Primitive("unstride_binary_crossentropy")  # target, prediction to the loss and its derivative
crossentropy_p.multiple_results = True


def binary_crossentropy(target: Array, predicted: Array, epsilon: float) -> Array:
    """−(t log p + (1 − t) log(1 − p)) for every target t and prediction p, clipped to between epsilon and 1 − epsilon.

    Both arrays are float32 and have the same shape. `epsilon` is from 2⁻²⁴ to ½.
    """
    if target.dtype != np.float32 or predicted.dtype != np.float32 or target.shape != predicted.shape:
        raise ValueError(
            f"target and predicted must be float32 of one shape; they are {target.dtype} of {target.shape} "
            f"and {predicted.dtype} of {predicted.shape}"
        )
    if not LEAST_EPSILON <= epsilon <= 0.5:
        raise ValueError(f"epsilon must be from 2**-24 to 0.5, not {epsilon}")
    return crossentropy_p.bind(target, predicted, epsilon=float(epsilon), with_derivative=False)[0]


def by_operations(target: Array, predicted: Array, *, epsilon: float, with_derivative: bool) -> tuple[Array, Array]:
    low, high = np.float32(epsilon), np.float32(1) - np.float32(epsilon)
    inside = jnp.clip(predicted, low, high)
    loss = -(target * jnp.log(inside) + (1 - target) * jnp.log(1 - inside))
    if not with_derivative:
        return loss, jnp.zeros((0,), jnp.float32)
    cut = (predicted < low) | (predicted > high)
    return loss, jnp.where(cut, 0, (inside - target) / (inside * (1 - inside)))


def _shapes(target: Any, predicted: Any, *, epsilon: float, with_derivative: bool) -> list[Any]:
    del predicted, epsilon
    dtype = np.dtype(np.float32)
    return [ShapedArray(target.shape, dtype), ShapedArray(target.shape if with_derivative else (0,), dtype)]


def _jvp(primals: Any, tangents: Any, *, epsilon: float, with_derivative: bool) -> Any:
    if with_derivative:  # a derivative of the derivative
        given = tuple(map(ad.instantiate_zeros, tangents))
        return jax.jvp(partial(by_operations, epsilon=epsilon, with_derivative=True), tuple(primals), given)
    predicted = primals[1]
    loss, derivative = crossentropy_p.bind(*primals, epsilon=epsilon, with_derivative=True)
    nothing = jnp.zeros((0,), jnp.float32)
    parts = []
    if type(tangents[0]) is not ad.Zero:
        inside = jnp.clip(predicted, np.float32(epsilon), np.float32(1) - np.float32(epsilon))
        parts.append(tangents[0] * (jnp.log(1 - inside) - jnp.log(inside)))
    if type(tangents[1]) is not ad.Zero:
        parts.append(tangents[1] * derivative)
    along = sum(parts[1:], parts[0]) if parts else ad.Zero(ShapedArray(loss.shape, loss.dtype))
    return [loss, nothing], [along, ad.Zero(ShapedArray((0,), loss.dtype))]


def _batched(operands: Any, axes: Any, *, epsilon: float, with_derivative: bool) -> Any:
    size = next(one.shape[axis] for one, axis in zip(operands, axes, strict=True) if axis is not None)
    same = [batching.bdim_at_front(one, axis, size) for one, axis in zip(operands, axes, strict=True)]
    loss, derivative = crossentropy_p.bind(*same, epsilon=epsilon, with_derivative=with_derivative)
    return [loss, derivative], [0, 0 if with_derivative else None]


def _lowered(context: Any, *operands: Any, epsilon: float, with_derivative: bool) -> Any:
    if not calls_ours(context):
        return _composed(context, *operands, epsilon=epsilon, with_derivative=with_derivative)
    return ffi.ffi_lowering("unstride_binary_crossentropy")(context, *operands, epsilon=np.float32(epsilon))


_composed: Any = mlir.lower_fun(by_operations, multiple_results=True)
crossentropy_p.def_abstract_eval(_shapes)
crossentropy_p.def_impl(partial(run_alone, crossentropy_p))
ad.primitive_jvps[crossentropy_p] = _jvp
batching.primitive_batchers[crossentropy_p] = _batched
mlir.register_lowering(crossentropy_p, _composed)
mlir.register_lowering(crossentropy_p, _lowered, platform="cpu")
