"""`accelerate`: the convolutions of an existing model, computed by the native kernels.

A layer keeps its class. A method on the instance replaces its class's method (see `attached` and `methods`). So names,
checkpoints, hooks and the training mode stay, and code that compares types still works. `restore` removes the methods.
A Sequential whose runs of convolutions are executed as stacks is changed in the same way (`stacks`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrize

from .._stacks.choice import FEWEST_IMAGES
from . import layers, stacks
from .attached import Attached, attach, detach, is_attached
from .methods import METHODS

Module = torch.nn.Module
_OURS = (
    *(layers.Conv1d, layers.Conv2d, layers.Conv3d),
    *(layers.ConvTranspose1d, layers.ConvTranspose2d, layers.ConvTranspose3d),
)


@dataclass(frozen=True)
class Layer:
    """One convolution of a model: its names there, its class, whether it was changed, and the reason if not."""

    names: tuple[str, ...]
    kind: str
    changed: bool
    reason: str = ""

    def __str__(self) -> str:
        names = " = ".join(name or "the module itself" for name in self.names)
        return f"{names}: {self.kind}, {'changed' if self.changed else f'not changed: {self.reason}'}"


@dataclass(frozen=True)
class Report:
    """The result of `accelerate`: every convolution of the model, in the model's order. `print` shows all of it."""

    layers: tuple[Layer, ...]
    _modules: tuple[Module, ...] = field(default=(), repr=False)
    stacks: tuple[tuple[str, ...], ...] = ()  # the names of the modules in each run that may be executed as a stack

    @property
    def changed(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if layer.changed)

    @property
    def unchanged(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if not layer.changed)

    def restore(self) -> None:
        """Give the changed layers PyTorch's methods back."""
        for module in self._modules:
            detach(module)

    def __str__(self) -> str:
        head = f"{len(self.changed)} of {len(self.layers)} convolutions changed"
        lines = [head, *(f"  {layer}" for layer in self.layers)]
        if self.stacks:
            lines.append(f"one stack each, from {FEWEST_IMAGES} images on:")
            lines += [f"  {', '.join(names)}" for names in self.stacks]
        return "\n".join(lines)


def accelerate(module: Module) -> Report:
    """Compute the convolutions and transposed convolutions of a model by the native kernels, in place.

    Classes, weights, names, ``state_dict``, hooks, parametrizations, training mode, device and type stay as they are.
    A deep copy of the model is accelerated too. A pickle, and a file of the whole model, hold a plain PyTorch model,
    which opens without unstride.

    Not changed are layers that are on another device than the CPU, in half precision, quantised, scripted, not
    initialised yet, or of a subclass; and plain convolutions in one or two dimensions that PyTorch computes as fast: in
    float32, with more than 16 output channels, kernels of one cell, groups, or one input channel.

    In every ``torch.nn.Sequential``, convolutions in a row, changed or not, with the ReLU, LeakyReLU, ELU, Tanh and
    Sigmoid after them, are executed as one stack in float32 on the CPU, where that is predicted to be faster: with few
    channels, in batches of 16 images or more. A stack contains no modules with hooks, and there are no stacks under
    ``torch.compile``, ``torch.func``, autocast and a profiler.

    Parameters
    ----------
    module : torch.nn.Module
        A model, or a single layer.

    Returns
    -------
    Report
        The layers that were changed, and the others with the reasons. ``report.restore()`` and `restore` undo the
        changes.

    Raises
    ------
    TypeError
        `module` is not a torch.nn.Module.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.ConvTranspose2d(8, 4, 4, stride=2), torch.nn.ReLU())
    >>> print(accelerate(model))
    1 of 1 convolutions changed
      0: ConvTranspose2d, changed
    """
    convolutions: list[Layer] = []
    wanted: list[tuple[Module, type[Attached]]] = []
    for names, part in _convolutions(module):
        reason = _obstacle(part)
        if reason is None:
            wanted.append((part, METHODS[_class_of(part)]))
        convolutions.append(Layer(names, _kind(part), reason is None, reason or ""))
    sequentials, runs = stacks.find(module)
    wanted += [(part, stacks.SequentialForward) for part in sequentials]
    # Nothing has been changed so far: an error above leaves the model as it was.
    try:
        for part, method in wanted:
            attach(part, method)
    except BaseException:
        for part, _ in wanted:
            detach(part)
        raise
    return Report(tuple(convolutions), tuple(part for part, _ in wanted), tuple(runs))


