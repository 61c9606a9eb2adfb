"""Replace a method of one module, which keeps its class.

An `Attached` is an object in the ``__dict__`` of one module, under the name of the method that it replaces. The other
ways fail in scenarios of tests/torch/test_attached.py and test_tools.py:

* another class (``module.__class__ = ...``): PyTorch fuses, quantises and counts modules by their type, so it skips the
  module, and a file of the module does not open without unstride;
* a bound method in ``__dict__``: the file needs unstride too; a replica of `DataParallel` computes with the weights of
  the original; and patches of the class's method have no effect;
* forward hooks: PyTorch's own convolution is computed as well, and `fuse_modules` and `torch.jit.script` see them;
* patched methods of PyTorch's classes: they change the layers of all models, and how `torch.jit.script` sees them.

So an `Attached` checks at each call whether the method that it replaces is still PyTorch's, and calls the class's
method if not. A few more entries of the same ``__dict__`` handle copies: Python's `pickle` and `copy`, and
`DataParallel`, look up these methods on the instance. A deep copy is attached like the original. A pickle holds a plain
module, unless it goes to a process that `multiprocessing` is starting.
"""

from __future__ import annotations

import copy
import types
import weakref
from multiprocessing.context import get_spawning_popen
from typing import Any

import torch

Module = torch.nn.Module

# The attributes of a bound method that inspect and torch.jit read. An `Attached` returns those of its class's method,
# so that PyTorch scripts its own source.
_OF_A_METHOD = frozenset(("__self__", "__func__", "__code__", "__globals__", "__closure__", "__name__", "__qualname__"))


class Attached:
    """A method of one module, in its ``__dict__``. Its reference is weak: a cycle would keep the module in memory."""

    name: str  # the name of the method
    _module: Any

    def __init__(self, module: Module) -> None:
        self._module = weakref.ref(module)

    @property
    def module(self) -> Module:
        module: Module | None = self._module()
        if module is None:
            raise ReferenceError(
                f"the accelerated module whose {self.name} this was is gone; keep the module, not its method alone"
            )
        return module

    @property
    def own(self) -> Any:
        """The method of the module's class, bound to the module."""
        return types.MethodType(getattr(type(self.module), self.name), self.module)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # isinstance reads it, and so does inspect
        return types.MethodType

    def __getattr__(self, name: str) -> Any:
        if name in _OF_A_METHOD:
            return getattr(self.own, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        module = self._module()
        return f"<accelerated {self.name} of {'a module that is gone' if module is None else type(module).__name__}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> Attached:
        return type(self)(copy.deepcopy(self.module, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        if get_spawning_popen() is not None:
            return type(self), (self.module,)
        return getattr, (self.module, self.name)  # as a bound method is pickled


class _State(Attached):
    """The state for a pickle and a shallow copy: the module as if it had never been changed."""

    name = "__getstate__"

    def __call__(self) -> Any:
        state = self.own()  # a parametrized class refuses, in PyTorch's words
        return state if get_spawning_popen() is not None else _plain(state)


class _DeepCopy(Attached):
    name = "__deepcopy__"

    def __call__(self, memo: dict[int, Any]) -> Module:
        module = self.module
        if id(module) in memo:
            there: Module = memo[id(module)]
            return there
        of_class: Any = getattr(type(module), "__deepcopy__", None)
        if of_class is not None:  # a parametrized class has one, which copies all of `__dict__`
            duplicate: Module = of_class(module, memo)
        else:  # the steps of Python's deep copy
            duplicate = type(module).__new__(type(module))
            memo[id(module)] = duplicate
            duplicate.__setstate__(copy.deepcopy(_plain(module.__getstate__()), memo))  # type: ignore[no-untyped-call]
        for name, entry in module.__dict__.items():
            if isinstance(entry, Attached):
                duplicate.__dict__[name] = type(entry)(duplicate)
        return duplicate


class _Replica(Attached):
    """Detaches replicas: `DataParallel` copies ``__dict__`` as it is, and gives the copies other weights."""

    name = "_replicate_for_data_parallel"

    def __call__(self) -> Any:
        replica = self.own()
        detach(replica)
        return replica


_COPIES = (_State, _DeepCopy, _Replica)


def attach(module: Module, method: type[Attached]) -> None:
    """Add a method to a module, and the methods that its copies need."""
    for kind in (method, *_COPIES):
        module.__dict__[kind.name] = kind(module)


def detach(module: Module) -> bool:
    """Remove the entries of `attach` that nobody has replaced since; return whether there were any."""
    ours = [name for name, entry in module.__dict__.items() if isinstance(entry, Attached)]
    for name in ours:
        del module.__dict__[name]
    return bool(ours)


def is_attached(module: Module) -> bool:
    return isinstance(module.__dict__.get(_State.name), _State)


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """A module's ``__dict__`` without the entries of `attach`."""
    return {name: value for name, value in state.items() if not isinstance(value, Attached)}
