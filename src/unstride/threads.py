"""How many threads the native kernels use, and which instruction set: from the environment, then by functions.

``UNSTRIDE_NUM_THREADS`` sets the number that `set_num_threads` can change later; without it there is one thread for
each processor that this process may use (its CPU affinity, its container's quota). ``UNSTRIDE_ISA`` names an
instruction set below the machine's best: "baseline", "avx2", "avx512" or "neon".
"""

from __future__ import annotations

import os
import warnings

from . import _native
from ._messages.errors import ArgumentError
from .geometry import as_int


def set_num_threads(n: int) -> None:
    """Use `n` threads, the calling one included, for every call from now on.

    Results do not depend on it, to the last bit.

    Raises
    ------
    ArgumentError
        If `n` is no integer from 1 to 1024.

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    number = as_int("the number of threads", n, 1, ArgumentError)
    if number > _native.max_threads:
        raise ArgumentError(f"the number of threads is {number}; expected one from 1 to {_native.max_threads}")
    _native.set_num_threads(number)


def get_num_threads() -> int:
    """The number of threads that a call uses."""
    return _native.num_threads()


def read_environment() -> None:
    """Follow ``UNSTRIDE_ISA``; warn of values that say nothing."""
    problem = _native.thread_setting_problem()
    if problem:
        warnings.warn(problem, RuntimeWarning, stacklevel=3)
    wanted = os.environ.get("UNSTRIDE_ISA")
    if wanted:
        try:
            _native.use_instruction_set(wanted)
        except ValueError as error:
            warnings.warn(f"UNSTRIDE_ISA is ignored: {error}", RuntimeWarning, stacklevel=3)
