"""Convert five frameworks' arguments for a transposed convolution to `Geometry` and back.

Each function reads one framework's arguments, under their names there, and returns the geometry that they describe.
It also reads arguments that the framework refuses (an ``output_padding`` as large as the stride, for example) if the
framework's formula gives them a meaning. `Geometry.to` is strict: the framework's checks accept the arguments that it
returns. (The framework's kernels may still lack the case: TensorFlow's on a CPU do not dilate float64, and Keras on
TensorFlow does not run "same" with an even kernel and ``output_padding=0``.)

==============  =============================================  =====================================
framework       `Geometry.to` gives the arguments of           the call also needs
==============  =============================================  =====================================
``torch``       ``torch.nn.ConvTranspose{1,2,3}d``
``keras``       ``keras.layers.Conv{1,2,3}DTranspose``
``tensorflow``  ``tf.nn.conv{1,2,3}d_transpose``               batch and channels around output_shape
``jax``         ``jax.lax.conv_transpose``
``onnx``        the attributes of the ``ConvTranspose`` node
==============  =============================================  =====================================

Notation as in `unstride.geometry`: K cells spanned by the kernel, F cells of the full grid, crop (b, e), and L the
length of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._messages.errors import Crop, GeometryError, NotExpressible
from .geometry import WRITERS, Geometry, Padding, as_int, is_sequence, per_axis, split

__all__ = ["jax", "keras", "onnx", "tensorflow", "torch"]

Ints = int | Sequence[int]


def keras(
    kernel_size: Ints,
    strides: Ints = 1,
    padding: Padding = "valid",
    output_padding: Ints | None = None,
    dilation_rate: Ints = 1,
    groups: int = 1,
) -> Geometry:
    """The geometry of Keras's ``Conv*DTranspose`` layers and ``keras.ops.conv_transpose``.

    An output padding of ``None`` is not 0: with "same" it makes the output ``strides`` times as long as the input.
    `Geometry` has the same rules: it turns "valid" and "same" into crops when it reads `padding`.

    >>> keras(3, 2, "same").output_size(4), keras(3, 2, "same", output_padding=0).output_size(4)
    ((8,), (7,))
    """
    return Geometry(kernel_size, strides, padding, output_padding, dilation_rate, groups)


def torch(
    kernel_size: Ints,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
    *,
    output_size: Ints | None = None,
    input_size: Ints | None = None,
) -> Geometry:
    """The geometry of ``torch.nn.ConvTranspose*d``. `output_size` is the argument of its ``forward``.

    >>> torch(3, 2, 1, output_padding=1).crops
    ((1, 0),)
    >>> torch(3, 2, 1, input_size=4, output_size=8).crops
    ((1, 0),)
    """
    plain = Geometry(kernel_size, stride, 0, 0, dilation, groups)
    pads = per_axis("padding", padding, plain.rank)  # PyTorch's transposed convolutions take no names and no pairs
    plain = plain.with_crops([(p, p) for p in pads])
    geometry = Geometry(kernel_size, stride, pads, output_padding, dilation, groups)
    if output_size is None:
        return geometry
    size = _needed_input_size(input_size, "output_size", geometry.rank)
    wanted = _spatial("output_size", output_size, geometry.rank, channels_first=True)
    for axis, (length, least, s) in enumerate(zip(wanted, plain.output_size(size), plain.stride, strict=True)):
        if not least <= length < least + s:
            raise GeometryError(
                f"output_size of axis {axis} is {length}; with this input it can be {least} to {least + s - 1}"
            )
    return plain.fitted(size, wanted)


def tensorflow(
    kernel_size: Ints,
    strides: Ints = 1,
    padding: str | Sequence[Sequence[int]] = "SAME",
    dilations: Ints = 1,
    output_shape: Ints | None = None,
    input_size: Ints | None = None,
    data_format: str | None = None,
) -> Geometry:
    """The geometry of ``tf.nn.conv*d_transpose``, which takes the output's size instead of an output padding.

    `strides`, `dilations`, `output_shape` and explicit `padding` have entries for the spatial axes alone, or also
    TensorFlow's entries for batch and channels, in the order of `data_format` ("N...C", the default, or "NC...").

    >>> tensorflow(3, 2, "SAME", output_shape=8, input_size=4).crops
    ((0, 1),)
    """
    rank = len(kernel_size) if is_sequence(kernel_size) else 1
    first = data_format is not None and data_format.upper().startswith("NC")
    strides, dilations = (  # one entry stands for all axes
        value[0] if is_sequence(value) and len(value) == 1 else value for value in (strides, dilations)
    )
    geometry = Geometry(
        kernel_size,
        _spatial("strides", strides, rank, first, around=1),
        dilation=_spatial("dilations", dilations, rank, first, around=1),
    )
    if output_shape is None:
        raise GeometryError("output_shape is missing; tf.nn.conv_transpose always needs it")
    full = geometry.full_size(_needed_input_size(input_size, "output_shape", rank))
    totals = [F - L for F, L in zip(full, _spatial("output_shape", output_shape, rank, first), strict=True)]
    name = _name(padding)
    if name is not None:
        return geometry.with_crops([split(total) if name == "SAME" else (0, total) for total in totals])
    pads: Any = padding
    if len(padding) == rank + 2:
        pads = padding[2:] if first else padding[1:-1]
    begins = [b for b, _ in geometry.with_crops(pads).crops]
    result = geometry.with_crops([(b, total - b) for b, total in zip(begins, totals, strict=True)])
    if not _accepted(result, pads, input_size):
        raise GeometryError(
            f"padding {padding}, output_shape {output_shape} and input_size {input_size} contradict each other: the "
            "convolution of that output makes another input"
        )
    return result


def jax(
    kernel_size: Ints,
    strides: Ints = 1,
    padding: str | Sequence[Sequence[int]] = "SAME",
    rhs_dilation: Ints | None = None,
    transpose_kernel: bool = False,  # noqa: ARG001 - it flips the kernel and swaps its channels; the geometry is the same
    use_consistent_padding: bool = False,
) -> Geometry:
    """The geometry of ``jax.lax.conv_transpose``. Explicit pads are those of the zero-spaced grid: ``K-1-b, K-1-e``.

    Unless ``transpose_kernel=True``, JAX's kernel is the flipped kernel of every other framework.

    >>> jax(3, 2, [(1, 2)]).crops
    ((1, 0),)
    """
    dilation: Ints = 1 if rhs_dilation is None else rhs_dilation
    name = _name(padding)
    if name is not None:
        return Geometry(kernel_size, strides, name, None, dilation)
    geometry = Geometry(kernel_size, strides, padding, None, dilation)
    return geometry if use_consistent_padding else geometry.with_crops(_mirrored(geometry))


def onnx(
    kernel_shape: Ints,
    strides: Ints = 1,
    pads: Sequence[int] | None = None,
    dilations: Ints = 1,
    group: int = 1,
    auto_pad: str = "NOTSET",
    output_padding: Ints = 0,
    output_shape: Ints | None = None,
    input_size: Ints | None = None,
) -> Geometry:
    """The geometry of an ONNX ``ConvTranspose`` node. `pads` lists all begins, then all ends. `output_shape` has
    spatial axes only, and overrides `pads`.

    An `output_shape` larger than the full grid extends it at the end, as ONNX Runtime does with every `auto_pad`. (The
    specification does not define it. ONNX's reference evaluator does the same without `auto_pad`, and splits the
    extension with "SAME_*".)

    >>> onnx(3, 2, auto_pad="SAME_UPPER").crops, onnx(3, 2, auto_pad="SAME_LOWER").crops
    (((0, 1),), ((1, 0),))
    >>> onnx(2, 3, output_shape=7, input_size=2).crops          # the full grid has 5 cells
    ((0, -2),)
    """
    geometry = Geometry(kernel_shape, strides, dilation=dilations, groups=group)
    extra = per_axis("output_padding", output_padding, geometry.rank, 0)
    if auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise GeometryError(f"auto_pad is {auto_pad!r}; expected 'NOTSET', 'VALID', 'SAME_UPPER' or 'SAME_LOWER'")
    if output_shape is not None:
        full = geometry.full_size(_needed_input_size(input_size, "output_shape", geometry.rank))
        wanted = _spatial("output_shape", output_shape, geometry.rank, channels_first=True)
        totals = [F + op - L for F, op, L in zip(full, extra, wanted, strict=True)]
    elif auto_pad.startswith("SAME"):  # L = n * s, whatever n
        totals = [K + op - s for K, op, s in zip(geometry.spans, extra, geometry.stride, strict=True)]
    else:
        rank = geometry.rank
        pads = (0,) * 2 * rank if pads is None or auto_pad == "VALID" else pads
        if not is_sequence(pads) or len(pads) != 2 * rank:
            raise GeometryError(f"pads is {pads!r}; expected {2 * rank} ints: all begins, then all ends")
        flat = per_axis("pads", pads, 2 * rank)
        return geometry.with_crops([(flat[i], flat[rank + i] - extra[i]) for i in range(rank)])
    begins = [max(total, 0) // 2 for total in totals]
    if auto_pad != "SAME_UPPER":  # an odd cell goes to the beginning, also without auto_pad
        begins = [max(total, 0) - half for total, half in zip(totals, begins, strict=True)]
    return geometry.with_crops([(b, t - b - op) for b, t, op in zip(begins, totals, extra, strict=True)])


def torch_call(geometry: Geometry) -> tuple[dict[str, Any], tuple[Crop, ...]]:
    """PyTorch's arguments for the call that computes most of `geometry`, and the crops that remain after it."""
    one_call = all(
        b >= 0 and 0 <= b - e < max(s, d)
        for (b, e), s, d in zip(geometry.crops, geometry.stride, geometry.dilation, strict=True)
    )
    # PyTorch crops both ends by the same padding; output_padding then extends the end.
    padding = tuple(b if one_call else max(min(b, e), 0) for b, e in geometry.crops)
    arguments: dict[str, Any] = {
        "kernel_size": geometry.kernel_size,
        "stride": geometry.stride,
        "padding": padding,
        "output_padding": tuple(b - e if one_call else 0 for b, e in geometry.crops),
        "groups": geometry.groups,
        "dilation": geometry.dilation,
    }
    done = torch(**arguments).crops
    return arguments, tuple((b - p, e - q) for (b, e), (p, q) in zip(geometry.crops, done, strict=True))


