"""Stacks as primitives of JAX: on the CPU by the native core, called by XLA; elsewhere by their stages one by one.

The reverse-mode derivative of a stack is another primitive, which gets the values that the forward pass kept, or
computes them again. JAX reaches it like this: the forward-mode derivative is a primitive that is linear in the
tangents, and the transpose of that primitive is the reverse-mode derivative. All other cases (forward mode, derivatives
of derivatives, `jax.vmap` over weights, other devices) are computed stage by stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import batching

from ..backends.jax.native import ad, calls_ours, ffi, mlir, run_alone
from ..stack import Stack
from .choice import composed, computable, keeps

Array = Any

stack_p: Any = Primitive("unstride_stack")  # x, weights... to the result and the kept values
tangent_p: Any = Primitive("unstride_stack_tangent")  # x, kept, weights..., tangents... to the result's tangent
# x, kept, cotangent, weights... to the gradients of x and of the weights
backward_p: Any = Primitive("unstride_stack_backward")
for _primitive in (stack_p, backward_p):
    _primitive.multiple_results = True


def applied(stack: Stack, x: Array, weights: Sequence[Array]) -> Array:
    """The result of a stack for float32 arrays of its shapes."""
    y: Array = stack_p.bind(x, *weights, stack=stack, keep=False)[0]
    return y


def one_by_one(stack: Stack, x: Array, *weights: Array) -> Array:
    return composed(stack, x, weights, activate)


def activate(name: str, slope: float, array: Array) -> Array:
    if name == "leaky_relu":
        return jax.nn.leaky_relu(array, slope)
    if name == "elu":
        return jax.nn.elu(array, slope)
    activation: Callable[[Array], Array] = getattr(jax.nn, name)
    return activation(array)


# The three primitives by the stages, for all cases without the native core. None of them reads the kept values.


def _stack_by_stages(x: Array, *weights: Array, stack: Stack, keep: bool) -> tuple[Array, Array]:
    return one_by_one(stack, x, *weights), jnp.zeros(_kept(stack, x.shape[0], keep), jnp.float32)


def _tangent_by_stages(x: Array, kept: Array, *rest: Array, stack: Stack, wanted: tuple[bool, ...]) -> Array:
    del kept
    weights, given = rest[: len(wanted) - 1], iter(rest[len(wanted) - 1 :])
    primals = (x, *weights)
    tangents = [next(given) if want else jnp.zeros_like(one) for one, want in zip(primals, wanted, strict=True)]
    return jax.jvp(partial(one_by_one, stack), primals, tuple(tangents))[1]


def _backward_by_stages(
    x: Array, kept: Array, grad_output: Array, *weights: Array, stack: Stack, input_gradient: bool
) -> tuple[Array, ...]:
    del kept
    gx, *gradients = jax.vjp(partial(one_by_one, stack), x, *weights)[1](grad_output)
    return gx if input_gradient else jnp.zeros((0,), x.dtype), *gradients


# Shapes.


def _kept(stack: Stack, batch: int, keep: bool) -> tuple[int]:
    return (stack.saved(batch) if keep else 0,)


def _stack_shape(x: Any, *weights: Any, stack: Stack, keep: bool) -> list[Any]:
    del weights
    shapes = stack.output_shape(x.shape[0]), _kept(stack, x.shape[0], keep)
    return [ShapedArray(shape, np.dtype(np.float32)) for shape in shapes]


def _tangent_shape(x: Any, *rest: Any, stack: Stack, wanted: tuple[bool, ...]) -> Any:
    del rest, wanted
    return ShapedArray(stack.output_shape(x.shape[0]), np.dtype(np.float32))


def _backward_shape(
    x: Any, kept: Any, grad_output: Any, *weights: Any, stack: Stack, input_gradient: bool
) -> list[Any]:
    del kept, grad_output, stack
    shapes = [x.shape if input_gradient else (0,), *(one.shape for one in weights)]
    return [ShapedArray(shape, np.dtype(np.float32)) for shape in shapes]


stack_p.def_abstract_eval(_stack_shape)
tangent_p.def_abstract_eval(_tangent_shape)
backward_p.def_abstract_eval(_backward_shape)


for _primitive in (stack_p, tangent_p, backward_p):
    _primitive.def_impl(partial(run_alone, _primitive))


# Derivatives.


def _stack_jvp(primals: Any, tangents: Any, *, stack: Stack, keep: bool) -> tuple[list[Array], list[Any]]:
    x, *weights = primals
    y, kept = stack_p.bind(*primals, stack=stack, keep=keep or keeps(x.shape[0]))
    wanted = tuple(type(tangent) is not ad.Zero for tangent in tangents)
    kept_result = kept if keep else jnp.zeros((0,), jnp.float32)
    given = [tangent for tangent, want in zip(tangents, wanted, strict=True) if want]
    dy = tangent_p.bind(x, kept, *weights, *given, stack=stack, wanted=wanted) if given else _zero(y)
    # The kept values are a function of x and the weights. The derivatives below use only x and the weights.
    return [y, kept_result], [dy, _zero(kept_result)]


def _zero(array: Array) -> Any:
    return ad.Zero(ShapedArray(array.shape, array.dtype))


def _tangent_transpose(cotangent: Any, x: Any, kept: Any, *rest: Any, stack: Stack, wanted: tuple[bool, ...]) -> Any:
    weights, given = rest[: len(wanted) - 1], rest[len(wanted) - 1 :]
    if type(cotangent) is ad.Zero:
        gradients = [ad.Zero(one.aval) for one in given]
    else:
        all_of_them = backward_p.bind(x, kept, cotangent, *weights, stack=stack, input_gradient=wanted[0])
        gradients = [one for one, want in zip(all_of_them, wanted, strict=True) if want]
    return [None] * (2 + len(weights)) + gradients


def _jvp_by_stages(by_stages: Any, kept_at: int, primals: Any, tangents: Any, **fields: Any) -> tuple[Any, Any]:
    """The forward-mode derivative of the two derivatives, by the stages: the native core has no second derivatives."""
    kept = primals[kept_at]
    rest = [
        (p, ad.instantiate_zeros(t)) for i, (p, t) in enumerate(zip(primals, tangents, strict=True)) if i != kept_at
    ]

    def function(*operands: Array) -> Any:
        return by_stages(*operands[:kept_at], kept, *operands[kept_at:], **fields)

    moved, along = zip(*rest, strict=True)
    return jax.jvp(function, moved, along)


ad.primitive_jvps[stack_p] = _stack_jvp
ad.primitive_jvps[tangent_p] = partial(_jvp_by_stages, _tangent_by_stages, 1)
ad.primitive_jvps[backward_p] = partial(_jvp_by_stages, _backward_by_stages, 1)
ad.primitive_transposes[tangent_p] = _tangent_transpose


# Under vmap.


def _stack_batched(operands: Any, axes: Any, *, stack: Stack, keep: bool) -> tuple[list[Array], list[Any]]:
    del keep  # nothing is kept: the derivative computes it again
    x, *weights = operands
    nothing = jnp.zeros((0,), jnp.float32)
    if all(axis is None for axis in axes[1:]):  # many batches are one larger batch
        x = jnp.moveaxis(x, axes[0], 0)
        count, images = x.shape[:2]
        y = applied(stack, x.reshape(count * images, *x.shape[2:]), weights)
        return [y.reshape(count, images, *y.shape[1:]), nothing], [0, None]
    return [jax.vmap(partial(one_by_one, stack), tuple(axes))(*operands), nothing], [0, None]


def _derivative_batched(by_stages: Any, operands: Any, axes: Any, **fields: Any) -> tuple[Any, Any]:
    results = jax.vmap(partial(by_stages, **fields), tuple(axes))(*operands)
    return results, jax.tree.map(lambda _: 0, results)


batching.primitive_batchers[stack_p] = _stack_batched
batching.primitive_batchers[tangent_p] = partial(_derivative_batched, _tangent_by_stages)
batching.primitive_batchers[backward_p] = partial(_derivative_batched, _backward_by_stages)


# The lowering to programs.


def _by_ffi(primitive: Any, context: Any, *operands: Any, stack: Stack, **fields: Any) -> Any:
    del fields  # they follow from the sizes of the kept values and of x's gradient
    name = "unstride_stack_forward" if primitive is stack_p else "unstride_stack_backward"
    return ffi.ffi_lowering(name)(context, *operands, code=np.array(stack.code, np.int64))


def _lower_on_cpu(primitive: Any, by_stages: Any, context: Any, *operands: Any, stack: Stack, **fields: Any) -> Any:
    if not (calls_ours(context) and context.avals_in[0].shape[0] > 0 and computable(stack)):
        return mlir.lower_fun(by_stages, multiple_results=True)(context, *operands, stack=stack, **fields)
    return _by_ffi(primitive, context, *operands, stack=stack, **fields)


mlir.register_lowering(tangent_p, mlir.lower_fun(_tangent_by_stages, multiple_results=False))
for _primitive, _by_stages in ((stack_p, _stack_by_stages), (backward_p, _backward_by_stages)):
    mlir.register_lowering(_primitive, mlir.lower_fun(_by_stages, multiple_results=True))
    mlir.register_lowering(_primitive, partial(_lower_on_cpu, _primitive, _by_stages), platform="cpu")
