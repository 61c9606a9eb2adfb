"""Training steps that are one native call: forwards, loss and backwards of one group of images after another.

This works if the whole model is one stack, trained with the mean or sum of binary cross-entropies, on the CPU through
JAX. Keras's own training step still runs, and finds out while it is traced whether this is the case: within `as_one`
the stack also computes the loss, and the compiled loss passes it on.
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
    """Raised while a step is traced if the stack cannot compute its loss."""


def whole_run(model: Model) -> Run | None:
    """The run that is the whole model, if it trains with one binary cross-entropy on the CPU through JAX; else None."""
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
    """A context in which a run's stack computes the model's loss too. A step is traced in it.

    `data` are the images, targets and weights of the step.

    Raises
    ------
    NotOneCallError
        The loss is another one, or the layers were not computed as a stack. It is raised during the step or after it.
    """
    from .._stacks import jax_losses as jax_stack_losses
    from ..backends.jax import losses as jax_losses

    images, targets, sample_weight = map(keras.tree.flatten, data)
    epsilon = keras.config.epsilon()
    known = len(images) == len(targets) == 1 and all(weight is None for weight in sample_weight)
    if not known or targets[0].dtype != "float32" or not jax_losses.LEAST_EPSILON <= epsilon <= 0.5:
        raise NotOneCallError
    target = targets[0]
    results: list[tuple[Tensor, Tensor]] = []
    handed_on = 0

    def applied(stack: Stack, x: Tensor, weights: Sequence[Tensor]) -> Tensor:
        if results or tuple(target.shape) != stack.output_shape(x.shape[0]):
            raise NotOneCallError
        results.append(jax_stack_losses.binary_crossentropy(stack, epsilon, x, target, list(weights)))
        return results[0][0]

    def loss(
        y_true: Tensor, y_pred: Tensor, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
    ) -> Tensor:
        nonlocal handed_on
        if not results or y_pred is not results[0][0] or y_true.shape != y_pred.shape or from_logits or label_smoothing:
            raise NotOneCallError
        handed_on += 1
        return keras.ops.mean(results[0][1], axis=axis)

    run.applied = applied
    try:
        with other_losses(model, loss):
            yield
    finally:
        run.applied = None
    if handed_on != 1:
        raise NotOneCallError