def _to_torch(geometry: Geometry, _: Ints | None) -> dict[str, Any]:
    arguments, crops = torch_call(geometry)
    if any(crop != (0, 0) for crop in crops):
        reason = f"its crops are (p, p - op) with 0 <= op < max(stride, dilation); these are {geometry.crops}"
        raise _then_crop("torch", reason, f"conv_transpose with padding {arguments['padding']}", arguments, crops)
    return arguments


def _to_keras(geometry: Geometry, _: Ints | None) -> dict[str, Any]:
    ours = f"unstride.keras.Conv{geometry.rank}DTranspose(padding={geometry.crops}, groups={geometry.groups}, ...)"
    if geometry.groups > 1:
        raise NotExpressible("keras", "its transposed convolutions have no groups", ours)
    if max(geometry.stride) > 1 and max(geometry.dilation) > 1:
        raise NotExpressible("keras", "it refuses strides and dilation together", ours)
    arguments: dict[str, Any] = {"kernel_size": geometry.kernel_size, "strides": geometry.stride, "padding": "valid",
                 "output_padding": None, "dilation_rate": geometry.dilation}  # fmt: skip
    axes = list(zip(geometry.spans, geometry.crops, strict=True))
    candidates: list[tuple[str, tuple[int, ...] | None]] = [
        ("valid", None),
        ("same", None),
        ("valid", tuple(-e for _, (_, e) in axes)),
        ("same", tuple(K - K % 2 - b - e for K, (b, e) in axes)),
    ]
    for padding, extra in candidates:
        if extra is not None and not all(0 <= op < s for op, s in zip(extra, geometry.stride, strict=True)):
            continue
        candidate = arguments | {"padding": padding, "output_padding": extra}
        if keras(**candidate) == geometry:
            return candidate
    reason = f"no 'valid' or 'same' with output_padding below the stride crops {geometry.crops}"
    full = arguments | {"output_padding": (0,) * geometry.rank}
    raise _then_crop("keras", reason, "the layer with padding='valid', output_padding=0", full, geometry.crops)


