"""Training steps in micro-batches: the gradients of a few dozen images at a time, summed, and one update per batch.

The mean loss of a batch is the mean of its parts' losses, weighted by their numbers of images, and so is its gradient.
So only the sum of the gradients has to be kept, and the predictions for the metrics. The step is the same up to
rounding if no layer and no loss mixes the images or draws random numbers. Models for which this is not known train on
whole batches (`objection`).
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import keras
import numpy as np

from .._stacks.choice import worthwhile
from ._layers import OWN, PLAIN, TRANSPOSED
from ._losses import native_losses
from ._one_call import NotOneCallError, as_one, whole_run
from ._stacks import graph_of, is_installed, nodes_of, runs_of, walks_its_graph, work_of

Model = Any
Tree = Any
L, losses = keras.layers, keras.losses
MICRO_BATCH = 64

# Layers that process every image by itself, without random numbers.
_PER_IMAGE: tuple[type, ...] = (
    *(*PLAIN, *TRANSPOSED, *OWN),
    *(L.DepthwiseConv1D, L.DepthwiseConv2D, L.SeparableConv1D, L.SeparableConv2D, L.Dense, L.InputLayer, L.Identity),
    *(L.Activation, L.ReLU, L.LeakyReLU, L.ELU, L.PReLU, L.Rescaling, L.Flatten, L.Reshape, L.Permute, L.RepeatVector),
    *(L.ZeroPadding1D, L.ZeroPadding2D, L.ZeroPadding3D, L.Cropping1D, L.Cropping2D, L.Cropping3D),
    *(L.UpSampling1D, L.UpSampling2D, L.UpSampling3D, L.MaxPooling1D, L.MaxPooling2D, L.MaxPooling3D),
    *(L.AveragePooling1D, L.AveragePooling2D, L.AveragePooling3D),
    *(L.GlobalMaxPooling1D, L.GlobalMaxPooling2D, L.GlobalMaxPooling3D),
    *(L.GlobalAveragePooling1D, L.GlobalAveragePooling2D, L.GlobalAveragePooling3D),
    *(L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Concatenate, L.GroupNormalization),
)
_RANDOM_IN_TRAINING = (
    *(L.Dropout, L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D, L.GaussianDropout, L.AlphaDropout),
    L.GaussianNoise,
)
# Losses with one number per image or cell, which are then averaged or summed.
_LOSSES: dict[type, Callable[..., Any]] = {
    losses.BinaryCrossentropy: losses.binary_crossentropy,
    losses.BinaryFocalCrossentropy: losses.binary_focal_crossentropy,
    losses.CategoricalCrossentropy: losses.categorical_crossentropy,
    losses.CategoricalFocalCrossentropy: losses.categorical_focal_crossentropy,
    losses.CategoricalHinge: losses.categorical_hinge,
    losses.Hinge: losses.hinge,
    losses.Huber: losses.huber,
    losses.KLDivergence: losses.kl_divergence,
    losses.LogCosh: losses.log_cosh,
    losses.MeanAbsoluteError: losses.mean_absolute_error,
    losses.MeanAbsolutePercentageError: losses.mean_absolute_percentage_error,
    losses.MeanSquaredError: losses.mean_squared_error,
    losses.MeanSquaredLogarithmicError: losses.mean_squared_logarithmic_error,
    losses.Poisson: losses.poisson,
    losses.SparseCategoricalCrossentropy: losses.sparse_categorical_crossentropy,
    losses.SquaredHinge: losses.squared_hinge,
}
_MEANS, _SUM = ("sum_over_batch_size", "mean"), "sum"
_STEPS = {  # methods that a model must not override
    "jax": ("train_step", "compute_loss_and_updates", "stateless_compute_loss", "stateless_call"),
    "torch": ("train_step",),
}


def objection(model: Model) -> str | None:
    """The reason why a model trains on whole batches, or None."""
    backend = keras.backend.backend()
    if backend not in _STEPS:
        return f"Keras on {backend} has no training step that unstride can divide"
    if not isinstance(model, keras.Model):
        return "it is a layer, which the model around it trains"
    for method in (*_STEPS[backend], "compute_loss"):
        method_of_model = model.__dict__.get(method)
        replaced = method_of_model is not None and getattr(method_of_model, "__func__", None) not in _OURS
        if replaced or getattr(type(model), method, None) is not getattr(keras.Model, method, None):
            return f"it has a {method} of its own"
    if keras.distribution.distribution() is not None:
        return "it is distributed over several devices"
    return _graph_objection(model) or _share_objection(model) or _loss_objection(model)


def _graph_objection(model: Model) -> str | None:
    graph = graph_of(model)
    if graph is None:
        if isinstance(model, keras.Sequential) and not model.built:
            return "it is not built yet"
        return f"{type(model).__name__} has a call of its own, which may mix the images of a batch"
    if not walks_its_graph(model):
        return f"{model.name} has a call of its own, which may mix the images of a batch"
    for node in nodes_of(graph):
        reason = _layer_objection(node.operation)
        if reason is not None:
            return reason
    return None


def _layer_objection(layer: Any) -> str | None:
    kind = type(layer)
    if isinstance(layer, keras.Model):
        return _graph_objection(layer)
    if not isinstance(layer, L.Layer):
        return f"the operation {layer.name} may mix the images of a batch"
    if layer.activity_regularizer is not None:
        return f"{layer.name} has an activity_regularizer, whose loss is not one of single images"
    if layer._losses:
        return f"{layer.name} adds a loss of its own"
    if kind in _RANDOM_IN_TRAINING:
        rate = getattr(layer, "rate", getattr(layer, "stddev", None))
        return f"{layer.name} ({kind.__name__}) draws other random numbers for parts of a batch" if rate else None
    if kind is L.BatchNormalization:
        return f"{layer.name} (BatchNormalization) takes the mean of a batch" if layer.trainable else None
    if kind in (L.LayerNormalization, L.Softmax):
        axes = layer.axis if isinstance(layer.axis, (list, tuple)) else (layer.axis,)
        return None if 0 not in axes else f"{layer.name} goes along the batch"
    if kind not in _PER_IMAGE:
        return f"{layer.name} ({kind.__name__}) may mix the images of a batch"
    if kind is L.Concatenate and layer.axis == 0:
        return f"{layer.name} goes along the batch"
    return None


def _share_objection(model: Model) -> str | None:
    """The reason why micro-batches would not pay, or None: they do if stacks compute most of the work."""
    in_stacks, all_of_it = _work(model)
    if in_stacks * 2 > all_of_it:
        return None
    return "stacks do less than half of its work" if in_stacks else "no run of its layers is executed as a stack"


def _work(model: Model) -> tuple[int, int]:
    """The multiply-adds of one image in stacks, and in all layers."""
    graph = graph_of(model)
    in_stacks: set[int] = set()
    for run in runs_of(graph) if is_installed(model) else ():
        stack = run.stack(run.nodes[0].input_tensors[0].shape)
        if stack is not None and worthwhile(stack, MICRO_BATCH):
            in_stacks.update(map(id, run.nodes))
    stacked = total = 0
    for node in nodes_of(graph):
        if isinstance(node.operation, keras.Model):
            part, whole = _work(node.operation)
        else:
            whole = max(work_of(node), 0)
            part = whole if id(node) in in_stacks else 0
        stacked, total = stacked + part, total + whole
    return stacked, total


def _loss_objection(model: Model) -> str | None:
    compiled = getattr(model, "_compile_loss", None)
    if compiled is None:
        return "it is not compiled with a loss"
    kinds = set()
    for loss in keras.tree.flatten(compiled._user_loss):
        if loss is None:
            continue
        reduction = _reduction(loss)
        if reduction is None:
            name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", repr(loss)))
            return f"the loss {name} is not known to be a mean or a sum over the images"
        kinds.add("mean" if reduction in _MEANS else reduction)
    if kinds == {"mean"}:
        return None
    if kinds == {_SUM}:
        if len(model.outputs) > 1:
            return "its losses are sums, of several outputs"
        regularised = any(v.regularizer is not None for v in model.trainable_variables)
        return "its loss is a sum, to which those of regularised weights come once" if regularised else None
    return "its losses are partly means and partly sums" if kinds else "it has no loss"


def _reduction(loss: Any) -> str | None:
    """The reduction of a loss over the images, if it is known to have one number for each of them; else None."""
    if isinstance(loss, str):
        try:
            loss = losses.get(loss)
        except ValueError:
            return None
    if loss in _LOSSES.values():
        return "sum_over_batch_size"
    fields = getattr(loss, "_fn_kwargs", {})
    if type(loss) not in _LOSSES or loss.fn is not _LOSSES[type(loss)]:
        return None
    if fields.get("ignore_class") is not None or fields.get("axis", -1) == 0:
        return None
    return loss.reduction if loss.reduction in (*_MEANS, _SUM) else None


def _weight(model: Model, part: int, whole: int) -> float:
    """The weight of the loss of a part of a batch."""
    first = next(loss for loss in keras.tree.flatten(model._compile_loss._user_loss) if loss is not None)
    return 1.0 if _reduction(first) == _SUM else part / whole


def _images(data: Tree) -> int | None:
    """The number of images; None if the arrays disagree."""
    counts = {array.shape[0] if len(array.shape) else None for array in keras.tree.flatten(data) if array is not None}
    return counts.pop() if len(counts) == 1 else None


# On JAX: Keras differentiates `compute_loss_and_updates`. We replace it by a function with a custom derivative.


def compute_loss_and_updates(
    self: Model,
    trainable_variables: Tree,
    non_trainable_variables: Tree,
    metrics_variables: Tree,
    x: Tree,
    y: Tree,
    sample_weight: Tree,
    training: bool = False,
    optimizer_variables: Tree = None,
) -> Any:
    """Replaces the JAX trainer's method of this name."""
    import jax

    from ..backends.jax.memory import give_back_after_compiling

    whole = types.MethodType(type(self).compute_loss_and_updates, self)
    count = _images((x, y, sample_weight))
    state = (trainable_variables, non_trainable_variables, metrics_variables)
    if count is None or objection(self) is not None:
        return whole(*state, x, y, sample_weight, training, optimizer_variables)
    if not training:
        with native_losses(self):
            return whole(*state, x, y, sample_weight, training, optimizer_variables)
    give_back_after_compiling()
    run = whole_run(self)
    if run is not None:
        with suppress(NotOneCallError), as_one(self, run, (x, y, sample_weight)):
            return whole(*state, x, y, sample_weight, training, optimizer_variables)
    if count <= MICRO_BATCH:
        return whole(*state, x, y, sample_weight, training, optimizer_variables)

    def natively(*given: Any) -> Any:
        with native_losses(self):
            return whole(*given)

    @jax.custom_vjp
    def step(trainable: Tree, rest: Tree) -> Any:
        frozen, metrics, data, optimizer = rest
        return whole(trainable, frozen, metrics, *data, training, optimizer)

    def forward(trainable: Tree, rest: Tree) -> Any:
        return _in_parts(self, natively, count, trainable, *rest)

    def backward(gradients: Tree, cotangents: Any) -> Any:
        return jax.tree.map(lambda gradient: gradient * cotangents[0], gradients), None

    step.defvjp(forward, backward)
    return step(trainable_variables, (*state[1:], (x, y, sample_weight), optimizer_variables))


