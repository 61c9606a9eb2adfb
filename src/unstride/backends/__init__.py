"""One module for each array library, found without importing any.

A library is consulted only if its user has imported it already, so that `import unstride` costs nothing and needs
NumPy alone. Every backend module has the same seven functions (NumPy's fuses the last, `unstride.ops` sees to it):

* ``owns(array)``: whether the array is one of its own;
* ``convert(*arrays)``: arrays of that library, of the type that the given arrays promote to; numbers and lists take
  that type, and None stays None;
* ``as_float(array)``: an integer array as floating-point numbers of the library's best precision;
* ``conv_transpose(x, kernel, bias, geometry, channels)``, ``conv(x, kernel, bias, geometry, channels)`` and
  ``kernel_gradient(big, small, geometry, channels)``: the three maps, for arguments that `unstride.ops` has checked,
  with ``channels`` "last" or "first" and the kernel laid out accordingly;
* ``relu(array)``: negative numbers made 0, NaN kept.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

_FRAMEWORKS = ("torch", "jax", "tensorflow")


def find(*arrays: Any) -> ModuleType:
    """The backend of the first array that belongs to an imported framework, or NumPy's."""
    for framework in _FRAMEWORKS:
        if framework in sys.modules:
            backend = _module(framework)
            if any(backend.owns(array) for array in arrays):
                return backend
    return _module("numpy")


def _module(name: str) -> ModuleType:
    qualified = f"{__name__}.{name}"
    return sys.modules.get(qualified) or importlib.import_module(qualified)  # looked up, as compilers can follow that


def torch_views(channels: str | None, first: Any, *others: Any) -> list[Any] | None:
    """PyTorch tensors as NumPy's views of them, if `first` is one and NumPy's way gives all that is asked for."""
    if type(first) is np.ndarray or "torch" not in sys.modules or not hasattr(first, "requires_grad"):
        return None
    backend = _module("torch")
    return backend.views(channels, first, *others) if backend.owns(first) else None


def torch_result(view: Any) -> Any:
    """What was computed of such views, as a PyTorch tensor."""
    return _module("torch").from_view(view)


def are_torchs(first: Any, *others: Any) -> bool:
    """Whether all of them (None aside) are PyTorch tensors of one type, on one device, and none is being compiled."""
    if "torch" not in sys.modules or not hasattr(first, "requires_grad"):
        return False
    return bool(_module("torch").are_alike(first, *others))


def torch_conv_transpose(*arguments: Any) -> Any:
    return _module("torch").conv_transpose(*arguments)


def torch_conv(*arguments: Any) -> Any:
    return _module("torch").conv(*arguments)


def torch_relu(array: Any) -> Any:
    return _module("torch").relu(array)


def common_type(
    arrays: Sequence[Any], converted: Sequence[Any], promote: Callable[[list[Any]], Any], whole: Any
) -> Any:
    """The type that the given arrays promote to; beside arrays of whole numbers, lists of fractions count too.

    `converted` are all of them as arrays of one library, `promote` its promotion of several types, and `whole` tells
    whether a type is of integers.
    """
    types = [array.dtype for array in converted if array is not None]
    strong = [mine.dtype for given, mine in zip(arrays, converted, strict=True) if hasattr(given, "dtype")]
    common = promote(strong or types)
    return promote(types) if whole(common) else common


def unwrap(array: Any) -> Any:
    """The array behind a Keras variable; any other array as it is."""
    keras = sys.modules.get("keras")
    if keras is None or not hasattr(keras, "KerasTensor"):  # not imported, not wholly, or another module of that name
        return array
    if isinstance(array, keras.Variable):
        return keras.ops.convert_to_tensor(array)  # in the autocast scope's type, where there is one
    if isinstance(array, keras.KerasTensor):
        raise TypeError(
            "a symbolic Keras tensor has no values to compute with; inside a functional model use the layers "
            "of unstride.keras"
        )
    return array
