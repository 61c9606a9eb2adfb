"""The three maps for symbolic Keras tensors: a node of a functional model.

This module computes nothing. When the model is computed, its nodes call the public maps with arrays.
"""

from __future__ import annotations

from typing import Any

from .._messages.errors import ArgumentError, GeometryError
from .._messages.masked import refuse_masked
from ..backends.keras.imported import keras
from ..geometry import Geometry, convolution, is_sequence, per_axis
from . import MAPS
from .fields import Fields
from .validation import (
    channel_axis,
    check_activation,
    check_array,
    check_bias,
    check_channels,
    kernel_size_of,
    only_native,
    spatial,
)

UNKNOWN = 2**20  # stands for a size that a symbolic shape leaves open: large enough for any kernel

FIELDS = {
    "conv_transpose": ("stride", "padding", "output_padding", "dilation", "groups", "activation"),
    "conv": ("stride", "padding", "dilation", "groups", "activation"),
    "kernel_gradient": ("kernel_size", "stride", "padding", "dilation", "groups"),
}
"""The arguments of each map except arrays and channels. Saved models use the same names."""


def record(op: str, arrays: dict[str, Any], given: Fields, out: Any) -> Any:
    """The symbolic result of the map named `op`, which becomes a node of the graph of `arrays`."""
    if given.channels not in ("last", "first"):
        raise ArgumentError(f"channels is {given.channels!r}; expected 'last' or 'first' with a symbolic Keras tensor")
    only_native(out)
    check_activation(given.activation)
    fields = {name: getattr(given, name) for name in FIELDS[op]} | {"channels": given.channels}
    if given.geometry is not None:
        given.only_geometry(None)
        geometry = given.geometry
        fields |= {"stride": geometry.stride, "padding": geometry.crops}
        fields |= {"dilation": geometry.dilation, "groups": geometry.groups}
        if op == "kernel_gradient":
            fields["kernel_size"] = geometry.kernel_size
    for key, array in arrays.items():
        refuse_masked(key, array)
        if array is not None and not isinstance(array, keras.KerasTensor | keras.Variable):
            arrays[key] = keras.ops.convert_to_tensor(array)
    return Map(op, fields)(*(array for array in arrays.values() if array is not None))


class Map(keras.Operation):  # type: ignore[misc]
    """One of the three maps with all its arguments except the arrays. `map` is its name in `unstride.ops`."""

    def __init__(self, map: str, fields: dict[str, Any], name: str | None = None) -> None:
        super().__init__(name=name or f"{map}_{keras.backend.get_uid(map)}")
        self.map = map
        self.fields = {key: _listed(value) for key, value in fields.items()}  # lists, as in a saved model

    def call(self, *arrays: Any) -> Any:
        return MAPS[self.map](*arrays, **self.fields)

    def compute_output_spec(self, *arrays: Any) -> Any:
        names = ("big", "small") if self.map == "kernel_gradient" else ("x", "kernel", "bias")
        channels = self.fields["channels"]
        for name, array in zip(names, arrays, strict=False):
            check_array(name, array, channels, keras)
        shape = self._kernel_shape(*arrays) if self.map == "kernel_gradient" else self._grid_shape(*arrays)
        return keras.KerasTensor(shape, dtype=keras.backend.result_type(*(array.dtype for array in arrays)))

    def get_config(self) -> dict[str, Any]:
        return {"map": self.map, "fields": self.fields, "name": self.name}

    def _grid_shape(self, x: Any, kernel: Any, bias: Any = None) -> tuple[int | None, ...]:
        fields, channels, transposed = self.fields, self.fields["channels"], self.map == "conv_transpose"
        size, taps = spatial(x, channels), kernel_size_of(kernel, channels)
        known = [UNKNOWN if n is None else n for n in size]
        given = fields["stride"], fields["padding"]
        if transposed:
            geometry = Geometry(taps, *given, fields["output_padding"], fields["dilation"], fields["groups"])
        else:
            geometry = convolution(known, taps, *given, fields["dilation"], fields["groups"])
        check_channels(x, kernel, geometry, channels, small=transposed)
        check_bias(bias, kernel, geometry, channels, small=not transposed)
        lengths = geometry.output_size(known) if transposed else geometry.conv_size(known)
        length = [None if n is None else computed for n, computed in zip(size, lengths, strict=True)]
        if channels == "last":
            return x.shape[0], *length, kernel.shape[-2] * geometry.groups if transposed else kernel.shape[-1]
        return x.shape[0], kernel.shape[1] * geometry.groups if transposed else kernel.shape[0], *length

    def _kernel_shape(self, big: Any, small: Any) -> tuple[int, ...]:
        channels, rank = self.fields["channels"], len(big.shape) - 2
        if self.fields["kernel_size"] is None:
            raise GeometryError("kernel_size is missing; give it, or a geometry: the arrays' shapes do not tell it")
        taps = per_axis("kernel_size", self.fields["kernel_size"], rank, 1)
        axis, groups = channel_axis(channels), self.fields["groups"]
        ends = big.shape[axis] // groups, small.shape[axis]
        return (*taps, *ends) if channels == "last" else (*ends[::-1], *taps)


# Models are saved with these names. Without unstride, Keras finds its own class by them and refuses it in an error
# that begins with the last one (see `unstride.keras._saved`). Older files have the first one.
Map.__module__, Map.__name__ = "keras", "Operation"
for _name in ("Map", "Map (Keras lacks it; to load this model, add the line: import unstride.keras)"):
    keras.saving.register_keras_serializable("unstride", _name)(Map)


def _listed(value: Any) -> Any:
    return [_listed(entry) for entry in value] if is_sequence(value) else value
