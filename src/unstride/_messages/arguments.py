"""Arguments read as integers, or as one integer for each axis, with errors that name the argument."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import Any, TypeGuard

from .errors import ArgumentError, GeometryError


def as_int(name: str, value: object, minimum: int | None = None, error: type[ArgumentError] = GeometryError) -> int:
    """`value` as an int of at least `minimum`, or an error that names it."""
    try:
        # Ints skip `operator.index`: with it, PyTorch's compiler would fix a dynamic size to this one number.
        number = value if type(value) is int else None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None:
        raise error(f"{name} is {value!r}; expected an integer")
    if minimum is not None and number < minimum:
        raise error(f"{name} is {number}; expected an integer of at least {minimum}")
    return number


def per_axis(name: str, value: object, rank: int, minimum: int | None = None) -> tuple[int, ...]:
    """`value`, an int or one int for each axis, as a tuple of `rank` ints of at least `minimum`."""
    if not is_sequence(value):
        return (as_int(name, value, minimum),) * rank
    if len(value) != rank:
        raise GeometryError(
            f"{name} has {len(value)} entries, {list(value)}; expected an int, or one int for each axis: {rank}"
            f"{_surplus(name, len(value), rank)}"
        )
    return tuple(as_int(f"{name} of axis {axis}", entry, minimum) for axis, entry in enumerate(value))


def _surplus(name: str, count: int, rank: int) -> str:
    """The likely reason why a size has too many entries, as the end of an error message."""
    if not re.search("size|shape", name) or "kernel" in name:
        return ""
    surplus = ["leave out batch and channels"] if count in (rank + 2, 4, 5) else []
    if rank == 1 and count != 3:
        surplus.append("give the kernel's size as a number an axis, because one number means one axis")
    return "".join(f"; {hint}" for hint in surplus)


def is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether `value` is a list, a tuple or similar (also a NumPy array or a tensor shape), but not a string."""
    if isinstance(value, (str, bytes, dict)) or getattr(value, "shape", None) == ():  # an array without dimensions
        return False
    return hasattr(value, "__len__") and hasattr(value, "__getitem__")
