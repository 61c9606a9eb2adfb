"""Runs of convolutions in Keras models, each executed as one stack.

Only the model's walk through its graph changes, on that one object: at the beginning of a run the stack is computed,
and the run's other layers pass its result on. The layers stay as they are, so another model, a clone or a feature
extractor with the same layers computes as before. A run is a chain of layers whose outputs nothing else uses. Whether
it is executed as a stack is decided for each shape of input.
"""

from __future__ import annotations

import math
import types
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from .. import backends
from .._stacks.choice import worthwhile
from ..geometry import is_open
from ..stack import Stack, Stage, has_inverse
from ._layers import OWN, PLAIN, TRANSPOSED, computed, geometry_of

Layer = Any
Node = Any
Tensor = Any
AVAILABLE = keras.backend.backend() != "tensorflow"  # TensorFlow's graphs cannot call the native core
_FUNCTIONS = {
    keras.activations.linear: (None, None),
    keras.activations.relu: ("relu", None),
    keras.activations.leaky_relu: ("leaky_relu", 0.2),  # Keras's default slope
    keras.activations.elu: ("elu", 1.0),
    keras.activations.tanh: ("tanh", None),
    keras.activations.sigmoid: ("sigmoid", None),
}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")  # of a torch.nn.Module
_MOST_STACKS = 64  # that a run keeps, one for each size of input

Activation = tuple[str | None, float | None]


class Run:
    """A chain of layers that can be computed as one stack. The first layer is a convolution."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = tuple(nodes)
        self.layers: tuple[Layer, ...] = tuple(node.operation for node in nodes)
        self.convolutions = sum(map(is_convolution, self.layers))
        self.applied: Callable[..., Tensor] | None = None  # computes the stack in place of `_applied`
        self._stacks: dict[Any, Stack | None] = {}

    def stack(self, shape: Sequence[int | None]) -> Stack | None:
        """The stack for inputs of this shape; None if the layers in their present state make none."""
        if None in shape[1:] or not all(is_float32(layer) and is_plain(layer) for layer in self.layers):
            return None
        fields = [
            (layer.activation, layer.use_bias, layer.strides, layer.padding, layer.dilation_rate)
            if is_convolution(layer)
            else activation_of(layer)
            for layer in self.layers
        ]
        key = tuple(shape[1:]), tuple(fields)
        if key not in self._stacks:
            if len(self._stacks) >= _MOST_STACKS:
                self._stacks.clear()
            self._stacks[key] = self._described(shape)
        return self._stacks[key]

    def _described(self, shape: Sequence[Any]) -> Stack | None:
        first = self.layers[0]
        last = first.data_format == "channels_last"
        size = given = tuple(shape[1:-1] if last else shape[2:])
        stages: list[Stage] = []
        for layer in self.layers:
            activation = activation_of(layer)
            if activation is None:
                return None
            name, slope = activation
            if is_convolution(layer):
                geometry, transposed = geometry_of(layer, size), isinstance(layer, TRANSPOSED)
                stages.append(Stage(transposed, layer.filters, geometry, layer.use_bias, name, slope))
                size = (geometry.output_size if transposed else geometry.conv_size)(size)
            elif stages[-1].activation is not None:
                return None  # the convolution has been given an activation since
            else:
                before = stages.pop()
                stages.append(Stage(before.transposed, before.channels, before.geometry, before.bias, name, slope))
        return Stack(given, shape[-1 if last else 1], stages, "last" if last else "first")

    def result(self, x: Tensor) -> Tensor | None:
        """The output of the run's last layer, or None if its layers are better computed one by one."""
        shape = tuple(x.shape)
        if not _is_followed(x) or is_open(shape) or getattr(x, "_keras_mask", None) is not None:
            return None
        if keras.backend.standardize_dtype(x.dtype) != "float32":
            return None
        stack = self.stack(shape)
        if stack is None or not worthwhile(stack, shape[0]):
            return None
        return (self.applied or _applied)(stack, x, list(self._weights()))

    def _weights(self) -> Iterator[Tensor]:
        for layer in self.layers:
            if is_convolution(layer):
                kernel = backends.unwrap(layer.kernel)
                if layer.data_format != "channels_last":  # Keras keeps one kernel layout for both data formats
                    kernel = keras.ops.transpose(kernel, (layer.rank + 1, layer.rank, *range(layer.rank)))
                yield kernel
                if layer.use_bias:
                    yield keras.ops.convert_to_tensor(layer.bias)


