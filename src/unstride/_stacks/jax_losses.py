"""A stack and the binary cross-entropy of its result as one primitive of JAX: on the CPU one native call.

Forwards, loss and backwards go group of images by group of images, so that nothing of a batch is kept but the result,
the losses and the gradients' sum. That asks for one thing more than a derivative in general does: all losses have to
count the same in what is differentiated, as in their mean or sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.core import ShapedArray
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive

from ..backends.jax import losses
from ..backends.jax.native import calls_ours, ffi, mlir, run_alone
from ..stack import Stack
from .choice import computable
from .jax import applied, one_by_one

Array = Any

# x, target, weights... to the result, the loss of each of its numbers, and the gradients of the losses' sum.
crossentropy_p: Any = Primitive("unstride_stack_crossentropy")
crossentropy_p.multiple_results = True


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def binary_crossentropy(
    stack: Stack, epsilon: float, x: Array, target: Array, weights: Sequence[Array]
) -> tuple[Array, Array]:
    """The result of a stack, and the binary cross-entropy with a target of each of its numbers.

    Only the losses can be differentiated, by the weights, in reverse, and where all of them count the same.
    """
    y = applied(stack, x, weights)
    return y, losses.binary_crossentropy(target, y, epsilon)


def _forward(stack: Stack, epsilon: float, x: Any, target: Any, weights: Sequence[Any]) -> Any:
    if x.perturbed or target.perturbed:
        raise TypeError("a stack's loss is differentiated by x or target; expected by its weights alone")
    values = [one.value for one in weights]
    y, loss, *gradients = crossentropy_p.bind(x.value, target.value, *values, stack=stack, epsilon=epsilon)
    return (y, loss), gradients


def _backward(stack: Stack, epsilon: float, gradients: list[Array], slopes: Any) -> Any:
    del stack, epsilon
    of_result, of_losses = slopes
    if not isinstance(of_result, SymbolicZero):
        raise TypeError("the result of a stack's loss is differentiated; expected the losses alone")
    if isinstance(of_losses, SymbolicZero):
        return None, None, None
    slope = of_losses.reshape(-1)[:1].sum()  # of no images 0
    return None, None, [gradient * slope for gradient in gradients]


binary_crossentropy.defvjp(_forward, _backward, symbolic_zeros=True)


def _by_stages(x: Array, target: Array, *weights: Array, stack: Stack, epsilon: float) -> tuple[Array, ...]:
    def total(weights: Sequence[Array]) -> Any:
        y = one_by_one(stack, x, *weights)
        loss = losses.by_operations(target, y, epsilon=epsilon, sloped=False)[0]
        return loss.sum(), (y, loss)

    gradients, (y, loss) = jax.grad(total, has_aux=True)(weights)
    return y, loss, *gradients


def _shapes(x: Any, target: Any, *weights: Any, stack: Stack, epsilon: float) -> list[Any]:
    del x, stack, epsilon
    return [ShapedArray(one.shape, np.dtype(np.float32)) for one in (target, target, *weights)]


def _lowered(context: Any, *operands: Any, stack: Stack, epsilon: float) -> Any:
    if not (calls_ours(context) and context.avals_in[0].shape[0] > 0 and computable(stack)):
        return _composed(context, *operands, stack=stack, epsilon=epsilon)
    native = ffi.ffi_lowering(crossentropy_p.name)
    return native(context, *operands, code=np.array(stack.code, np.int64), epsilon=np.float32(epsilon))


_composed: Any = mlir.lower_fun(_by_stages, multiple_results=True)
crossentropy_p.def_abstract_eval(_shapes)
crossentropy_p.def_impl(partial(run_alone, crossentropy_p))
mlir.register_lowering(crossentropy_p, _composed)
mlir.register_lowering(crossentropy_p, _lowered, platform="cpu")
