"""`accelerate`: the convolutions of an existing Keras model computed by `unstride.ops`.

Of every layer that changes only the method `call` does, on that one object: its class, its weights and all that Keras
knows about it stay, so that a model saved from it is a plain Keras model.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from ._layers import PLAIN, TRANSPOSED, _Layer, computed

Layer = Any
_OTHERS = (
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


@dataclass(frozen=True)
class Report:
    """What `accelerate` did: printable, and the way back.

    Attributes
    ----------
    changed : list of (name, class name)
        The layers that go through unstride now.
    left : list of (name, class name, reason)
        The convolutions that do not, and why.
    """

    changed: list[tuple[str, str]] = field(default_factory=list)
    left: list[tuple[str, str, str]] = field(default_factory=list)
    _root: Layer = field(default=None, repr=False)
    _layers: list[Layer] = field(default_factory=list, repr=False)

    def restore(self) -> None:
        """Give the layers that this call changed their own computation back; a second time does nothing."""
        for layer in self._layers:
            if _is_ours(layer):
                del layer.__dict__["call"]
        if self._layers:
            _forget_compiled(self._root)
        self._layers.clear()

    def __str__(self) -> str:
        lines = [f"{len(self.changed)} of {len(self.changed) + len(self.left)} convolutions go through unstride"]
        lines += [f"  {name} ({kind})" for name, kind in self.changed]
        if self.left:
            lines += ["left as they were:", *(f"  {name} ({kind}): {reason}" for name, kind, reason in self.left)]
        return "\n".join(lines)


def accelerate(model: Layer) -> Report:
    """Let every ``Conv{1,2,3}D`` and ``Conv{1,2,3}DTranspose`` of a Keras model be computed by unstride, in place.

    Weights, names, trainable flags, checkpoints, ``summary()``, the optimizer's and the compiled state stay; a model
    saved afterwards is the plain Keras model. Functions that Keras compiled for this model (for ``fit``, ``evaluate``
    and ``predict``) are compiled again when they are next needed; those of a larger model that contains this one keep
    the old computation, as do functions that you compiled yourself, so accelerate the outermost model, before that.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
        Sequential, functional, subclassed, nested, built or not: the layers that it tracks, at any depth.

    Returns
    -------
    Report
        Print it to see which layers changed, and which did not and why; ``restore()`` undoes this call. Layers with a
        ``call`` of their own, quantised layers and depthwise and separable convolutions are left as they are.

    Raises
    ------
    TypeError
        `model` is no Keras layer or model.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.Input((8, 8, 2)), keras.layers.Conv2DTranspose(3, 4, 2, name="up")])
    >>> report = accelerate(model)
    >>> print(report)
    1 of 1 convolutions go through unstride
      up (Conv2DTranspose)
    >>> report.restore()
    """
    if not isinstance(model, keras.layers.Layer):
        raise TypeError(f"model is {type(model).__name__}; expected a Keras model or layer")
    report = Report(_root=model)
    for layer in _layers_of(model):
        if not isinstance(layer, PLAIN + TRANSPOSED + _OTHERS):
            continue
        kind = type(layer).__name__
        if (reason := _objection(layer)) is not None:
            report.left.append((layer.name, kind, reason))
            continue
        # Past __setattr__, by which Keras would track the method and refuse it once the model is built.
        layer.__dict__["call"] = types.MethodType(computed, layer)
        report.changed.append((layer.name, kind))
        report._layers.append(layer)
    if report._layers:
        _forget_compiled(model)
    return report


def _objection(layer: Layer) -> str | None:
    """Why a layer stays as it is."""
    kind = type(layer)
    if isinstance(layer, _OTHERS):
        return "unstride has no layer of this kind"
    if isinstance(layer, _Layer):
        return "it is unstride's own"
    if _is_ours(layer):
        return "it goes through unstride already"
    if "call" in layer.__dict__:
        return "its call was replaced"
    base = next(base for base in kind.__mro__ if base in PLAIN + TRANSPOSED)
    for method in ("call", "__call__", "convolution_op"):
        if getattr(kind, method, None) is not getattr(base, method, None) or "convolution_op" in layer.__dict__:
            return f"{kind.__name__} has a {method} of its own"
    if getattr(layer, "quantization_mode", None) is not None:
        return f"it is quantised ({layer.quantization_mode})"
    return None


def _is_ours(layer: Layer) -> bool:
    return getattr(layer.__dict__.get("call"), "__func__", None) is computed


def _layers_of(model: Layer) -> Iterator[Layer]:
    """The layer itself and those in it, at any depth, each once, in the model's order."""
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
