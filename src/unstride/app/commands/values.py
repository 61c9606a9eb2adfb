"""Sizes, numbers and paddings as the command line writes them; and errors in its words, not in Python's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from ..._messages.wording import escaped
from ...geometry import Geometry, GeometryError

FIELDS = {
    "kernel_size": "--kernel-size",
    "output_padding": "--output-padding",
    "stride": "--stride",
    "padding": "--padding",
    "dilation": "--dilation",
    "groups": "--groups",
}
"""The arguments of `Geometry`, as options."""


def numbers(name: str, text: str) -> int | list[int]:
    """ "2" or one number an axis, "2,1" or "2x1"."""
    try:
        entries = [int(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        raise click.UsageError(f"{name} is {text!r}; expected a number, or one an axis: 2,1") from None
    return entries[0] if len(entries) == 1 else entries


def size(name: str, text: str) -> int | list[int]:
    """ "28x28", "28,28", or "28" for an axis alone."""
    try:
        return numbers(name, text.lower().replace("×", "x"))
    except click.UsageError:
        raise click.UsageError(f"{name} is {text!r}; expected a size, as 28x28") from None


def padding(text: str, name: str = "--padding") -> Any:
    """A number, one an axis, a begin:end pair an axis, "same" or "valid"."""
    if text.lower() in ("same", "valid"):
        return text.lower()
    try:
        parts = [[int(n) for n in part.split(":")] for part in text.split(",")]
    except ValueError:
        parts = [[]]
    if not all(len(part) in (1, 2) for part in parts):
        raise click.UsageError(
            f"{name} is {text!r}; expected a number, one an axis (1,0), a begin:end pair an axis (1:0,0:-1), same "
            "or valid"
        )
    if all(len(part) == 1 for part in parts):
        return parts[0][0] if len(parts) == 1 else [number for [number] in parts]
    return [part if len(part) == 2 else part * 2 for part in parts]


def fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Geometry` among the options that are given."""
    given: dict[str, Any] = {}
    for name in ("kernel_size", "stride", "output_padding", "dilation"):
        if options.get(name) is not None:
            given[name] = numbers(FIELDS[name], options[name])
    if options.get("padding") is not None:
        given["padding"] = padding(options["padding"])
    if options.get("groups") is not None:
        given["groups"] = options["groups"]
    return given


def as_json(geometry: Geometry) -> dict[str, Any]:
    return {
        "kernel_size": geometry.kernel_size,
        "stride": geometry.stride,
        "dilation": geometry.dilation,
        "crops": geometry.crops,
        "groups": geometry.groups,
    }


_SUBJECT = r"(?=(?: of axis \d+)?(?:, (?:begin|end),)? (?:is|has|of shape|of type)\b)"
"""Follows a word that is an argument's name, rather than a word of the sentence."""


@contextmanager
def errors_of(names: Mapping[str, str]) -> Iterator[None]:
    """What an option got wrong is no accident of the program: one line, which names options and no arguments."""
    try:
        yield
    except (GeometryError, TypeError) as error:
        raise click.UsageError(in_options(escaped(str(error)), names)) from error


def in_options(message: str, names: Mapping[str, str]) -> str:
    """The message with the command line's names of arguments.

    >>> in_options("stride of axis 0 is 0; expected 1", {"stride": "--stride"})
    '--stride of axis 0 is 0; expected 1'
    >>> in_options("the kernel has size (3,), kernel of shape (3,)", {"kernel": "--kernel"})
    'the kernel has size (3,), --kernel of shape (3,)'
    """
    for name, option in names.items():
        followed = "" if re.search("[_ ]", name) else _SUBJECT
        message = re.sub(rf"\b{re.escape(name)}='?(\w+)'?", rf"{option} \1", message)
        message = re.sub(rf"(?<!the )(?<![\w'-]){re.escape(name)}(?![\w'=]){followed}", option, message)
    return message
