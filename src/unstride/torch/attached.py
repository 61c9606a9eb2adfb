"""How a module gets another way to compute and keeps its class.

An `Attached` is an object in the ``__dict__`` of one module, under the name of the method that it stands in for. The
other ways fall short in scenarios of tests/torch/test_attached.py and test_tools.py:

* another class (``module.__class__ = ...``): whatever compares types, by which PyTorch fuses, quantises and counts,
  passes the module over, and a file of it does not open without unstride;
* a bound method in ``__dict__``: the file needs unstride too; a replica of `DataParallel` computes with the weights of
  the original; and patches of the class's method have no effect;
* forward hooks: PyTorch's own convolution is computed as well, and `fuse_modules` and `torch.jit.script` see them;
* patched methods of PyTorch's classes: they change the layers of everybody, and `torch.jit.script` of any of them.

So an `Attached` asks at each call whether the method that it stands in for is still PyTorch's, and calls what is there
if not. A few more entries of the same ``__dict__`` make copies: Python's `pickle` and `copy`, and `DataParallel`,
look up these methods on the instance. A deep copy is attached like the original. A pickle holds a plain module, unless
it goes to a process that `multiprocessing` is starting.
"""

from __future__ import annotations

import copy
import types
import weakref
from multiprocessing.context import get_spawning_popen
from typing import Any

import torch

Module = torch.nn.Module

# What inspect and torch.jit read off a bound method: an `Attached` answers as that of its module's class does, so that
# PyTorch scripts its own source.
_OF_A_METHOD = frozenset(("__self__", "__func__", "__code__", "__globals__", "__closure__", "__name__", "__qualname__"))


class Attached:
    """A method of one module, in its ``__dict__``. It holds the module weakly, as a cycle would keep it in memory."""

    name: str  # of the method
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
    def __class__(self) -> Any:  # what isinstance asks, and inspect with it
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
    """What a pickle and a shallow copy get: the module as if it had never been changed."""

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
        own: Any = getattr(type(module), "__deepcopy__", None)
        if own is not None:  # of a parametrized class: a copy of all of `__dict__`
            made: Module = own(module, memo)
        else:  # as Python makes it
            made = type(module).__new__(type(module))
            memo[id(module)] = made
            made.__setstate__(copy.deepcopy(_plain(module.__getstate__()), memo))  # type: ignore[no-untyped-call]
        for name, entry in module.__dict__.items():
            if isinstance(entry, Attached):
                made.__dict__[name] = type(entry)(made)
        return made


class _Replica(Attached):
    """`DataParallel` copies ``__dict__`` as it is, and gives the copies weights of their own."""

    name = "_replicate_for_data_parallel"

    def __call__(self) -> Any:
        replica = self.own()
        detach(replica)
        return replica


_COPIES = (_State, _DeepCopy, _Replica)


def attach(module: Module, method: type[Attached]) -> None:
    """Puts a method into a module, and what its copies need."""
    for kind in (method, *_COPIES):
        module.__dict__[kind.name] = kind(module)


def detach(module: Module) -> bool:
    """Takes away what `attach` put there, but nothing that somebody else has put in its place since."""
    ours = [name for name, entry in module.__dict__.items() if isinstance(entry, Attached)]
    for name in ours:
        del module.__dict__[name]
    return bool(ours)


def is_attached(module: Module) -> bool:
    return isinstance(module.__dict__.get(_State.name), _State)


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """A module's ``__dict__`` without what `attach` put there."""
    return {name: value for name, value in state.items() if not isinstance(value, Attached)}
