"""What XLA's compiler leaves behind.

Compiling a training step takes some 80 MB, which the C library keeps for later, in pieces too small for arrays: as much
as the steps themselves need in micro-batches. glibc can give such pieces back to the system.
"""

from __future__ import annotations

import ctypes
from typing import Any

COMPILED = "/jax/core/compile/backend_compile_duration"
_LONG = 0.2  # seconds: shorter compilations leave little


def _give_back() -> None:
    """Returns unused pieces of the C library's memory to the system, where that is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class _Listener:
    """JAX tells it of compilations; it is registered once, since JAX does not say how to take a listener back while it
    goes through the list."""

    registered = False
    waiting = False

    def __call__(self, event: str, duration_secs: float, **_: Any) -> None:
        if self.waiting and event == COMPILED and duration_secs >= _LONG:
            self.waiting = False
            _give_back()


_listener = _Listener()


def give_back_after_compiling() -> None:
    """Once the next compilation of some length has ended, gives back what it took."""
    import jax.monitoring

    if not _listener.registered:
        jax.monitoring.register_event_duration_secs_listener(_listener)
        _listener.registered = True
    _listener.waiting = True
