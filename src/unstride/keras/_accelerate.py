"""`accelerate`: the convolutions of an existing Keras model computed by `unstride.ops`, and runs of them as stacks.

In a changed layer only the method `call` is another one, on that one object. Its class, its weights and its
registration in Keras stay, so a file saved from the model is a plain Keras model. The same holds for a model whose runs
are executed as stacks (`_stacks`) and which trains in micro-batches (`_microbatches`), or by one call (`_one_call`).
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from .._stacks.choice import FEWEST_IMAGES, worthwhile
from . import _microbatches, _one_call, _stacks
from ._layers import PLAIN, TRANSPOSED, _Layer, computed

Layer = Any
_OTHERS = (
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


@dataclass(frozen=True)
class Convolution:
    """One convolution of a model: its name, its class, whether it was changed, and the reason if not."""

    name: str
    kind: str
    changed: bool
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.kind}, {'changed' if self.changed else f'not changed: {self.reason}'}"


@dataclass(frozen=True)
class Report:
    """The result of `accelerate`: every convolution of the model, changed or not. `print` shows all of it."""

    layers: tuple[Convolution, ...]
    _model: Layer = field(repr=False)
    _changed: tuple[Layer, ...] = field(repr=False)

    @property
    def changed(self) -> tuple[Convolution, ...]:
        return tuple(layer for layer in self.layers if layer.changed)

    @property
    def unchanged(self) -> tuple[Convolution, ...]:
        return tuple(layer for layer in self.layers if not layer.changed)

    @property
    def stacks(self) -> tuple[tuple[str, ...], ...]:
        """The names of the layers in each run of the present model that is executed as one stack, in batches of 16
        images or more. (An input of unknown size may turn out too large for a stack.)"""
        return tuple(_names(run) for run, executed in _runs_in(self._model) if executed)

    @property
    def training(self) -> str:
        """How the present model trains: by one call per batch (if the images are not weighted, else in
        micro-batches), in micro-batches, or on whole batches, with the reason."""
        reason = _microbatches.objection(self._model)
        if reason is None and _one_call.whole_run(self._model) is not None:
            return "by one native call a batch"
        if reason is None:
            return f"in micro-batches of {_microbatches.MICRO_BATCH} images, one update a batch"
        return f"on whole batches: {reason}"

    def restore(self) -> None:
        """Undo all changes of the model. A second call does nothing."""
        if sum([*map(_restored, self._changed), *map(_unstacked, _layers_of(self._model))]):
            _forget_compiled(self._model)

    def __str__(self) -> str:
        head = f"{len(self.changed)} of {len(self.layers)} convolutions changed"
        lines = [head, *(f"  {layer}" for layer in self.layers)]
        runs = _runs_in(self._model)
        if any(executed for _, executed in runs):
            lines.append(f"one stack each, from {FEWEST_IMAGES} images on:")
            lines += [f"  {', '.join(_names(run))}" for run, executed in runs if executed]
            lines.append(f"trains {self.training}")
        if not all(executed for _, executed in runs):
            lines.append("layer by layer, which is predicted to be faster than a stack:")
            lines += [f"  {', '.join(_names(run))}" for run, executed in runs if not executed]
        return "\n".join(lines)


def accelerate(model: Layer) -> Report:
    """Compute every ``Conv{1,2,3}D`` and ``Conv{1,2,3}DTranspose`` of a Keras model by unstride, in place.

    Weights, names, trainable flags, checkpoints, ``summary()``, the optimizer's and the compiled state stay. A model
    saved afterwards is the plain Keras model. Functions that Keras compiled for this model (for ``fit``, ``evaluate``
    and ``predict``) are compiled again when they are next needed. The compiled functions of a larger model that
    contains this one keep the old computation, as do functions that you compiled yourself. So accelerate the outermost
    model, and do it before you compile.

    Convolutions in a row, with the activations between and after them (relu, leaky_relu, elu, tanh, sigmoid), are
    executed as one stack if nothing else uses their outputs. This happens in float32 on the CPU, where it is predicted
    to be faster: with few channels, in batches of 16 images or more.

    A model that does most of its work in stacks trains in micro-batches: forwards, loss and backwards of 64 images at a
    time, and one update per batch. That is the same step up to rounding. If the whole model is one stack and its loss
    is binary cross-entropy, one native call computes all of it for a batch (on JAX, if the images are not weighted).
    The whole batch is kept for layers that mix the images of a batch or draw random numbers (BatchNormalization,
    Dropout), for losses that are not known to be means or sums over the images, and for anything else that would change
    the step; ``report.training`` gives the reason. Keras on TensorFlow has neither stacks nor micro-batches.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
        Sequential, functional, subclassed, nested, built or not. All layers that it tracks are considered, at any
        depth.

    Returns
    -------
    Report
        The layers that were changed, and the others with the reasons. ``report.restore()`` and `restore` undo the
        changes. Layers with a replaced ``call``, quantised layers, and depthwise and separable convolutions are not
        changed.

    Raises
    ------
    TypeError
        `model` is not a Keras layer or model.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2DTranspose(3, 4, 2, name="up")])
    >>> report = accelerate(model)
    >>> print(report)
    1 of 1 convolutions changed
      up: Conv2DTranspose, changed
    >>> report.restore()
    """
    convolutions: list[Convolution] = []
    changed: list[Layer] = []
    for layer in _layers_of(model):
        if not isinstance(layer, PLAIN + TRANSPOSED + _OTHERS):
            continue
        reason = _objection(layer)
        if reason is None:
            # Not by __setattr__: Keras would track the method, and refuse it once the model is built.
            layer.__dict__["call"] = types.MethodType(computed, layer)
            changed.append(layer)
        convolutions.append(Convolution(layer.name, type(layer).__name__, reason is None, reason or ""))
    stacked = [layer for layer in _layers_of(model) if _stacks.install(layer)]
    divided = _microbatches.install(model)
    if changed or stacked or divided:
        _forget_compiled(model)
    return Report(tuple(convolutions), model, tuple(changed))


def restore(model: Layer) -> int:
    """Undo `accelerate` on every layer of a model, in place, and return the number of restored layers.

    >>> import keras
    >>> model = keras.Sequential([keras.Input((8, 2)), keras.layers.Conv1D(3, 4)])
    >>> report = accelerate(model)
    >>> restore(model), restore(model)
    (1, 0)
    """
    count = sum(map(_restored, _layers_of(model)))
    stacked = sum(map(_unstacked, _layers_of(model)))
    if count or stacked:
        _forget_compiled(model)
    return count


def _objection(layer: Layer) -> str | None:
    """The reason why a layer is not changed, or None."""
    kind = type(layer)
    if isinstance(layer, _OTHERS):
        return "unstride has no layer of this kind"
    if isinstance(layer, _Layer):
        return "it is unstride's own"
    if _is_ours(layer):
        return "it goes through unstride already"
    base = next(base for base in kind.__mro__ if base in PLAIN + TRANSPOSED)
    for method in ("call", "convolution_op"):
        if method in layer.__dict__:
            return f"its {method} was replaced"
    for method in ("call", "__call__", "convolution_op"):
        if getattr(kind, method, None) is not getattr(base, method, None):
            return f"{kind.__name__} has a {method} of its own"
    if getattr(layer, "quantization_mode", None) is not None:
        return f"it is quantised ({layer.quantization_mode})"
    return None


def _restored(layer: Layer) -> bool:
    if _is_ours(layer):
        del layer.__dict__["call"]
        return True
    return False


def _unstacked(layer: Layer) -> bool:
    """Restore a model's walk through its graph and its training step; return whether either was changed."""
    removed = _stacks.remove(layer), _microbatches.remove(layer)
    return any(removed)