def _in_parts(
    model: Model, whole: Any, count: int, trainable: Tree, frozen: Tree, metrics: Tree, data: Tree, optimizer: Tree
) -> Any:
    """The result of `whole` for all images, and the gradient of the loss."""
    import jax
    import jax.numpy as jnp

    differentiated = jax.value_and_grad(whole, has_aux=True)
    parts, rest = divmod(count, MICRO_BATCH)

    def part(metrics: Tree, images: Tree) -> Any:
        (loss, aux), gradients = differentiated(trainable, frozen, metrics, *images, True, optimizer)
        unscaled, predicted, _, metrics = aux
        return (gradients, loss, unscaled), predicted, metrics

    def piece(first: Any) -> Tree:
        return jax.tree.map(lambda array: jax.lax.dynamic_slice_in_dim(array, first, MICRO_BATCH), data)

    def scanned(carry: Any, first: Any) -> Any:
        sums, metrics = carry
        terms, predicted, metrics = part(metrics, piece(first))  # sliced here: XLA would copy arrays to scan them
        return (jax.tree.map(jnp.add, sums, terms), metrics), predicted

    shapes = jax.eval_shape(part, metrics, piece(0))
    zeros = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), shapes[0])
    (sums, metrics), predicted = jax.lax.scan(scanned, (zeros, metrics), np.arange(parts) * MICRO_BATCH)
    weight = _weight(model, MICRO_BATCH, count)
    sums = jax.tree.map(lambda one: one * weight, sums)
    predicted = jax.tree.map(lambda one: one.reshape(-1, *one.shape[2:]), predicted)
    if rest:
        terms, last, metrics = part(metrics, jax.tree.map(lambda array: array[count - rest :], data))
        weight = _weight(model, rest, count)
        sums = jax.tree.map(lambda total, one: total + one * weight, sums, terms)
        predicted = jax.tree.map(lambda *both: jnp.concatenate(both), predicted, last)
    gradients, loss, unscaled = sums
    return (loss, (unscaled, predicted, frozen, metrics)), gradients


