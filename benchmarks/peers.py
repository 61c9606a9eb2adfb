"""The other libraries' calls for the three maps that maps.py compares with, each in the library's preferred form.

Every peer has its arrays in its own layout before the clock starts. The forward-only engines (ONNX Runtime, OpenVINO)
have the kernel as a constant, which they may rearrange once. If a peer's arguments cannot express a crop, the result is
sliced (or, for gradients, padded with zeros) as the peer's users do it, and this counts in the time.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unstride import Geometry, NotExpressible
from unstride.conventions import torch_call
from unstride.geometry import Crop, convolution

Array = NDArray[Any]

# These are set before any peer is imported: all run on the CPU, without messages.
os.environ |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MODULES = {
    "torch": ("torch",),
    "onnxruntime": ("onnx", "onnxruntime"),
    "tensorflow": ("tensorflow",),
    "jax": ("jax",),
    "openvino": ("openvino",),
}
"""Each peer and the modules that it imports."""


class Unable(Exception):  # noqa: N818 - no error: the table has a dash there
    """The peer has no such map, or not for this geometry or number of threads."""


@dataclass(frozen=True)
class Problem:
    """One map of one geometry, with its arrays channels last. ``input`` takes big and kernel, ``kernel`` takes both
    grids: they are the transposed convolution's two gradients, with `big` as the result's."""

    map: str
    geometry: Geometry
    small: Array
    kernel: Array
    big: Array
    bias: Array | None = None

    def lifted(self) -> Problem:
        """The same problem with one more dimension of a single cell."""
        g = self.geometry
        lifted = Geometry(
            (1, *g.kernel_size), (1, *g.stride), ((0, 0), *g.crops), dilation=(1, *g.dilation), groups=g.groups
        )
        return Problem(self.map, lifted, self.small[:, None], self.kernel[None], self.big[:, None], self.bias)


@dataclass(frozen=True)
class Contestant:
    """`call` computes and returns a new result within `context`; `read` converts it to a NumPy array in our layout."""

    call: Callable[[], Any]
    read: Callable[[Any], Array]
    context: Callable[[], AbstractContextManager[Any]] = nullcontext


def installed(peer: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in MODULES[peer])


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def first(array: Array) -> Array:
    """A grid with channels first."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def first_kernel(kernel: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))


def from_first(problem: Problem, result: Array) -> Array:
    """A result with channels first, grid or kernel, as channels last."""
    return np.moveaxis(result, (0, 1), (-1, -2)) if problem.map == "kernel" else np.moveaxis(result, 1, -1)


def torch_plain(problem: Problem, threads: int) -> Contestant:
    import torch

    return _torch(problem, threads, torch.contiguous_format)


def torch_channels_last(problem: Problem, threads: int) -> Contestant:
    """The same in PyTorch's memory format channels_last. 1-D lacks it, and is computed as 2-D with one row."""
    import torch

    if problem.geometry.rank > 1:
        return _torch(problem, threads, (torch.channels_last, torch.channels_last_3d)[problem.geometry.rank - 2])
    row = _torch(problem.lifted(), threads, torch.channels_last)
    axis = 0 if problem.map == "kernel" else 1
    return Contestant(row.call, lambda result: row.read(result).squeeze(axis), row.context)


def _torch(problem: Problem, threads: int, memory_format: Any) -> Contestant:
    import torch

    torch.set_num_threads(threads)
    arguments, crops = torch_call(problem.geometry)
    del arguments["kernel_size"]  # the functions read it from the kernel
    exact = all(crop == (0, 0) for crop in crops)
    x, kernel, upstream = (
        torch.from_numpy(array).contiguous(memory_format=memory_format)
        for array in (first(problem.small), first_kernel(problem.kernel), first(problem.big))
    )
    bias = None if problem.bias is None else torch.from_numpy(problem.bias)
    transposed = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[problem.geometry.rank - 1]
    amounts = [amount for crop in reversed(crops) for amount in crop]  # numbers of zeros; crops if negative
    extended = min(amounts) < 0
    inside = (..., *(slice(max(b, 0), -e if e > 0 else None) for b, e in crops))

    def forward() -> Any:
        y = transposed(x, kernel, bias, **arguments)
        if exact:
            return y
        # A slice is a view; pad would copy.
        return torch.nn.functional.pad(y, [-amount for amount in amounts]) if extended else y[inside]

    def backward() -> Any:
        gradients = torch.ops.aten.convolution_backward(
            upstream if exact else torch.nn.functional.pad(upstream, amounts),
            x,
            kernel,
            None,  # no bias
            arguments["stride"],
            arguments["padding"],
            arguments["dilation"],
            True,  # transposed
            arguments["output_padding"],
            arguments["groups"],
            (problem.map == "input", problem.map == "kernel", False),
        )
        return gradients[0 if problem.map == "input" else 1]

    def read(result: Any) -> Array:
        return from_first(problem, result.numpy())

    return Contestant(forward if problem.map == "forward" else backward, read, torch.inference_mode)


