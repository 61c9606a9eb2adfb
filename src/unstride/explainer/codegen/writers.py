"""The program of a trace in each framework, line by line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...geometry import Crop
from ..settings import shown
from .case import Case, Raw, call, resized

Writer = Callable[[Case], list[str]]


def numpy_program(case: Case) -> list[str]:
    trace = case.trace
    geometry = trace.geometry
    lines = ["import numpy as np", "", *case.arrays("np.array({}, float)")]
    names = ", ".join(str(entry) for entry in (geometry.stride, geometry.dilation))
    lines += [f"stride, dilation = {names}", ""]
    place = "tuple(a * s + b * d for a, b, s, d in zip(i, j, stride, dilation))"

    def pad(name: str) -> Callable[[Sequence[Crop]], str]:
        return lambda pads: f"np.pad({name}, {pads})"

    if trace.transposed:
        lines += [
            f"y = np.zeros({trace.full_size})",
            "for i in np.ndindex(x.shape):  # every input cell",
            "    for j in np.ndindex(kernel.shape):  # lays down a scaled copy of the kernel",
            f"        place = {place}",
            "        y[place] += x[i] * kernel[j]",
            *resized("y", trace.full_size, trace.crops, pad("y")),
        ]
    else:
        lines += [
            *resized("x", trace.input.shape, [(-b, -e) for b, e in trace.crops], pad("x")),
            f"y = np.zeros({trace.output_size})",
            "for i in np.ndindex(y.shape):  # every output cell",
            "    for j in np.ndindex(kernel.shape):  # sums what the kernel lies over",
            f"        place = {place}",
            "        y[i] += x[place] * kernel[j]",
        ]
    return lines + ([] if trace.bias is None else [f"y = y + {trace.bias!r}"])


def unstride_program(case: Case) -> list[str]:
    trace = case.trace
    geometry = trace.geometry
    named: dict[str, Any] = {}
    for name, entries in (("stride", geometry.stride), ("padding", geometry.crops), ("dilation", geometry.dilation)):
        default = 0 if name == "padding" else 1
        ends = [set(pair) if isinstance(pair, tuple) else {pair} for pair in entries]
        if all(one == ends[0] and len(one) == 1 for one in ends):  # one number says it all
            (value,) = ends[0]
            if value != default:
                named[name] = value
        else:
            named[name] = entries
    bias = [] if trace.bias is None else [repr(trace.bias)]
    made = call(f"us.{trace.op}", "x", "kernel", *bias, **named, channels=None)
    return ["import unstride as us", "", *case.arrays("{}"), "", f"y = {made}"]


def torch_program(case: Case) -> list[str]:
    trace = case.trace
    function = f"F.conv{'_transpose' * trace.transposed}{trace.rank}d"
    own_bias = trace.bias is not None and case.why_not is None
    named = dict(shown({name: value for name, value in case.arguments.items() if name != "kernel_size"}))
    if own_bias:
        named = {"bias": Raw(f"torch.tensor([{trace.bias!r}])"), **named}

    def pad(name: str) -> Callable[[Sequence[Crop]], str]:
        return lambda pads: f"F.pad({name}, {tuple(n for pair in reversed(pads) for n in pair)})  # the last axis first"

    made = call(function, "x[None, None]", "kernel[None, None]", **named)
    return [
        "import torch",
        "import torch.nn.functional as F",
        "",
        *case.arrays("torch.tensor({}, dtype=torch.float32)"),
        *case.excuse(),
        "",
        *case.before(pad("x")),
        f"y = {made}",
        "y = y[0, 0]  # without batch and channels",
        *case.after(pad("y"), bias=not own_bias),
    ]


def keras_program(case: Case) -> list[str]:
    trace = case.trace
    own_bias = trace.bias is not None and case.why_not is None
    if case.stretch is not None:
        named: dict[str, Any] = {"strides": trace.geometry.stride, "padding": "valid"}
        if trace.transposed:
            named["output_padding"] = (0,) * trace.rank
    else:
        named = dict(shown({name: value for name, value in case.arguments.items() if name != "kernel_size"}))
    kernel = Raw("kernel.shape")
    layer = call(
        f"keras.layers.Conv{trace.rank}D{'Transpose' * trace.transposed}",
        "1",
        kernel_size=kernel,
        **named,
        use_bias=own_bias,
    )
    weights = "kernel[..., None, None]" + (f", np.array([{trace.bias!r}])" if own_bias else "")

    def pad(name: str) -> Callable[[Sequence[Crop]], str]:
        return lambda pads: f"np.pad({name}, {pads})"

    return [
        "import keras",
        "import numpy as np",
        "",
        *case.arrays('np.array({}, "float32")'),
        *case.excuse(),
        "",
        *case.stretched('np.zeros({}, "float32")'),
        *case.before(pad("x")),
        f"layer = {layer}",
        "layer.build((1, *x.shape, 1))  # batch and channels around it",
        f"layer.set_weights([{weights}])",
        "y = layer(x[None, ..., None])",
        "y = keras.ops.convert_to_numpy(y)[0, ..., 0]  # without batch and channels",
        *case.after(pad("y"), bias=not own_bias),
    ]


def tensorflow_program(case: Case) -> list[str]:
    trace = case.trace
    named = dict(case.arguments) if case.stretch is None else {"strides": trace.geometry.stride, "padding": "VALID"}
    if trace.transposed:
        function = f"tf.nn.conv{trace.rank}d_transpose"
        size = named.get("output_shape", trace.full_size)
        named = {"output_shape": (1, *size, 1), **named} | {"output_shape": (1, *size, 1)}
    else:
        function = "tf.nn.conv2d" if isinstance(named["padding"], list) else "tf.nn.convolution"
    if "strides" in named and trace.rank == 1:
        named["strides"] = list(named["strides"])
    if max(trace.geometry.dilation) == 1:
        named.pop("dilations", None)

    def pad(name: str) -> Callable[[Sequence[Crop]], str]:
        return lambda pads: f"tf.pad({name}, {[list(pair) for pair in pads]})"

    made = call(function, "x[None, ..., None]", "kernel[..., None, None]", **named)
    return [
        "import numpy as np",
        "import tensorflow as tf",
        "",
        *case.arrays('np.array({}, "float32")'),
        *case.excuse(),
        "",
        *case.stretched('np.zeros({}, "float32")'),
        *case.before(pad("x")),
        f"y = {made}",
        "y = y[0, ..., 0]  # without batch and channels",
        *case.after(pad("y")),
        "y = y.numpy()",
    ]


def jax_program(case: Case) -> list[str]:
    trace = case.trace
    named = dict(case.arguments)
    if not trace.transposed:
        axes = "DHW"[3 - trace.rank :]
        named["dimension_numbers"] = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
    if max(trace.geometry.dilation) == 1:
        named.pop("rhs_dilation")
    function = "jax.lax.conv_transpose" if trace.transposed else "jax.lax.conv_general_dilated"
    made = call(function, "x[None, ..., None]", "kernel[..., None, None]", **named)
    note = ["# transpose_kernel=True: as in the other frameworks; without it JAX flips the kernel"]
    return [
        "import jax",
        "import jax.numpy as jnp",
        "",
        *case.arrays("jnp.array({}, jnp.float32)"),
        "",
        *(note if trace.transposed else []),
        f"y = {made}",
        "y = y[0, ..., 0]  # without batch and channels",
        *case.after(lambda pads: f"jnp.pad(y, {pads})"),
    ]


def onnx_program(case: Case) -> list[str]:
    trace = case.trace
    named = {name: list(value) for name, value in shown(case.arguments) if name != "kernel_shape"}
    node = "ConvTranspose" if trace.transposed else "Conv"

    def pad(name: str) -> Callable[[Sequence[Crop]], str]:
        return lambda pads: f"np.pad({name}, {pads})"

    made = call("helper.make_node", f'"{node}"', '["x", "kernel"]', '["y"]', **named)
    any_size = ", ".join(["1", "1", *["None"] * trace.rank])
    return [
        "import numpy as np",
        "import onnx",
        "import onnxruntime",
        "from onnx import TensorProto, helper",
        "",
        *case.arrays("np.array({}, np.float32)"),
        *case.excuse(),
        "",
        *case.before(pad("x")),
        f"node = {made}",
        "graph = helper.make_graph(",
        "    [node],",
        '    "example",',
        "    [",
        f'        helper.make_tensor_value_info("x", TensorProto.FLOAT, [{any_size}]),',
        '        helper.make_tensor_value_info("kernel", TensorProto.FLOAT, [1, 1, *kernel.shape]),',
        "    ],",
        f'    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [{any_size}])],',
        ")",
        'model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)',
        "onnx.checker.check_model(model)",
        "session = onnxruntime.InferenceSession(",
        '    model.SerializeToString(), providers=["CPUExecutionProvider"]',
        ")",
        'feed = {"x": x[None, None], "kernel": kernel[None, None]}',
        "y = session.run(None, feed)[0][0, 0]  # without batch and channels",
        *case.after(pad("y")),
    ]


WRITERS: dict[str, Writer] = {
    "keras": keras_program,
    "torch": torch_program,
    "tensorflow": tensorflow_program,
    "jax": jax_program,
    "onnx": onnx_program,
    "numpy": numpy_program,
    "unstride": unstride_program,
}