# On PyTorch: a loop. PyTorch sums the gradients.


def train_step(self: Model, data: Any) -> Any:
    """Replaces the PyTorch trainer's method of this name."""
    import torch

    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    count = _images((x, y, sample_weight))
    compiling = torch.compiler.is_compiling()
    if compiling or count is None or count <= MICRO_BATCH or not self.trainable_weights or objection(self) is not None:
        return type(self).train_step(self, data)
    named = {"training": True} if self._call_has_training_arg else {}
    self.zero_grad()
    total, predictions = 0.0, []
    for part in _pieces((x, y, sample_weight), count):
        predicted = self(part[0], **named)
        loss = self._compute_loss(x=part[0], y=part[1], y_pred=predicted, sample_weight=part[2], training=True)
        loss = loss * _weight(self, _images(part[0]) or 0, count)
        total = total + loss.detach()
        (loss if self.optimizer is None else self.optimizer.scale_loss(loss)).backward()
        predictions.append(keras.tree.map_structure(lambda one: one.detach(), predicted))
        del predicted, loss  # and with them all arrays that the derivative needed
    self._loss_tracker.update_state(total, sample_weight=count)
    weights = self.trainable_weights[:]
    with torch.no_grad():
        self.optimizer.apply([weight.value.grad for weight in weights], weights)
    predicted = keras.tree.map_structure(lambda *parts: torch.cat(parts), *predictions)
    return self.compute_metrics(x, y, predicted, sample_weight=sample_weight)


def _pieces(data: Tree, count: int) -> Iterator[Tree]:
    for begin in range(0, count, MICRO_BATCH):
        yield keras.tree.map_structure(functools.partial(_piece, slice(begin, begin + MICRO_BATCH)), data)


def _piece(images: slice, array: Any) -> Any:
    return None if array is None else array[images]


_OURS = (compute_loss_and_updates, train_step)


def install(model: Model) -> bool:
    """Let a model train in micro-batches whenever `objection` returns None; return whether it was changed."""
    backend = keras.backend.backend()
    if not isinstance(model, keras.Model) or backend not in _STEPS:
        return False
    step = compute_loss_and_updates if backend == "jax" else train_step
    if step.__name__ in model.__dict__ or getattr(type(model), step.__name__) is not getattr(
        keras.Model, step.__name__
    ):
        return False
    model.__dict__[step.__name__] = types.MethodType(step, model)
    return True


def remove(model: Model) -> bool:
    """Undo `install`; return whether the model was changed."""
    for step in _OURS:
        if getattr(model.__dict__.get(step.__name__), "__func__", None) is step:
            del model.__dict__[step.__name__]
            return True
    return False
