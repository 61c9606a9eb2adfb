"""The number of threads and the instruction set of the native kernels, set by the environment or by functions.

``UNSTRIDE_NUM_THREADS`` sets the number of threads, which `set_num_threads` can change later. The default is one thread
for each processor that this process may use (its CPU affinity, its container's quota). ``UNSTRIDE_ISA`` selects an
instruction set below the machine's best: "baseline", "avx2", "avx512" or "neon".
"""

from __future__ import annotations

import os
import warnings

from . import _native
from ._messages.errors import ArgumentError
from .geometry import as_int


def set_num_threads(n: int) -> None:
    """Use `n` threads, including the calling one, for every call from now on.

    The results do not depend on `n`, to the last bit.

    Raises
    ------
    ArgumentError
        `n` is not an integer from 1 to 1024.

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
    """Apply ``UNSTRIDE_ISA``, and warn about values of either variable that cannot be used."""
    problem = _native.thread_setting_problem()
    if problem:
        warnings.warn(problem, RuntimeWarning, stacklevel=3)
    wanted = os.environ.get("UNSTRIDE_ISA")
    if wanted:
        try:
            _native.use_instruction_set(wanted)
        except ValueError as error:
            warnings.warn(f"UNSTRIDE_ISA is ignored: {error}", RuntimeWarning, stacklevel=3)
