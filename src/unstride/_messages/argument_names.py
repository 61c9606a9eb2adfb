"""Errors for arguments under their names in other libraries. The messages give the names here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, MutableMapping
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar
from warnings import warn

Value = TypeVar("Value")

OURS = {
    "strides": "stride", "window_strides": "stride", "dilation_rate": "dilation", "dilations": "dilation",
    "rhs_dilation": "dilation", "group": "groups", "feature_group_count": "groups", "pads": "padding",
    "pad": "padding", "kernel_shape": "kernel_size", "data_format": "channels", "input_shape": "input_size",
    "output_shape": "output_size",
}  # fmt: skip


def renamed(given: MutableMapping[str, Any], old: str, new: str, value: Value) -> Value:
    """The value of the argument `new` of a public function, which may be given under its `old` name.

    `given` are the function's unknown keywords. If `old` is among them, its value is removed from them and returned,
    with a DeprecationWarning for the caller of that function; otherwise `value` is returned.

    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     renamed({"map": "conv"}, "map", "op", "conv_transpose"), renamed({}, "map", "op", "conv_transpose")
    ('conv', 'conv_transpose')
    """
    if old not in given:
        return value
    warn(f"the argument {old} is called {new} now: write {new}={given[old]!r}", DeprecationWarning, stacklevel=3)
    old_value: Value = given.pop(old)
    return old_value


def refuse(function: Callable[..., Any], given: Mapping[str, object]) -> NoReturn:
    """Raise a TypeError for the first of `given`, which are arguments that the function does not have.

    >>> def example(x, *, stride=1, **misnamed):
    ...     refuse(example, misnamed)
    >>> example(1, strides=2)
    Traceback (most recent call last):
    ...
    TypeError: strides=2 is no argument of example; expected stride: write stride=2. us.conventions reads the arguments of Keras, PyTorch, TensorFlow, JAX and ONNX under their own names
    """  # noqa: E501
    parameters = inspect.signature(function).parameters.values()
    names = [parameter.name for parameter in parameters if parameter.kind != parameter.VAR_KEYWORD]
    name, value = next(iter(given.items()))
    ours = OURS.get(name, name)
    close = [ours] if ours in names else get_close_matches(name, names, 1)
    if not close:
        raise TypeError(f"{name}={value!r} is no argument of {function.__name__}; expected some of {', '.join(names)}")
    written = f'{close[0]}="first" or "last"' if close[0] == "channels" else f"{close[0]}={value!r}"
    message = f"{name}={value!r} is no argument of {function.__name__}; expected {close[0]}: write {written}"
    if name in OURS:
        message += (
            ". us.conventions reads the arguments of Keras, PyTorch, TensorFlow, JAX and ONNX under their own names"
        )
    raise TypeError(message)