def restore(module: Module) -> int:
    """Undo `accelerate` on every layer of a model, in place, and return the number of restored layers.

    It also works on a deep copy of an accelerated model.

    >>> import torch
    >>> model = torch.nn.Sequential(torch.nn.Conv1d(8, 4, 3))
    >>> report = accelerate(model)
    >>> restore(model), restore(model)
    (1, 0)
    """
    _check_module(module)
    return sum(detach(part) and isinstance(part, _ConvNd) for part in module.modules())


def _check_module(module: Any) -> None:
    if not isinstance(module, Module):
        raise TypeError(f"module is {type(module).__name__}; expected a torch.nn.Module")


def _convolutions(module: Module) -> Iterator[tuple[tuple[str, ...], Module]]:
    """Each convolution once, with all its names."""
    _check_module(module)
    names: dict[Module, list[str]] = {}
    for name, part in module.named_modules(remove_duplicate=False):
        if _kind(part).removeprefix("Lazy").startswith("Conv") or isinstance(part, _ConvNd):
            names.setdefault(part, []).append(name)
    for part, names_of_part in names.items():
        yield tuple(names_of_part), part


def _kind(module: Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        return str(getattr(module, "original_name", type(module).__name__))
    return _class_of(module).__name__


def _class_of(module: Module) -> type:
    """A module's class, without the subclass that parametrizations create."""
    kind = type(module)
    return kind.__bases__[0] if parametrize.is_parametrized(module) else kind


def _obstacle(module: Module) -> str | None:
    """The reason why a layer is not changed, or None."""
    kind = type(module)
    if isinstance(module, torch.jit.ScriptModule):
        return "it is scripted"
    if not isinstance(module, _ConvNd):
        return f"it is no torch.nn convolution, but {kind.__module__}.{kind.__qualname__}"
    if isinstance(module, LazyModuleMixin):
        return "it has no weights yet; run the model once before"
    original = _class_of(module)
    if original in _OURS or is_attached(module):
        return "it is one of unstride's already"
    if original not in METHODS:
        return f"it is a subclass of PyTorch's, {kind.__module__}.{kind.__qualname__}"
    if "forward" in module.__dict__ or "_conv_forward" in module.__dict__:
        return "it has a forward of its own"
    weight = _weight(module)
    if weight.device.type != "cpu":
        return f"it is on the device {weight.device}, where PyTorch's own convolution is used"
    if weight.dtype not in (torch.float32, torch.float64):
        return f"it is of type {str(weight.dtype).removeprefix('torch.')}, which PyTorch's own convolution computes"
    if not module.transposed and layers.torch_wins(weight, _groups(module)):
        return "PyTorch's own plain convolution is as fast with such channels, groups or kernel"
    return None


def _groups(module: Any) -> int:
    """The number of groups; 1 if the field has a value that PyTorch will refuse in the call."""
    groups = module.groups
    return groups if type(groups) is int and groups > 0 else 1


def _weight(module: Any) -> Any:
    """The weight, or an object with its device, type and shape if it is parametrized.

    Accessing a parametrized weight computes it, which may draw random numbers and change the parametrization's state.
    """
    if not parametrize.is_parametrized(module, "weight"):
        return module.weight
    kept = module.parametrizations["weight"]
    original = kept.original if hasattr(kept, "original") else kept.original0
    channels = (module.in_channels, module.out_channels)
    first, second = channels if module.transposed else reversed(channels)
    shape = torch.Size((first, second // _groups(module), *module.kernel_size))
    return SimpleNamespace(device=original.device, dtype=original.dtype, shape=shape, dim=lambda: len(shape))
