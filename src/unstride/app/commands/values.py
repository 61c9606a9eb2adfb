"""Sizes, numbers and paddings on the command line, and error messages that name options instead of arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from ..._messages.wording import escaped
from ...geometry import ArgumentError, Geometry

FIELDS = {
    "kernel_size": "--kernel-size",
    "output_padding": "--output-padding",
    "stride": "--stride",
    "padding": "--padding",
    "dilation": "--dilation",
    "groups": "--groups",
}
"""The arguments of `Geometry` and their options."""


def numbers(name: str, text: str) -> int | list[int]:
    """Parse "2", or one number for each axis, "2,1" or "2x1"."""
    try:
        entries = [int(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        raise click.UsageError(f"{name} is {text!r}; expected a number, or one an axis: 2,1") from None
    return entries[0] if len(entries) == 1 else entries


def size(name: str, text: str) -> int | list[int]:
    """Parse "28x28", "28,28", or "28" for a single axis."""
    try:
        return numbers(name, text.lower().replace("×", "x"))
    except click.UsageError:
        raise click.UsageError(f"{name} is {text!r}; expected a size, as 28x28") from None


def padding(text: str, name: str = "--padding") -> Any:
    """Parse a number, one for each axis, a begin:end pair for each axis, "same" or "valid"."""
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
    """The arguments of `Geometry` among the given options."""
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
"""What follows a word that is an argument's name and not a word of the sentence."""


@contextmanager
def errors_of(names: Mapping[str, str]) -> Iterator[None]:
    """Turn the errors that a wrong option causes into usage errors, which name the option."""
    try:
        yield
    except (ArgumentError, TypeError) as error:
        raise click.UsageError(in_options(escaped(str(error)), names)) from error


def in_options(message: str, names: Mapping[str, str]) -> str:
    """The message with options in place of the arguments' names.

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
