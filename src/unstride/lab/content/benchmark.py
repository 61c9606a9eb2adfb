"""Benchmarks one layer against the installed libraries: ``python -m unstride.lab.content.benchmark SETTING``.

It runs in a separate process, so that the other libraries' threads and memory stay out of the lab. It prints lines of
JSON: which libraries are ready, which are not, and the times of every round. In each round all take turns, so that
other load on the machine affects all alike.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...conventions import torch_call
from ...data import Values
from ...geometry import Geometry

PEERS = {
    "zeros": ("NumPy, zero-spaced grid", ("numpy",)),
    "torch": ("PyTorch", ("torch",)),
    "onnxruntime": ("ONNX Runtime", ("onnx", "onnxruntime")),
    "jax": ("JAX", ("jax",)),
    "tensorflow": ("TensorFlow", ("tensorflow",)),
}
"""The competitors: their names, and the modules that they need."""

ROUNDS = (3, 15)  # the fewest and the most
ALL_SECONDS = 3.0  # after this, only the first rounds are started
SECONDS = 0.04  # the least time of each in a round

Call = Callable[[], Any]


@dataclass(frozen=True)
class Setting:
    """A layer with square inputs: shapes (batch, size, size, c_in), channels last."""

    batch: int
    size: int
    c_in: int
    c_out: int
    kernel: int
    stride: int
    padding: int

    @property
    def x_shape(self) -> tuple[int, ...]:
        return (self.batch, self.size, self.size, self.c_in)

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        return (self.kernel, self.kernel, self.c_out, self.c_in)

    @property
    def geometry(self) -> Geometry:
        return Geometry((self.kernel,) * 2, self.stride, self.padding)


LAYERS = {
    "DCGAN: 256 to 128 channels, k4 s2": Setting(4, 16, 256, 128, 4, 2, 1),
    "U-Net: 128 to 64 channels, k2 s2": Setting(1, 64, 128, 64, 2, 2, 0),
    "FSRCNN: 56 channels to 1, k9 s3": Setting(1, 64, 56, 1, 9, 3, 3),
    "FCN-8s: 21 to 21 channels, k16 s8": Setting(1, 32, 21, 21, 16, 8, 4),
    "The reading's: 16 to 32 channels, k3 s1": Setting(32, 26, 16, 32, 3, 1, 0),
}
"""Layers of well-known models."""


def installed() -> dict[str, str]:
    """The installed competitors and their names."""
    return {
        peer: name
        for peer, (name, modules) in PEERS.items()
        if all(importlib.util.find_spec(module) is not None for module in modules)
    }


def run(setting: Setting, peers: list[str], threads: int) -> Iterator[dict[str, Any]]:
    """Run the benchmark in a new process and yield its messages."""
    order = json.dumps({"setting": asdict(setting), "peers": peers, "threads": threads})
    # The standard error is kept for the message of a failure.
    command = [sys.executable, "-m", "unstride.lab.content.benchmark", order]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for line in process.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
            errors = process.stderr.read()
        finally:
            process.kill()
    if process.returncode not in (0, -9):
        last = errors.strip().splitlines()
        yield {"failed": last[-1] if last else f"the benchmark's process ended with code {process.returncode}"}


def _main() -> None:
    order = json.loads(sys.argv[1])
    setting, threads = Setting(**order["setting"]), int(order["threads"])
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    rng = np.random.default_rng(0)
    x = rng.standard_normal(setting.x_shape, np.float32)
    kernel = rng.standard_normal(setting.kernel_shape, np.float32)
    from ... import conv_transpose, set_num_threads

    set_num_threads(threads)

    def ours() -> Any:
        return conv_transpose(x, kernel, geometry=setting.geometry)

    truth = ours()
    contestants: dict[str, Call] = {"ours": ours}
    for peer in order["peers"]:
        _tell(starting=PEERS[peer][0])
        try:
            call, read = _MAKERS[peer](x, kernel, setting.geometry, threads)
            difference = float(np.abs(read(call()) - truth).max() / np.abs(truth).max())
        except Exception as error:
            _tell(unable=peer, why=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
            continue
        contestants[peer] = call
        _tell(ready=peer, difference=difference)
    for call in contestants.values():  # warm caches and clocks
        _once(call)
    start, (least, most) = time.perf_counter(), ROUNDS
    for number in range(most):
        if number >= least and time.perf_counter() - start > ALL_SECONDS:
            break
        _tell(round=number + 1, milliseconds={name: 1000 * _once(call) for name, call in contestants.items()})


def _tell(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def _once(call: Call) -> float:
    """The mean time of a call, over `SECONDS`."""
    start, count = time.perf_counter(), 0
    while True:
        call()
        count += 1
        taken = time.perf_counter() - start
        if taken >= SECONDS:
            return taken / count


Maker = Callable[[Values, Values, Geometry, int], tuple[Call, Callable[[Any], Values]]]


def _zeros(x: Values, kernel: Values, geometry: Geometry, _: int) -> tuple[Call, Callable[[Any], Values]]:
    """The textbook way: zeros between and around the cells, then an ordinary convolution."""
    from numpy.lib.stride_tricks import sliding_window_view

    (k, _k), (s, _s), ((begin, end), _c) = geometry.kernel_size, geometry.stride, geometry.crops
    flipped = np.ascontiguousarray(kernel[::-1, ::-1])
    batch, n, _n, channels = x.shape
    spaced = (n - 1) * s + 1

    def call() -> Any:
        grid = np.zeros((batch, spaced + 2 * k - 2, spaced + 2 * k - 2, channels), np.float32)
        grid[:, k - 1 : k - 1 + spaced : s, k - 1 : k - 1 + spaced : s] = x
        stop = grid.shape[1] - end
        windows = sliding_window_view(grid[:, begin:stop, begin:stop], (k, k), axis=(1, 2))  # type: ignore[call-overload]
        return np.tensordot(windows, flipped, ([3, 4, 5], [3, 0, 1]))

    return call, lambda result: np.asarray(result)


def _torch(x: Values, kernel: Values, geometry: Geometry, threads: int) -> tuple[Call, Callable[[Any], Values]]:
    """In channels_last, PyTorch's faster memory format."""
    import torch

    torch.set_num_threads(threads)
    arguments, _ = torch_call(geometry)
    del arguments["kernel_size"]
    a, w = (
        torch.from_numpy(np.ascontiguousarray(array)).contiguous(memory_format=torch.channels_last)
        for array in (x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1))
    )

    def call() -> Any:
        with torch.inference_mode():
            return torch.nn.functional.conv_transpose2d(a, w, **arguments)

    return call, lambda result: result.permute(0, 2, 3, 1).numpy()


