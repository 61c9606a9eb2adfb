"""The package's submodules as attributes that load when they are used.

`unstride.keras` and `unstride.torch` import frameworks, which takes seconds, may fail, and fixes Keras's backend for
the whole process. Completion in a shell, `help`, `inspect.getmembers` and `hasattr` look at every attribute of a
package, and must do none of that. So the attribute is first a stand-in, which imports the submodule once something in
it is used. A missing framework is an ImportError then. The import system replaces the stand-in by the submodule.
"""

from __future__ import annotations

import functools
import importlib
import sys
from types import ModuleType
from typing import Any

LIGHT = ("codes", "data", "explainer", "models", "stack")
"""Submodules that need only NumPy. They are imported at the first access."""

HEAVY = {
    "keras": "Keras's convolution layers, forwards and transposed, by our kernels; accelerate(model).",
    "torch": "PyTorch's convolution layers, forwards and transposed, by our kernels; accelerate(module).",
}
"""Submodules that import a framework, with the first line of their documentation."""

_OF_MODULES = ("__all__", "__file__", "__path__")


class Unloaded(ModuleType):
    """A submodule that is not imported yet. Accessing it imports nothing; accessing its attributes does."""

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
    """The submodule `name` of `package`, or a stand-in for it; an AttributeError if no submodule has this name."""
    qualified = f"{package}.{name}"
    if name in LIGHT:
        return importlib.import_module(qualified)
    # `from unstride import keras` asks for the attribute too. If it finds none, it imports the submodule itself, and
    # raises the errors of that import.
    if name in HEAVY and sys._getframe(2).f_globals.get("__name__") != "importlib._bootstrap":
        return _stand_in(qualified, HEAVY[name])
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


@functools.cache
def _stand_in(qualified: str, what: str) -> Unloaded:
    return Unloaded(qualified, f"{what} Imported when something in it is used.")