def _to_tensorflow(geometry: Geometry, size: Ints | None) -> dict[str, Any]:
    if size is None:
        raise GeometryError("size is missing; TensorFlow's arguments include the output's size, so give the input's")
    if geometry.groups > 1:
        recipe = "one call for each group of channels, concatenated along the channels"
        raise NotExpressible("tensorflow", "its transposed convolutions have no groups", recipe)
    arguments: dict[str, Any] = {"strides": geometry.stride, "dilations": geometry.dilation, "padding": "VALID"}
    full = arguments | {"output_shape": geometry.full_size(size)}
    arguments["output_shape"] = geometry.output_size(size)
    paddings: list[Any] = ["VALID", "SAME"]
    if geometry.rank == 2:  # only tf.nn.conv2d_transpose takes explicit pads
        paddings.append([[0, 0], *([max(b, 0), max(e, 0)] for b, e in geometry.crops), [0, 0]])
    for padding in paddings:
        candidate = arguments | {"padding": padding}
        try:
            meant = tensorflow(geometry.kernel_size, **candidate, input_size=size)
        except GeometryError:
            continue
        if meant == geometry and (padding not in ("VALID", "SAME") or _accepted(geometry, padding, size)):
            return candidate
    reason = f"none of its paddings crops {geometry.crops} at input size {size}"
    raise _then_crop("tensorflow", reason, "conv_transpose with 'VALID' to the full grid", full, geometry.crops)


