"""The number of threads and the instruction set of the native kernels, set by the environment or by functions.

``UNSTRIDE_NUM_THREADS`` sets the number of threads, which `set_num_threads` can change later. The default is one thread
for each processor that this process may use (its CPU affinity, its container's quota). ``UNSTRIDE_ISA`` selects an
instruction set below the machine's best: "baseline", "avx2", "avx512" or "neon"; or "numpy", with which NumPy computes
and the native core is not used. NumPy's matrix products run on the threads of its BLAS, whatever number is set here.
"""

from __future__ import annotations

import os
import re
import warnings

from ._core import NUMPY, core
from ._messages.errors import ArgumentError
from ._messages.wording import counted
from .geometry import as_int

VARIABLE = "UNSTRIDE_NUM_THREADS"


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
    if number > core.max_threads:
        raise ArgumentError(f"the number of threads is {number}; expected one from 1 to {core.max_threads}")
    core.set_num_threads(number)


def get_num_threads() -> int:
    """The number of threads that a call uses."""
    return core.num_threads()


def read_environment() -> None:
    """Apply ``UNSTRIDE_NUM_THREADS`` and ``UNSTRIDE_ISA``, and warn about values that cannot be used."""
    text = os.environ.get(VARIABLE, "")  # empty is how a shell unsets it for one command
    if text and setting_problem() is None:
        core.set_num_threads(int(text))
    elif text:
        warnings.warn(str(setting_problem()), RuntimeWarning, stacklevel=3)
    wanted = os.environ.get("UNSTRIDE_ISA")
    if wanted and wanted != NUMPY:
        try:
            core.use_instruction_set(wanted)
        except ValueError as error:
            warnings.warn(f"UNSTRIDE_ISA is ignored: {error}", RuntimeWarning, stacklevel=3)


def setting_problem() -> str | None:
    """A sentence if ``UNSTRIDE_NUM_THREADS`` is no number of threads; None if it is one, or is not set."""
    text = os.environ.get(VARIABLE, "")
    if not text or (re.fullmatch("[0-9]+", text) and 1 <= int(text[:9]) <= core.max_threads):
        return None
    shown = "".join(c if " " <= c <= "~" else "?" for c in text)
    shown = shown if len(shown) <= 44 else f"{shown[:44]}..."
    return (
        f"{VARIABLE} is '{shown}', which is not a whole number from 1 to {core.max_threads}; "
        f"unstride uses {counted(core.num_threads(), 'thread')} instead"
    )
