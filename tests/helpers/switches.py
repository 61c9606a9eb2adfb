"""Settings of the native core, changed for a while."""

import contextlib

import unstride as us
from unstride._core import core as _native


@contextlib.contextmanager
def instruction_set(name):
    before = _native.instruction_set()
    _native.use_instruction_set(name)
    try:
        yield
    finally:
        _native.use_instruction_set(before)


@contextlib.contextmanager
def threads(count):
    before = us.get_num_threads()
    us.set_num_threads(count)
    try:
        yield
    finally:
        us.set_num_threads(before)