def _runs_in(model: Layer) -> list[tuple[_stacks.Run, bool]]:
    """The runs that may be executed as stacks, and whether they are, as far as the input's size is known."""
    runs = []
    for layer in _layers_of(model):
        graph = _stacks.graph_of(layer) if _stacks.is_installed(layer) else None
        for run in () if graph is None else _stacks.runs_of(graph):
            shape = run.nodes[0].input_tensors[0].shape
            stack = run.stack(shape)
            runs.append((run, None in shape[1:] or (stack is not None and worthwhile(stack, FEWEST_IMAGES))))
    return runs


def _names(run: _stacks.Run) -> tuple[str, ...]:
    return tuple(layer.name for layer in run.layers)


def _is_ours(layer: Layer) -> bool:
    return getattr(layer.__dict__.get("call"), "__func__", None) is computed


def _layers_of(model: Layer) -> Iterator[Layer]:
    """The layer and all layers in it, at any depth, each once, in the model's order."""
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"model is {type(model).__name__}; expected a Keras model or layer")
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        layer = waiting.pop()
        if id(layer) not in seen:
            seen.add(id(layer))
            yield layer
            waiting += reversed(layer._layers)


def _forget_compiled(model: Layer) -> None:
    for layer in _layers_of(model):
        if isinstance(layer, keras.Model):
            layer.train_function = layer.test_function = layer.predict_function = None