def _applied(stack: Stack, x: Tensor, weights: list[Tensor]) -> Tensor | None:
    name = keras.backend.backend()
    if name == "jax":
        from .._stacks import jax as jax_stack
        from ..backends.jax import dispatch as jax

        jax.primitives()
        return jax_stack.applied(stack, x, weights)
    if name == "torch":
        from .._stacks import torch as torch_stack

        return torch_stack.applied(stack, x, weights) if torch_stack.takes(x, *weights) else None
    return stack.forward(x, weights)[0]


def _is_followed(x: Tensor) -> bool:
    """Whether a stack may be applied to x. PyTorch's compilers show no size as a symbol, and cannot trace a stack."""
    if keras.backend.backend() != "torch":
        return True
    from .._stacks import torch as torch_stack

    return torch_stack.takes(x)


def is_convolution(layer: Layer) -> bool:
    return type(layer) in (*PLAIN, *TRANSPOSED, *OWN)


def is_plain(layer: Layer) -> bool:
    """Whether calling the layer only computes the function that its fields describe."""
    call = layer.__dict__.get("call")
    if call is not None and getattr(call, "__func__", None) is not computed:
        return False
    if "convolution_op" in layer.__dict__ or getattr(layer, "quantization_mode", None) is not None:
        return False
    return layer.activity_regularizer is None and not any(getattr(layer, name, None) for name in _HOOKS)


def is_float32(layer: Layer) -> bool:
    return bool(layer.compute_dtype == layer.variable_dtype == "float32")


def activation_of(layer: Layer) -> Activation | None:
    """The name and slope of a layer's activation; None if stacks have no such activation."""
    kind = type(layer)
    if is_convolution(layer) or kind is keras.layers.Activation:
        if layer.activation is None:
            return None, None
        try:
            return _FUNCTIONS.get(layer.activation)
        except TypeError:  # not hashable, so not one of Keras's functions
            return None
    activation: Activation
    if kind is keras.layers.ReLU:
        if layer.max_value is not None or layer.threshold != 0:
            return None
        activation = ("leaky_relu", float(layer.negative_slope)) if layer.negative_slope else ("relu", None)
    elif kind is keras.layers.LeakyReLU:
        activation = "leaky_relu", float(layer.negative_slope)
    elif kind is keras.layers.ELU:
        activation = "elu", float(layer.alpha)
    else:
        return None
    name, slope = activation
    return activation if slope is None or has_inverse(name, slope) else None


# Finding runs.


def walks_its_graph(model: Layer) -> bool:
    """Whether a model calls the layers of its graph as Keras does."""
    if isinstance(model, keras.Sequential):
        return type(model).call is keras.Sequential.call and _own_method(model, "call") in (None, sequential_call)
    functional: Any = next((kind for kind in type(model).__mro__ if kind.__name__ == "Functional"), None)
    if functional is None or not hasattr(model, "_nodes_by_depth") or type(model).call is not functional.call:
        return False
    return "call" not in model.__dict__ and _own_method(model, "_run_through_graph") in (None, run_through_graph)


def _own_method(model: Layer, name: str) -> Any:
    """The function that replaces a method on this one object; None if none does."""
    method = model.__dict__.get(name)
    return getattr(method, "__func__", method)


def nodes_of(function: Layer) -> list[Node]:
    """The layer calls of a functional model, in their order."""
    depths = function._nodes_by_depth
    return [node for depth in sorted(depths, reverse=True) for node in depths[depth] if not node.is_input]


def runs_of(function: Layer) -> tuple[Run, ...]:
    """The maximal runs of a functional model with at least two convolutions each. They are kept: its graph is fixed."""
    runs = function.__dict__.get("_unstride_runs")
    if runs is None:
        runs = tuple(run for run in map(Run, _chains(function)) if run.convolutions >= 2)
        function.__dict__["_unstride_runs"] = runs  # not by __setattr__: Keras would track it
    return tuple(runs)


def _chains(function: Layer) -> Iterator[list[Node]]:
    nodes = nodes_of(function)
    uses = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    uses.update(id(tensor) for tensor in function.outputs)
    times = Counter(id(node.operation) for node in nodes)
    readers = {id(tensor): node for node in nodes for tensor in node.input_tensors}
    taken: set[int] = set()
    for node in nodes:
        if id(node) in taken or not is_convolution(node.operation) or not _is_link(node, times):
            continue
        chain, fits = [node], activation_of(node.operation) is not None
        while fits:
            output = chain[-1].outputs[0]
            reader = readers.get(id(output))
            if uses[id(output)] != 1 or reader is None or not _is_link(reader, times) or not _goes_on(chain, reader):
                break
            chain.append(reader)
        taken.update(map(id, chain))
        if fits:
            yield chain


