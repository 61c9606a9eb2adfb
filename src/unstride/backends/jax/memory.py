"""Return the memory of XLA's compiler to the system.

Compiling a training step takes some 80 MB, which the C library then keeps in pieces that are too small for arrays. That
is as much as the steps in micro-batches need. glibc can return such pieces to the system.
"""

from __future__ import annotations

import ctypes
from typing import Any

COMPILED = "/jax/core/compile/backend_compile_duration"
_LONG = 0.2  # seconds: shorter compilations leave little


def _give_back() -> None:
    """Return unused pieces of the C library's memory to the system, if the library is glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class _Listener:
    """JAX calls it after compilations. It is registered once and never removed: JAX does not document how a listener
    can be removed while JAX iterates over the listeners."""

    registered = False
    waiting = False

    def __call__(self, event: str, duration_secs: float, **_: Any) -> None:
        if self.waiting and event == COMPILED and duration_secs >= _LONG:
            self.waiting = False
            _give_back()


_listener = _Listener()


def give_back_after_compiling() -> None:
    """Return the memory of the next long compilation when it ends."""
    import jax.monitoring

    if not _listener.registered:
        jax.monitoring.register_event_duration_secs_listener(_listener)
        _listener.registered = True
    _listener.waiting = True