def _accepted(geometry: Geometry, padding: Any, size: Any) -> bool:
    """Whether TensorFlow's convolution of the result has the input's size, as its transpose requires."""
    small, big = per_axis("size", size, geometry.rank, 1), geometry.output_size(size)
    if padding == "SAME":
        return small == tuple(-(-L // s) for L, s in zip(big, geometry.stride, strict=True))
    pads = [[0, 0]] * geometry.rank if padding == "VALID" else padding
    try:
        return geometry.with_crops(pads).conv_size(big) == small
    except GeometryError:
        return False


def _to_jax(geometry: Geometry, _: Ints | None) -> dict[str, Any]:
    padding = _mirrored(geometry)
    if geometry.groups > 1:
        recipe = (
            f"jax.lax.conv_general_dilated with window_strides 1, lhs_dilation={geometry.stride}, padding={padding}, "
            f"rhs_dilation={geometry.dilation}, feature_group_count={geometry.groups} and the kernel flipped"
        )
        raise NotExpressible("jax", "jax.lax.conv_transpose has no groups", recipe)
    return {"strides": geometry.stride, "padding": padding, "rhs_dilation": geometry.dilation, "transpose_kernel": True}


def _to_onnx(geometry: Geometry, _: Ints | None) -> dict[str, Any]:
    arguments = {
        "kernel_shape": geometry.kernel_size,
        "strides": geometry.stride,
        "pads": tuple(b for b, _ in geometry.crops) + tuple(max(e, 0) for _, e in geometry.crops),
        "dilations": geometry.dilation,
        "group": geometry.groups,
        "output_padding": tuple(max(-e, 0) for _, e in geometry.crops),
    }
    if all(b >= 0 and -e < s for (b, e), s in zip(geometry.crops, geometry.stride, strict=True)):
        return arguments
    reason = f"its pads are not negative and its output_padding is below the stride; the crops are {geometry.crops}"
    full = arguments | {"pads": (0,) * 2 * geometry.rank, "output_padding": (0,) * geometry.rank}
    raise _then_crop("onnx", reason, "ConvTranspose without pads", full, geometry.crops)


def _then_crop(
    framework: str, reason: str, call: str, arguments: dict[str, Any], crops: tuple[Crop, ...]
) -> NotExpressible:
    recipe = f"{call}, without bias; then crop {crops} (begin, end), with zeros added where negative; then the bias"
    return NotExpressible(framework, reason, recipe, arguments, crops)


def _mirrored(geometry: Geometry) -> list[Crop]:
    """The pads of the zero-spaced grid for crops of the full grid, or the reverse: c becomes K - 1 - c at both ends."""
    return [(K - 1 - b, K - 1 - e) for K, (b, e) in zip(geometry.spans, geometry.crops, strict=True)]


def _needed_input_size(input_size: Ints | None, because_of: str, rank: int) -> tuple[int, ...]:
    if input_size is None:
        raise GeometryError(f"input_size is missing; {because_of} means something only together with it")
    return per_axis("input_size", input_size, rank, 1)


def _name(padding: Any) -> str | None:
    """ "SAME" or "VALID"; None if the padding is a list of pairs."""
    if isinstance(padding, str) and padding.upper() in ("SAME", "VALID"):
        return padding.upper()
    if not is_sequence(padding):
        raise GeometryError(f"padding is {padding!r}; expected 'SAME', 'VALID' or a list of (begin, end) pairs")
    return None


def _spatial(name: str, value: Ints, rank: int, channels_first: bool, around: int | None = None) -> tuple[int, ...]:
    """The spatial entries of `value`, without the framework's entries for batch and channels (which are `around`)."""
    if is_sequence(value) and len(value) == rank + 2:
        ends = [as_int(f"{name} of batch and channels", value[at]) for at in (0, 1 if channels_first else -1)]
        if around is not None and ends != [around, around]:
            raise GeometryError(f"{name} is {value!r}; expected {around} for batch and channels")
        value = value[2:] if channels_first else value[1:-1]
    return per_axis(name, value, rank, 0)


WRITERS.update(torch=_to_torch, keras=_to_keras, tensorflow=_to_tensorflow, jax=_to_jax, onnx=_to_onnx)
