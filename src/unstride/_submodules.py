"""The package's submodules as attributes that load when they are used.

`unstride.keras` and `unstride.torch` import frameworks, which takes seconds, may fail, and fixes Keras's backend for
the whole process. Completion in a shell, `help`, `inspect.getmembers` and `hasattr` look at every attribute of a
package, and must do none of that. So the attribute is first a stand-in, which imports the submodule once something in
it is asked for; what is missing is an ImportError then. The import system puts the submodule itself in its place.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

LIGHT = ("codes", "data", "explainer", "models", "stack")
"""Need NumPy alone, and are imported as soon as they are looked at."""

HEAVY = {
    "keras": "Keras's convolution layers, forwards and transposed, by our kernels; accelerate(model).",
    "torch": "PyTorch's convolution layers, forwards and transposed, by our kernels; accelerate(module).",
}
"""Import a framework."""

_OF_MODULES = ("__all__", "__file__", "__path__")


class Unloaded(ModuleType):
    """A submodule that is not imported yet. To look at it imports nothing; to use what is in it does."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name not in _OF_MODULES and self.__name__ not in sys.modules:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}; it is not imported yet")
        return getattr(importlib.import_module(self.__name__), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(importlib.import_module(self.__name__), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(importlib.import_module(self.__name__), name)

    def __dir__(self) -> list[str]:
        try:
            return dir(importlib.import_module(self.__name__))
        except ImportError:
            return list(super().__dir__())

    def __repr__(self) -> str:
        return f"<module {self.__name__!r}, imported when it is used>"

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return importlib.import_module, (self.__name__,)


def submodule(package: str, name: str) -> ModuleType:
    """The submodule `name` of `package`, or what stands in for it; AttributeError if there is none of that name."""
    qualified = f"{package}.{name}"
    if name in LIGHT:
        return importlib.import_module(qualified)
    # `from unstride import keras` asks for the attribute too. Without one, it imports the submodule itself, and fails
    # where that does.
    if name in HEAVY and sys._getframe(2).f_globals.get("__name__") != "importlib._bootstrap":
        return _stand_in(qualified, HEAVY[name])
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


@functools.cache
def _stand_in(qualified: str, what: str) -> Unloaded:
    return Unloaded(qualified, f"{what} Imported when something in it is used.")
