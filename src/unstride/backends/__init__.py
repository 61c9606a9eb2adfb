"""One module for each array library, found without importing any.

A library is consulted only if its user has imported it already, so that `import unstride` costs nothing and needs
NumPy alone. Every backend module has the same functions (NumPy's fuses the last, `unstride.ops` sees to it):

* ``owns(array)``: whether the array is one of its own;
* ``convert(*arrays)``: arrays of that library, of the type that the given arrays promote to; numbers and lists take
  that type, and None stays None;
* ``as_float(array)``: an integer array as floating-point numbers of the library's best precision;
* ``conv_transpose(x, kernel, bias, geometry, channels)``, ``conv(x, kernel, bias, geometry, channels)`` and
  ``kernel_gradient(big, small, geometry, channels)``: the three maps, for arguments that `unstride.ops` has checked,
  with ``channels`` "last" or "first" and the kernel laid out accordingly;
* ``padded(array, zeros, channels)``: with as many zeros around each spatial axis as the pairs in `zeros` say, which may
  be made of sizes that are no numbers yet; NumPy's, whose sizes are, has none;
* ``sizes(array, channels)``: its spatial size, where a graph knows none as what stands for it there; NumPy has none;
* ``relu(array)``: negative numbers made 0, NaN kept. Where the module's ``FUSES_RELU`` is true, ``conv_transpose`` and
  ``conv`` do it on the way if told ``relu=True``.

Beside its backend a library may have a cache of calls (`cache_of`): ``repeated(op, arrays, fields)`` is the result of a
call like one before, or None; ``remember(op, arrays, fields, geometry, size)`` is told of each call that was checked.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

# The oldest versions that have what the backends call (TensorFlow 2.14 is the oldest for NumPy 1.26 too).
OLDEST = {"torch": ("PyTorch", (2, 6)), "jax": ("JAX", (0, 4, 34)), "tensorflow": ("TensorFlow", (2, 14))}


_FILES = {
    "torch": "torch.dispatch", "jax": "jax.dispatch", "tensorflow": "tensorflow.dispatch",
}  # fmt: skip


def find(*arrays: Any) -> ModuleType:
    """The backend of the first array that belongs to an imported framework, or NumPy's."""
    for framework in OLDEST:
        if framework in sys.modules and _is_usable(framework, arrays):
            backend = _module(framework)
            if any(backend.owns(array) for array in arrays):
                return backend
    return _module("numpy")


def _is_usable(framework: str, arrays: Sequence[Any]) -> bool:
    """Whether it is new enough; if it is not, that concerns its own arrays alone, and those are an ImportError."""
    if f"{__name__}.{_FILES[framework]}" in sys.modules:  # found to be so before
        return True
    version = getattr(sys.modules[framework], "__version__", None)
    if not isinstance(version, str):  # not wholly imported, or another module of that name
        return False
    if numbers_of(version) >= OLDEST[framework][1]:
        return True
    if any(type(array).__module__.partition(".")[0] in (framework, f"{framework}lib") for array in arrays):
        check_version(framework)
    return False


def check_version(framework: str) -> None:
    """Raises an ImportError if the framework, which is imported, is too old for what its backend calls."""
    name, oldest = OLDEST[framework]
    version = sys.modules[framework].__version__
    if numbers_of(version) < oldest:
        needed = ".".join(map(str, oldest))
        raise ImportError(f"unstride needs {name} {needed} or later for its arrays; {version} is installed")


def numbers_of(version: str) -> tuple[int, ...]:
    """The leading numbers: (2, 13, 0) of "2.13.0+cpu", (2, 18) of "2.18.dev1"."""
    numbers: list[int] = []
    for part in version.partition("+")[0].split("."):
        if not part[:1].isdigit():
            break
        digits = [c if c.isdigit() else " " for c in part]
        numbers.append(int("".join(digits).split()[0]))
    return tuple(numbers)


def _module(name: str) -> ModuleType:
    qualified = f"{__name__}.{_FILES.get(name, name)}"
    return sys.modules.get(qualified) or importlib.import_module(qualified)


def cache_of(array: Any) -> ModuleType | None:
    """What keeps calls on such arrays beside the backend, if the array may be a tensor of PyTorch's."""
    if (known := _caches.get(type(array))) is not None:
        return known
    if "torch" not in sys.modules or not hasattr(array, "requires_grad") or not _is_usable("torch", (array,)):
        return None
    _caches[type(array)] = cache = _module("torch.repeated")
    return cache


_caches: dict[type, ModuleType] = {}


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
    """The value that a Keras variable has now, whatever is assigned to it later; any other array as it is."""
    keras = _keras()
    if keras is None or not isinstance(array, keras.Variable):
        return array
    value = keras.ops.convert_to_tensor(array)  # in the autocast scope's type, where there is one
    # JAX and TensorFlow give a variable another array when it is assigned to; on PyTorch it is written into.
    return _module("torch").kept(value) if keras.backend.backend() == "torch" else value


def is_symbolic(*arrays: Any) -> bool:
    """Whether one of the arrays is a symbolic Keras tensor: a call is then a node of a functional model."""
    keras = _keras()
    return keras is not None and any(isinstance(array, keras.KerasTensor) for array in arrays)


def _keras() -> ModuleType | None:
    keras = sys.modules.get("keras")
    # A module that is not wholly imported, or another of that name, has no symbolic tensors.
    return keras if hasattr(keras, "KerasTensor") else None
