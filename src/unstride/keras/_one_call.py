"""Training steps that are one native call: forwards, loss and backwards, group of images by group of images.

That is so for a model which as a whole is one stack, trained with the mean or sum of binary cross-entropies, on the CPU
through JAX. Whether it is turns out on the way through Keras's own step, which stays what computes it: within `as_one`
the stack also computes the loss, which the compiled loss then hands on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from ..stack import Stack
from ._losses import other_losses
from ._stacks import Run, graph_of, is_installed, nodes_of, runs_of

Model = Any
Tree = Any
Tensor = Any


class NotOneCallError(Exception):
    """What is found on the way through a step that the stack has not computed the loss of."""


def whole_run(model: Model) -> Run | None:
    """The run that a model as a whole is, if it trains with one binary cross-entropy, on the CPU through JAX."""
    graph = graph_of(model)
    if keras.backend.backend() != "jax" or graph is None or not is_installed(model):
        return None
    import jax

    runs, losses = runs_of(graph), keras.tree.flatten(model._compile_loss._user_loss)
    if len(runs) != 1 or len(runs[0].nodes) != len(nodes_of(graph)) or len(losses) != 1:
        return None
    loss = keras.losses.get(losses[0])
    fields = getattr(loss, "_fn_kwargs", {})
    of_labels = not fields.get("from_logits") and not fields.get("label_smoothing")
    is_crossentropy = getattr(loss, "fn", loss) is keras.losses.binary_crossentropy
    return runs[0] if is_crossentropy and of_labels and jax.default_backend() == "cpu" else None


@contextmanager
def as_one(model: Model, run: Run, data: Tree) -> Iterator[None]:
    """Within it, a run's stack computes the model's loss too, for as long as a step is traced.

    `data` are images, targets and weights, as the step has them.

    Raises
    ------
    NotOneCallError
        From the step, or after it: the loss is another one, or the layers were not computed as a stack.
    """
    from .._stacks import jax_losses as jax_stack_losses
    from ..backends.jax import losses as jax_losses

    images, targets, sample_weight = map(keras.tree.flatten, data)
    epsilon = keras.config.epsilon()
    known = len(images) == len(targets) == 1 and all(weight is None for weight in sample_weight)
    if not known or targets[0].dtype != "float32" or not jax_losses.LEAST_EPSILON <= epsilon <= 0.5:
        raise NotOneCallError
    target = targets[0]
    made: list[tuple[Tensor, Tensor]] = []
    handed_on = 0

    def applied(stack: Stack, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
        if made or tuple(target.shape) != stack.output_shape(x.shape[0]):
            raise NotOneCallError
        made.append(jax_stack_losses.binary_crossentropy(stack, epsilon, x, target, list(weights)))
        return made[0][0]

    def loss(
        y_true: Tensor, y_pred: Tensor, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
    ) -> Tensor:
        nonlocal handed_on
        if not made or y_pred is not made[0][0] or y_true.shape != y_pred.shape or from_logits or label_smoothing:
            raise NotOneCallError
        handed_on += 1
        return keras.ops.mean(made[0][1], axis=axis)

    run.applied = applied
    try:
        with other_losses(model, loss):
            yield
    finally:
        run.applied = None
    if handed_on != 1:
        raise NotOneCallError
