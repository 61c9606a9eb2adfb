"""A stack and the binary cross-entropy of its result as one primitive of JAX: on the CPU one native call.

Forwards, loss and backwards are computed for one group of images after another, so only the result, the losses and the
sum of the gradients of a batch are kept. This has one more condition than a derivative in general: all losses must have
the same weight in the differentiated function, as in their mean or sum.
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

# x, target, weights... to the result, the loss of each of its elements, and the gradients of the sum of the losses.
crossentropy_p: Any = Primitive("unstride_stack_crossentropy")
crossentropy_p.multiple_results = True


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def binary_crossentropy(
    stack: Stack, epsilon: float, x: Array, target: Array, weights: Sequence[Array]
) -> tuple[Array, Array]:
    """The result of a stack, and the binary cross-entropy of each of its elements with a target.

    Only the losses can be differentiated, with respect to the weights, in reverse mode, and with equal weights.
    """
    y = applied(stack, x, weights)
    return y, losses.binary_crossentropy(target, y, epsilon)


def _forward(stack: Stack, epsilon: float, x: Any, target: Any, weights: Sequence[Any]) -> Any:
    if x.perturbed or target.perturbed:
        raise TypeError("a stack's loss is differentiated by x or target; expected by its weights alone")
    values = [one.value for one in weights]
    y, loss, *gradients = crossentropy_p.bind(x.value, target.value, *values, stack=stack, epsilon=epsilon)
    return (y, loss), gradients


def _backward(stack: Stack, epsilon: float, gradients: list[Array], cotangents: Any) -> Any:
    del stack, epsilon
    of_result, of_losses = cotangents
    if not isinstance(of_result, SymbolicZero):
        raise TypeError("the result of a stack's loss is differentiated; expected the losses alone")
    if isinstance(of_losses, SymbolicZero):
        return None, None, None
    scale = of_losses.reshape(-1)[:1].sum()  # 0 if there are no images
    return None, None, [gradient * scale for gradient in gradients]


binary_crossentropy.defvjp(_forward, _backward, symbolic_zeros=True)


def _by_stages(x: Array, target: Array, *weights: Array, stack: Stack, epsilon: float) -> tuple[Array, ...]:
    def total(weights: Sequence[Array]) -> Any:
        y = one_by_one(stack, x, *weights)
        loss = losses.by_operations(target, y, epsilon=epsilon, with_derivative=False)[0]
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
