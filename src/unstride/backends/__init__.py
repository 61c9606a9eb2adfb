"""One backend for each array library, found without importing any.

A library is used only if it is imported already, so `import unstride` costs nothing and needs only NumPy. Every backend
module has the same functions (NumPy's lacks the last three: it has no open sizes, and its kernels fuse ReLU):

* ``owns(array)``: whether the array belongs to the library;
* ``convert(*arrays)``: arrays of the library, of the type that the given arrays promote to; numbers and lists take
  that type, and None stays None;
* ``as_float(array)``: an integer array as floating-point numbers of the library's best precision;
* ``conv_transpose(x, kernel, bias, geometry, channels)``, ``conv(x, kernel, bias, geometry, channels)`` and
  ``kernel_gradient(big, small, geometry, channels)``: the three maps, for validated arguments, with ``channels``
  "last" or "first" and the kernel laid out accordingly;
* ``padded(array, zeros, channels)``: the array with the numbers of zeros in `zeros`, a pair for each spatial axis,
  around it. The numbers may be open: not known while a graph is made;
* ``sizes(array, channels)``: the spatial size; an open size is a symbol or a tensor of the graph;
* ``relu(array)``: negative numbers become 0, NaN stays. If the module's ``FUSES_RELU`` is true, ``conv_transpose`` and
  ``conv`` have an argument ``relu``, which fuses it.

A library may also have a cache of calls (`cache_of`): ``repeated(op, arrays, fields)`` returns the result of a cached
call, or None; ``remember(op, arrays, fields, geometry, size)`` is called after each validated call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

# The oldest versions with the functions that the backends call (TensorFlow 2.14 is also the oldest for NumPy 1.26).
OLDEST = {"torch": ("PyTorch", (2, 8)), "jax": ("JAX", (0, 4, 34)), "tensorflow": ("TensorFlow", (2, 14))}


def find(*arrays: Any) -> ModuleType:
    """The backend of the first array that belongs to an imported framework, or NumPy's."""
    for framework in OLDEST:
        if framework in sys.modules and _is_usable(framework, arrays):
            backend = _module(framework)
            if any(backend.owns(array) for array in arrays):
                return backend
    return _module("numpy")


def _is_usable(framework: str, arrays: Sequence[Any]) -> bool:
    """Whether the imported framework is new enough. If not, its arrays, and only these, raise an ImportError."""
    if framework in _modules:  # checked before
        return True
    version = getattr(sys.modules[framework], "__version__", None)
    if not isinstance(version, str):  # not wholly imported, or another module of this name
        return False
    if numbers_of(version) >= OLDEST[framework][1]:
        return True
    if any(type(array).__module__.partition(".")[0] in (framework, f"{framework}lib") for array in arrays):
        check_version(framework)
    return False


def check_version(framework: str) -> None:
    """Raise an ImportError if the imported framework is too old for its backend."""
    name, oldest = OLDEST[framework]
    version = sys.modules[framework].__version__
    if numbers_of(version) < oldest:
        needed = ".".join(map(str, oldest))
        raise ImportError(f"unstride needs {name} {needed} or later for its arrays; {version} is installed")


def numbers_of(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (2, 13, 0) of "2.13.0+cpu", (2, 18) of "2.18.dev1"."""
    numbers: list[int] = []
    for part in version.partition("+")[0].split("."):
        if not part[:1].isdigit():
            break
        digits = [c if c.isdigit() else " " for c in part]
        numbers.append(int("".join(digits).split()[0]))
    return tuple(numbers)


_modules: dict[str, ModuleType] = {}
"""The backends that are imported. PyTorch's compiler, which may trace the first use, would take `sys.modules` for a
constant."""


def _module(name: str) -> ModuleType:
    if name in _modules:
        return _modules[name]
    module: ModuleType
    if name == "torch":  # by statements: the compiler traces these, but no call of importlib
        from .torch import dispatch as module
    elif name == "torch.call_cache":
        from .torch import call_cache as module  # type: ignore[no-redef]
    elif name == "jax":
        from .jax import dispatch as module  # type: ignore[no-redef]
    elif name == "tensorflow":
        from .tensorflow import dispatch as module  # type: ignore[no-redef]
    else:
        from . import numpy as module  # type: ignore[no-redef]
    _modules[name] = module
    return module


def cache_of(array: Any) -> ModuleType | None:
    """The module with the cache of calls on such arrays, if the array may be a PyTorch tensor; else None."""
    if (known := _caches.get(type(array))) is not None:
        return known
    if "torch" not in sys.modules or not hasattr(array, "requires_grad") or not _is_usable("torch", (array,)):
        return None
    _caches[type(array)] = cache = _module("torch.call_cache")
    return cache


_caches: dict[type, ModuleType] = {}


def common_type(
    arrays: Sequence[Any], converted: Sequence[Any], promote: Callable[[list[Any]], Any], whole: Any
) -> Any:
    """The type that the given arrays promote to. If the arrays are of integers, lists of fractions count too.

    `converted` are all arguments as arrays of one library, `promote` is the library's promotion of several types, and
    `whole` returns whether a type is of integers.
    """
    types = [array.dtype for array in converted if array is not None]
    strong = [mine.dtype for given, mine in zip(arrays, converted, strict=True) if hasattr(given, "dtype")]
    common = promote(strong or types)
    return promote(types) if whole(common) else common


def unwrap(array: Any) -> Any:
    """The present value of a Keras variable, unchanged by later assignments; any other array is returned as it is."""
    keras = _keras()
    if keras is None or not isinstance(array, keras.Variable):
        return array
    value = keras.ops.convert_to_tensor(array)  # in the type of the autocast scope, if there is one
    # An assignment replaces a variable's array on JAX and TensorFlow; on PyTorch it overwrites the array.
    return _module("torch").kept(value) if keras.backend.backend() == "torch" else value


def is_symbolic(*arrays: Any) -> bool:
    """Whether one of the arrays is a symbolic Keras tensor. A call then becomes a node of a functional model."""
    keras = _keras()
    return keras is not None and any(isinstance(array, keras.KerasTensor) for array in arrays)


def _keras() -> ModuleType | None:
    keras = sys.modules.get("keras")
    # A module that is not wholly imported, or another module of this name, has no symbolic tensors.
    return keras if hasattr(keras, "KerasTensor") else None