def _onnxruntime(x: Values, kernel: Values, geometry: Geometry, threads: int) -> tuple[Call, Callable[[Any], Values]]:
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper

    arguments: dict[str, Any] = {
        name: list(value) for name, value in geometry.to("onnx").items() if isinstance(value, tuple)
    }
    weights = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **arguments)
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4) for name in "xy"]
    graph = helper.make_graph([node], "layer", ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {"x": np.ascontiguousarray(x.transpose(0, 3, 1, 2))}
    return lambda: session.run(None, feed)[0], lambda result: np.asarray(result).transpose(0, 2, 3, 1)


def _jax(x: Values, kernel: Values, geometry: Geometry, _: int) -> tuple[Call, Callable[[Any], Values]]:
    import jax

    arguments = geometry.to("jax")
    arguments.pop("rhs_dilation", None)
    layout = ("NHWC", "HWIO", "NHWC")  # of the convolution whose transpose this is

    def layer(a: Any, w: Any) -> Any:
        return jax.lax.conv_transpose(a, w, dimension_numbers=layout, **arguments)

    compiled = jax.jit(layer)
    a, w = jax.numpy.asarray(x), jax.numpy.asarray(kernel)
    return lambda: compiled(a, w).block_until_ready(), np.asarray


def _tensorflow(x: Values, kernel: Values, geometry: Geometry, threads: int) -> tuple[Call, Callable[[Any], Values]]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    (begin, end), _ = geometry.crops
    shape = (x.shape[0], *geometry.output_size(x.shape[1:3]), kernel.shape[2])
    pads = [[0, 0], [begin, end], [begin, end], [0, 0]]

    def layer(a: Any, w: Any) -> Any:
        return tf.nn.conv2d_transpose(a, w, shape, geometry.stride, pads if begin or end else "VALID")

    graph = tf.function(layer)
    a, w = tf.constant(x), tf.constant(kernel)
    return lambda: graph(a, w).numpy(), np.asarray


_MAKERS: dict[str, Maker] = {
    "zeros": _zeros,
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "jax": _jax,
    "tensorflow": _tensorflow,
}

if __name__ == "__main__":
    _main()