def _is_link(node: Node, times: Counter[int]) -> bool:
    """Whether the layer is called only once, here, with one input tensor and one output tensor."""
    arguments = node.arguments
    alone = len(arguments.args) == 1 and not arguments.kwargs and len(node.input_tensors) == len(node.outputs) == 1
    return alone and times[id(node.operation)] == 1 and is_plain_layer(node.operation)


def is_plain_layer(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Layer) and is_plain(operation)


def _goes_on(chain: list[Node], reader: Node) -> bool:
    layer, first = reader.operation, chain[0].operation
    activation = activation_of(layer)
    if activation is None:
        return False
    if is_convolution(layer):
        return bool(layer.data_format == first.data_format and layer.rank == first.rank)
    last = chain[-1].operation  # an activation after a convolution that has none yet
    return is_convolution(last) and activation_of(last) == (None, None)


# Executing runs.


class _Walk:
    """One walk through a model's graph, in which runs are computed as stacks."""

    def __init__(self, runs: Sequence[Run], operation_fn: Callable[[Any], Callable[..., Any]]) -> None:
        self.first = {id(run.layers[0]): run for run in runs}
        self.operation_fn = operation_fn
        self.passed: set[int] = set()  # layers whose result is already computed by the stack

    def __call__(self, operation: Any) -> Callable[..., Any]:
        if id(operation) in self.passed:
            return _handed_on
        run = self.first.get(id(operation))
        call = self.operation_fn(operation)
        if run is None:
            return call

        def begun(x: Tensor, *rest: Any, **named: Any) -> Any:
            result = run.result(x)
            if result is None:
                return call(x, *rest, **named)
            self.passed.update(map(id, run.layers[1:]))
            return result

        return begun


def _handed_on(x: Tensor, *rest: Any, **named: Any) -> Tensor:  # noqa: ARG001 - called as a layer is
    return x


def _itself(operation: Any) -> Any:
    return operation


def run_through_graph(self: Layer, inputs: Any, operation_fn: Any = _itself, call_fn: Any = None) -> Any:
    """Replaces a functional model's method of this name."""
    runs = runs_of(self)
    symbolic = any(isinstance(x, keras.KerasTensor) for x in keras.tree.flatten(inputs))
    if runs and call_fn is None and not symbolic:
        operation_fn = _Walk(runs, operation_fn)
    return type(self)._run_through_graph(self, inputs, operation_fn, call_fn)


def sequential_call(self: Layer, inputs: Any, *rest: Any, **named: Any) -> Any:
    """Replaces a Sequential's `call`. Keras builds its graph again whenever layers are added to it."""
    if self._functional is not None:
        _install_in(self._functional)
    return type(self).call(self, inputs, *rest, **named)


def install(model: Layer) -> bool:
    """Let one model (not the models in it) execute its runs as stacks; return whether it was changed."""
    if not AVAILABLE or is_installed(model) or not walks_its_graph(model):
        return False
    if isinstance(model, keras.Sequential):
        model.__dict__["call"] = types.MethodType(sequential_call, model)
    else:
        _install_in(model)
    return True


def _install_in(function: Layer) -> None:
    if "_run_through_graph" not in function.__dict__:
        function.__dict__["_run_through_graph"] = types.MethodType(run_through_graph, function)


def is_installed(model: Layer) -> bool:
    return _own_method(model, "call") is sequential_call or (
        not isinstance(model, keras.Sequential) and _own_method(model, "_run_through_graph") is run_through_graph
    )


def remove(model: Layer) -> bool:
    """Undo `install`; return whether the model was changed."""
    if not is_installed(model):
        return False
    model.__dict__.pop("call" if isinstance(model, keras.Sequential) else "_run_through_graph")
    for function in (model, getattr(model, "_functional", None)):
        if function is not None:
            function.__dict__.pop("_run_through_graph", None)
            function.__dict__.pop("_unstride_runs", None)
    return True


def graph_of(model: Layer) -> Layer | None:
    """The functional model with a model's graph, if it has one yet."""
    if isinstance(model, keras.Sequential):
        return model._functional
    return model if hasattr(model, "_nodes_by_depth") else None


def work_of(node: Node) -> int:
    """The multiply-adds of one image in a layer; -1 if a size is not known."""
    layer, output_shape, input_shape = node.operation, node.outputs[0].shape, node.input_tensors[0].shape
    total = 0
    for weight in layer.weights if isinstance(layer, keras.layers.Layer) else ():
        cells: Sequence[int | None] = ()
        if len(weight.shape) > 1:
            shape = input_shape if isinstance(layer, TRANSPOSED) else output_shape
            first = getattr(layer, "data_format", "channels_last") == "channels_first"
            cells = shape[2:] if first else shape[1:-1]
        if None in cells:
            return -1
        total += math.prod(weight.shape) * math.prod(n for n in cells if n is not None)
    return total