def onnx_runtime(problem: Problem, threads: int) -> Contestant:
    """A model of one ConvTranspose node. Its threads spin between calls, as by default."""
    if problem.map != "forward":
        raise Unable
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    x = first(problem.small)
    constants = [numpy_helper.from_array(first_kernel(problem.kernel), "kernel")]
    if problem.bias is not None:
        constants.append(numpy_helper.from_array(problem.bias, "bias"))
    names = ["x", *(constant.name for constant in constants)]
    node = helper.make_node("ConvTranspose", names, ["y"], **_onnx_arguments(problem.geometry))
    graph = helper.make_graph(
        [node],
        "one layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * x.ndim)],
        constants,
    )
    # Not the newest format: ONNX Runtime supports it only after some delay.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {"x": x}
    return Contestant(lambda: session.run(None, feed)[0], lambda result: from_first(problem, result))


def _onnx_arguments(geometry: Geometry) -> dict[str, Any]:
    try:
        return geometry.to("onnx")
    except NotExpressible as error:
        raise Unable from error


def open_vino(problem: Problem, threads: int) -> Contestant:
    """A model of one ConvolutionBackpropData operation, or the grouped one, for the least latency."""
    if problem.map != "forward":
        raise Unable
    import openvino
    from openvino import opset13

    g = problem.geometry
    arguments = _onnx_arguments(g)
    pads, rank = arguments["pads"], g.rank
    x, kernel = first(problem.small), first_kernel(problem.kernel)
    fields = {
        "strides": list(g.stride),
        "pads_begin": list(pads[:rank]),
        "pads_end": list(pads[rank:]),
        "dilations": list(g.dilation),
        "output_padding": list(arguments["output_padding"]),
    }
    parameter = opset13.parameter(list(x.shape), np.float32)
    if g.groups == 1:
        y = opset13.convolution_backprop_data(parameter, opset13.constant(kernel), **fields)
    else:
        grouped = kernel.reshape(g.groups, -1, *kernel.shape[1:])
        y = opset13.group_convolution_backprop_data(parameter, opset13.constant(grouped), **fields)
    if problem.bias is not None:
        y = opset13.add(y, opset13.constant(problem.bias.reshape(1, -1, *(1,) * rank)))
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # on processors with bfloat16, it would round to bfloat16
    }
    compiled = openvino.Core().compile_model(openvino.Model([y], [parameter], "one layer"), "CPU", settings)
    return Contestant(lambda: compiled(x)[0], lambda result: from_first(problem, result))


def tensor_flow(problem: Problem, threads: int) -> Contestant:
    """Compiled by tf.function, channels last. Only with all cores: its number of threads is fixed when it starts."""
    g = problem.geometry
    if g.groups > 1 or threads != cores():
        raise Unable
    import tensorflow as tf

    small, kernel, big = tf.constant(problem.small), tf.constant(problem.kernel), tf.constant(problem.big)
    if problem.map == "forward":
        try:
            arguments, crops = g.to("tensorflow", problem.small.shape[1:-1]), ((0, 0),) * g.rank
        except NotExpressible as error:
            if error.arguments is None or error.crops is None:
                raise Unable from error
            arguments, crops = error.arguments, error.crops
        length = (len(problem.small), *arguments.pop("output_shape"), problem.big.shape[-1])
        transposed = (tf.nn.conv1d_transpose, tf.nn.conv2d_transpose, tf.nn.conv3d_transpose)[g.rank - 1]

        def compute(x: Any, kernel: Any) -> Any:
            y = _tf_crop(transposed(x, kernel, length, **arguments), crops)
            return y if problem.bias is None else tf.nn.bias_add(y, problem.bias)

        return _tf_contestant(compute, small, kernel)
    if problem.map == "input":
        return _tf_contestant(lambda upstream, kernel: _tf_conv(upstream, kernel, g), big, kernel)

    def derive(upstream: Any, x: Any) -> Any:  # the convolution itself is removed from the graph
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            y = _tf_conv(upstream, kernel, g)
        return tape.gradient(y, kernel, output_gradients=x)

    return _tf_contestant(derive, big, small)


def _tf_contestant(function: Callable[..., Any], *operands: Any) -> Contestant:
    import tensorflow as tf

    compiled = tf.function(function, autograph=False)
    return Contestant(lambda: compiled(*operands), lambda result: result.numpy())


def _tf_crop(y: Any, crops: Sequence[Crop]) -> Any:
    import tensorflow as tf

    if all(crop == (0, 0) for crop in crops):
        return y
    if min(map(min, crops)) < 0:
        y = tf.pad(y, [(0, 0), *((max(-b, 0), max(-e, 0)) for b, e in crops), (0, 0)])
    return y[(slice(None), *(slice(max(b, 0), -e if e > 0 else None) for b, e in crops))]


