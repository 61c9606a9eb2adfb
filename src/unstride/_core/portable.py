"""The functions of the native core that NumPy arrays need, in NumPy. `_native.pyi` documents them.

Nothing is planned ahead and no call is cached. Matrix products run on the threads of NumPy's BLAS, which this number
of threads does not set.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Geometry
from .portable_maps import compute, gradient, max_phases
from .portable_stack import stack_backward, stack_crossentropy, stack_forward, stack_saved

__all__ = [
    "compute", "describe", "empty", "gradient", "instruction_set", "instruction_sets", "key", "max_phases",
    "max_threads", "num_threads", "recall", "set_num_threads", "set_openmp", "stack_backward", "stack_crossentropy",
    "stack_forward", "stack_lanes", "stack_saved", "use_instruction_set", "xla_targets",
]  # fmt: skip

max_threads = 1024
_SET = "numpy"
_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_threads() -> int:
    return _threads


def set_num_threads(count: int) -> None:
    global _threads
    _threads = count


def instruction_set() -> str:
    return _SET


def instruction_sets() -> list[str]:
    return [_SET]


def use_instruction_set(name: str) -> None:
    if name != _SET:
        raise ValueError(f"instruction set is '{name}'; without the native core there is only 'numpy'")


def set_openmp(fork_join: int, max_threads: int) -> None:
    del fork_join, max_threads


def xla_targets() -> dict[str, Any]:
    return {}


def stack_lanes() -> int:
    return 1


def empty(shape: Sequence[int], bytes: int) -> NDArray[Any]:
    return np.empty(tuple(shape), np.float32 if bytes == 4 else np.float64)


def key(map: str, a: Any, b: Any, bias: Any, fields: tuple[Any, ...]) -> None:
    """No call is cached."""
    del map, a, b, bias, fields


def recall(calls: dict[Any, Any], map: str, a: Any, b: Any, bias: Any, fields: tuple[Any, ...]) -> None:
    """No call is cached."""
    del calls, map, a, b, bias, fields


def describe(
    map: str,
    small: Sequence[int],
    big: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    begin: Sequence[int],
    batch: int,
    groups: int,
    small_channels: int,
    big_channels: int,
    bytes: int,
) -> dict[str, Any]:
    """The plan of a map: a matrix product for each combination of the axes' passes."""
    del bytes
    geometry = Geometry(kernel, stride, [(b, 0) for b in begin], None, dilation)
    axes, pairs = [], 1
    for axis, (n, length) in enumerate(zip(small, big, strict=True)):
        connections = sum(cells.stop - cells.start for _, cells, _ in geometry.taps(axis, n, length))
        pairs *= connections
        if map == "conv_transpose":
            phases = geometry.phases(axis)[:length]
            axes.append([_pass(phase.offset, geometry.stride[axis], len(phase.taps)) for phase in phases if phase.taps])
        else:
            axes.append([_pass(0, 1, geometry.kernel_size[axis])])
    return {
        "axes": axes,
        "method": "matrix_product",
        "lanes": 1,
        "work": "unpacked",
        "multiply_adds": pairs * batch * groups * small_channels * big_channels,
        "tasks": [None] * math.prod(len(axis) for axis in axes),
    }


def _pass(offset: int, step: int, taps: int) -> dict[str, Any]:
    return {"offset": offset, "step": step, "group": 1, "shifts": range(taps)}
