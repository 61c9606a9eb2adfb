"""The shapes of a model's weights by the description in their file, to check what is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..models import _autoencoder, _compressor, _segmenter, _upscaler

Shape = tuple[int | None, ...]
"""None: any length."""


def expected(about: dict[str, Any]) -> dict[str, Shape]:
    """The shape of every weight of the described model.

    >>> expected({"model": "upscaler", "scale": 2})["enlarge/kernel"]
    (8, 8, 1, 17)

    Raises
    ------
    ValueError, TypeError
        Part of the description is missing or invalid. The message names it.
    """
    shapes: dict[str, Shape] = {}
    for name, kernel, channels in _MODELS[about["model"]](about):
        shapes[f"{name}/kernel"], shapes[f"{name}/bias"] = kernel, (channels,)
    return shapes


def is_known(model: Any) -> bool:
    return isinstance(model, str) and model in _MODELS


Layers = Iterator[tuple[str, Shape, int]]
"""The name, the shape of the kernel and the number of output channels of each layer."""


def _chosen(about: dict[str, Any], name: str, choices: tuple[Any, ...]) -> Any:
    value = about.get(name)
    if isinstance(value, bool) or value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of: {', '.join(map(str, choices))}")
    return value


def _autoencoder_layers(about: dict[str, Any]) -> Layers:
    layers = about.get("layers")
    if not isinstance(layers, str):
        raise TypeError(f"layers is {layers!r}; expected the layers, as 'conv 16 3 2, up 16 4 2'")
    for row in _autoencoder.table(_autoencoder.parsed(layers)):
        filters, k = row.layer.filters, row.layer.kernel
        ends = (filters, row.channels) if row.layer.kind == "up" else (row.channels, filters)
        yield row.name, (k, k, *ends), filters


def _compressor_layers(about: dict[str, Any]) -> Layers:
    code, upsample = about.get("code"), _chosen(about, "upsample", _compressor.UPSAMPLE)
    if isinstance(code, bool) or not isinstance(code, int) or code < 1:
        raise ValueError(f"code is {code!r}; expected how many numbers, at least 1")
    wide, narrow = _compressor.WIDTHS
    flat = _compressor.SMALL**2 * wide
    yield "encoder/conv_1", (3, 3, 1, narrow), narrow
    yield "encoder/conv_2", (3, 3, narrow, wide), wide
    for name, inputs, outputs in (("encoder/dense", flat, 256), ("encoder/code", 256, code)):
        yield name, (inputs, outputs), outputs
    for name, inputs, outputs in (("decoder/dense", code, 256), ("decoder/grid", 256, flat)):
        yield name, (inputs, outputs), outputs
    for number, inputs, filters in ((1, wide, narrow), (2, narrow, 1)):
        outputs = 4 * filters if upsample == "subpixel" else filters
        ends = (outputs, inputs) if upsample == "transposed" else (inputs, outputs)
        yield f"decoder/{upsample}_{number}", (None, None, *ends), outputs


def _upscaler_layers(about: dict[str, Any]) -> Layers:
    side = _upscaler.taps(_chosen(about, "scale", _upscaler.SCALES))
    wide, narrow = _upscaler.WIDE, _upscaler.NARROW
    yield "features", (5, 5, 1, wide), wide
    yield "shrink", (1, 1, wide, narrow), narrow
    for number in range(_upscaler.DEPTH):
        yield f"map_{number + 1}", (3, 3, narrow, narrow), narrow
    yield "expand", (1, 1, narrow, narrow), narrow
    yield "enlarge", (side, side, 1, narrow + 1), 1


def _segmenter_layers(about: dict[str, Any]) -> Layers:
    widths, names = _segmenter.WIDTHS, about.get("classes")
    _chosen(about, "levels", (len(widths),))
    if not isinstance(names, list) or len(names) < 2 or not all(isinstance(name, str) for name in names):
        raise ValueError(f"classes is {names!r}; expected at least two names")

    def twice(name: str, inputs: int, outputs: int) -> Layers:
        yield f"{name}_1", (3, 3, inputs, outputs), outputs
        yield f"{name}_2", (3, 3, outputs, outputs), outputs

    for level, outputs in enumerate(widths):
        yield from twice(f"down_{level}", widths[level - 1] if level else 3, outputs)
    for level, outputs in enumerate(widths[:-1]):
        yield f"double_{level}", (2, 2, outputs, widths[level + 1]), outputs
        yield from twice(f"up_{level}", 2 * outputs, outputs)
    yield "logits", (1, 1, widths[0], len(names)), len(names)


_MODELS = {
    "autoencoder": _autoencoder_layers,
    "compressor": _compressor_layers,
    "upscaler": _upscaler_layers,
    "segmenter": _segmenter_layers,
}