def _tf_conv(big: Any, kernel: Any, g: Geometry) -> Any:
    """The convolution by one of TensorFlow's paddings if one fits; else with explicit zeros."""
    import tensorflow as tf

    same = convolution(big.shape[1:-1], g.kernel_size, g.stride, "same", g.dilation)
    padding: Any = "VALID"
    if same.crops == g.crops:
        padding = "SAME"
    elif g.rank == 2 and min(map(min, g.crops)) >= 0:  # only 2-D takes explicit paddings
        padding = [(0, 0), *g.crops, (0, 0)]
    else:
        big = _tf_crop(big, [(-b, -e) for b, e in g.crops])
    ends = (1,) if g.rank == 3 else ()  # only 3-D needs entries for batch and channels
    convolved = (tf.nn.conv1d, tf.nn.conv2d, tf.nn.conv3d)[g.rank - 1]
    return convolved(big, kernel, (*ends, *g.stride, *ends), padding, dilations=(*ends, *g.dilation, *ends))


def jax_jit(problem: Problem, threads: int) -> Contestant:
    """XLA's convolution, channels last. Only with all cores: its threads are those that the process may use."""
    if threads != cores():
        raise Unable
    import jax
    import jax.numpy as jnp

    g = problem.geometry
    small, kernel, big = jnp.asarray(problem.small), jnp.asarray(problem.kernel), jnp.asarray(problem.big)
    if problem.map == "forward":
        bias = 0 if problem.bias is None else jnp.asarray(problem.bias)
        plain = g.groups == 1 and g.kernel_size == g.stride == g.spans and not any(map(any, g.crops))
        # XLA's compiler (jaxlib 0.10.2) ends the process on some convolutions over a zero-spaced grid if an axis has
        # K = s = 2 and no pads. (None of our shapes is one.)
        if any(axis == (2, 2, (1, 1)) for axis in zip(g.spans, g.stride, g.crops, strict=True)):
            raise Unable
        # If copies of the kernel neither overlap nor leave gaps, the map is a matrix product. In XLA this is about as
        # fast or faster, in 3-D much faster, and avoids that fault.
        kernel = jnp.moveaxis(kernel, -1, 0) if plain else jnp.asarray(_turned(problem))
        of = _jax_tiles if plain else _jax_zero_spaced

        def compute(x: Any, kernel: Any) -> Any:
            y = of(x, kernel, g)
            return y if problem.bias is None else y + bias

        return _jax_contestant(compute, small, kernel)
    if problem.map == "input":
        return _jax_contestant(lambda upstream, kernel: _jax_conv(upstream, kernel, g), big, kernel)

    def derive(upstream: Any, x: Any) -> Any:
        return jax.linear_transpose(lambda k: _jax_conv(upstream, k, g), kernel)(x)[0]

    return _jax_contestant(derive, big, small)


def _jax_contestant(function: Callable[..., Any], *operands: Any) -> Contestant:
    import jax

    compiled = jax.jit(function)
    return Contestant(lambda: compiled(*operands).block_until_ready(), np.asarray)


def _turned(problem: Problem) -> Array:
    """The kernel of the convolution over the zero-spaced grid: flipped, ``(*k, C_small / g, C_big)``."""
    g, k = problem.geometry, problem.kernel
    split = np.flip(k, tuple(range(g.rank))).reshape(*k.shape[:-1], g.groups, -1)
    return np.moveaxis(split, -1, -3).swapaxes(-1, -2).reshape(*g.kernel_size, split.shape[-1], -1)


def _jax_tiles(x: Any, kernel: Any, g: Geometry) -> Any:
    """Copies of the kernel ``(C_small, *k, C_big)`` side by side, one for each cell of x."""
    import jax.numpy as jnp

    y = jnp.tensordot(x, kernel, 1)  # batch, cells, taps, channels
    interleave = [axis for a in range(g.rank) for axis in (1 + a, 1 + g.rank + a)]
    size = g.output_size(x.shape[1:-1])
    return y.transpose(0, *interleave, 1 + 2 * g.rank).reshape(len(x), *size, kernel.shape[-1])


def _jax_zero_spaced(x: Any, kernel: Any, g: Geometry) -> Any:
    pads = [(K - 1 - b, K - 1 - e) for K, (b, e) in zip(g.spans, g.crops, strict=True)]
    return _jax_convolve(x, kernel, g, window_strides=(1,) * g.rank, padding=pads, lhs_dilation=g.stride)


def _jax_conv(big: Any, kernel: Any, g: Geometry) -> Any:
    return _jax_convolve(big, kernel, g, window_strides=g.stride, padding=g.crops)


def _jax_convolve(x: Any, kernel: Any, g: Geometry, **arguments: Any) -> Any:
    from jax import lax

    space = "DHW"[-g.rank :]
    return lax.conv_general_dilated(
        x,
        kernel,
        rhs_dilation=g.dilation,
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
        feature_group_count=g.groups,
        **arguments,
    )


COLUMNS: dict[str, tuple[str, Callable[[Problem, int], Contestant]]] = {
    "torch": ("torch", torch_plain),
    "torch-cl": ("torch", torch_channels_last),
    "ort": ("onnxruntime", onnx_runtime),
    "tf": ("tensorflow", tensor_flow),
    "jax": ("jax", jax_jit),
    "openvino": ("openvino", open_vino),
}
"""Each column of the table: its peer, and the function that makes its contestant."""
