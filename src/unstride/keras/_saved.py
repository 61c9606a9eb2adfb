"""The names of the layers in saved models. A model opens without unstride if Keras has all its settings.

Keras finds a saved layer's class by its registered name, if that is known in the process, and otherwise by its module
and its class name. So a layer with settings that Keras accepts too is saved as

    module "keras.src.layers", class "Conv2D", registered as "unstride>Conv2D"

with Keras's arguments. It loads as our layer if `unstride.keras` has been imported, and as Keras's layer otherwise,
with the same weights and the same numbers. A layer with settings that Keras lacks is saved as

    module "keras.layers", class "Conv2D", registered as "unstride>Conv2D (what to do)"

Keras refuses to load its own class in place of a registered one, in an error that begins with the registered name.
Without unstride that name is the message.

Keras reads these names from the layer's class. So each layer class has two subclasses, one for either case, and every
layer has the subclass for its settings.
"""

from __future__ import annotations

from typing import Any

import keras

from ..geometry import Geometry, NotExpressible

Layer = Any
REMEDY = "more than Keras has; to load this model, add the line: import unstride.keras"

_bases: dict[type, type] = {}  # the public class of each class and of its two subclasses
_forms: dict[type, tuple[type, type]] = {}  # the subclasses of a public class: for settings that Keras has, and lacks


def register(kind: type) -> tuple[type, type]:
    """Create the two subclasses of a public layer class, and register all three with Keras."""

    def form(module: str, registered: str) -> type:
        names = {"__module__": module, "__doc__": kind.__doc__, "__qualname__": f"{kind.__name__}, by unstride.keras"}
        subclass: type = type(kind)(kind.__name__, (kind,), names)
        keras.saving.register_keras_serializable("unstride", registered)(subclass)
        return subclass

    plain = form("keras.src.layers", kind.__name__)
    beyond = form("keras.layers", f"{kind.__name__} ({REMEDY})")
    keras.saving.register_keras_serializable("unstride")(kind)  # last: files of both kinds load as this class
    _forms[kind] = plain, beyond
    _bases.update(dict.fromkeys((kind, plain, beyond), kind))
    return plain, beyond


def public(kind: type) -> type:
    """The public class of a layer class. A user's own class is returned unchanged."""
    return _bases.get(kind, kind)


def settle(layer: Layer) -> None:
    """Give the layer the class for its settings. A user's class that is derived from ours stays."""
    kind = type(layer)
    if kind in _bases:
        plain, beyond = _forms[_bases[kind]]
        form = beyond if keras_arguments(layer) is None else plain
        if kind is not form:
            object.__setattr__(layer, "__class__", form)


def config(layer: Layer, saved: dict[str, Any]) -> dict[str, Any]:
    """The layer's config, made from the config `saved` of Keras's class."""
    settle(layer)  # the user may have set fields
    saved = {**saved, "groups": layer.groups}
    if type(layer) in _bases and type(layer) is _forms[_bases[type(layer)]][0]:
        saved |= keras_arguments(layer) or {}
        if hasattr(layer, "output_padding"):  # Keras's transposed layers have no groups
            del saved["groups"]
    return saved


def keras_arguments(layer: Layer) -> dict[str, Any] | None:
    """The padding of a layer as Keras's layer takes it; None if Keras has no such layer."""
    if max(layer.strides) > 1 and max(layer.dilation_rate) > 1:
        return None
    return _transposed(layer) if hasattr(layer, "output_padding") else _plain(layer)


def _transposed(layer: Layer) -> dict[str, Any] | None:
    padding, extra = layer.padding, layer.output_padding
    if layer.groups > 1:
        return None
    if isinstance(padding, str) and (extra is None or all(op < s for op, s in zip(extra, layer.strides, strict=True))):
        return {"padding": padding, "output_padding": extra}
    fields = layer.kernel_size, layer.strides, padding, extra, layer.dilation_rate
    try:
        arguments = Geometry(*fields).to("keras")
    except NotExpressible:
        return None
    return {name: arguments[name] for name in ("padding", "output_padding")}


def _plain(layer: Layer) -> dict[str, Any] | None:
    if isinstance(layer.padding, str):
        return {"padding": layer.padding}
    crops = Geometry(layer.kernel_size, layer.strides, layer.padding, None, layer.dilation_rate).crops
    if not any(map(any, crops)):
        return {"padding": "valid"}
    spans = [(k - 1) * d for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    if max(layer.strides) == 1 and crops == tuple((span // 2, span - span // 2) for span in spans):
        return {"padding": "same"}  # with larger strides it depends on the size
    return None
