"""`unstride solve`, `convert` and `plan`: find arguments, translate them between frameworks, count the work."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable
from typing import Any

import click

from ... import conventions
from ...explainer.settings import Setting, call_name
from ...geometry import Geometry, NotExpressible
from ...planning import plan as plan_of
from ...solver import solve as solve_for
from .printing import json_option, print_json, print_text
from .shared import debug_option
from .values import FIELDS, as_json, errors_of, fields, size

FRAMEWORKS = ("keras", "torch", "tensorflow", "jax", "onnx")
NAMES = {  # each framework's arguments by their short names
    "keras": {"k": "kernel_size", "s": "strides", "p": "padding", "op": "output_padding", "d": "dilation_rate",
              "g": "groups"},
    "torch": {"k": "kernel_size", "s": "stride", "p": "padding", "op": "output_padding", "d": "dilation",
              "g": "groups", "size": "output_size"},
    "tensorflow": {"k": "kernel_size", "s": "strides", "p": "padding", "d": "dilations", "size": "output_shape",
                   "data_format": "data_format"},
    "jax": {"k": "kernel_size", "s": "strides", "p": "padding", "d": "rhs_dilation",
            "transpose_kernel": "transpose_kernel", "use_consistent_padding": "use_consistent_padding"},
    "onnx": {"k": "kernel_shape", "s": "strides", "p": "pads", "op": "output_padding", "d": "dilations", "g": "group",
             "auto": "auto_pad", "size": "output_shape"},
    "unstride": {"k": "kernel_size", "s": "stride", "p": "padding", "op": "output_padding", "d": "dilation",
                 "g": "groups"},
}  # fmt: skip
WORD = {"onnx": "auto_pad"}
"""The argument that a word without a name sets, where it is not the padding."""


def geometry_options(command: Any) -> Any:
    """Add the options of `Geometry` to a command, except the kernel's size."""
    for option in (
        click.option("--groups", type=int, help="Number of independent groups of channels."),
        click.option("--dilation", metavar="N", help="A number, or one for each axis."),
        click.option("--output-padding", metavar="N", help="A number, or one for each axis."),
        click.option("--padding", metavar="P", help="A number, or one or begin:end an axis (1:0,1:0), same, valid."),
        click.option("--stride", metavar="N", help="A number, or one for each axis: 2,1."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("input_size", metavar="INPUT")
@click.argument("output_size", metavar="OUTPUT")
@click.option("--kernel-size", metavar="N", help="A number, or one for each axis.")
@geometry_options
@click.option("--limit", type=click.IntRange(1), default=3, show_default=True, help="The most solutions to print.")
@json_option
@debug_option
def solve(input_size: str, output_size: str, limit: int, as_json_: bool, **options: Any) -> None:
    """Find the arguments that turn size INPUT into size OUTPUT, in every framework, simplest first.

    \b
    unstride solve 7x7 28x28
    unstride solve 7x7 14x14 --kernel-size 3 --stride 2

    Sizes are spatial, without batch and channels. Given options are fixed; the others are searched.
    """
    names = FIELDS | {"input_size": "INPUT", "output_size": "OUTPUT"}
    small, big = size("INPUT", input_size), size("OUTPUT", output_size)
    with errors_of(names):
        solutions = solve_for(small, big, limit=limit, **fields(options))
    if as_json_:
        print_json([_everywhere(geometry, small) for geometry in solutions])
        return
    if not solutions:
        print_text(_nothing(small, big, given=bool(fields(options))))
    for number, geometry in enumerate(solutions, 1):
        lines = [f"{number}. {geometry}"]
        for framework in FRAMEWORKS:
            try:
                call = call_name(framework, geometry.rank, transposed=True)
                text = Setting(framework, call, geometry.to(framework, small)).text
            except NotExpressible as error:
                text = f"not in one call: {error.reason}"
            lines.append(f"   {framework:11}{text}")
        print_text("\n".join(lines), 5)


def _nothing(small: int | list[int], big: int | list[int], given: bool) -> str:
    """Advice where there is no solution."""
    ends = [[size] if isinstance(size, int) else size for size in (small, big)]
    sizes = ["x".join(map(str, end)) for end in ends]
    if not given and all(b <= a for a, b in zip(*ends, strict=True)):
        return (
            f"Nothing makes {sizes[1]} from {sizes[0]}, which is no smaller. Did you mean "
            f"`unstride solve {sizes[1]} {sizes[0]}`? The convolution from {sizes[0]} to {sizes[1]} has the same "
            "arguments."
        )
    return f"Nothing makes {sizes[1]} from {sizes[0]} so; {'leave an option out, or ' * given}try other sizes."


@click.command()
@click.argument("framework", metavar="FROM")
@click.argument("arguments", metavar="ARGUMENTS")
@click.argument("target", metavar="TO")
@click.option("--size", "input_size", metavar="SIZE", help="The input's size, such as 7x7. TensorFlow needs it.")
@json_option
@debug_option
def convert(framework: str, arguments: str, target: str, input_size: str | None, as_json_: bool) -> None:
    """Translate the ARGUMENTS of a transposed convolution from one framework to another.

    FROM and TO are keras, torch, tensorflow, jax, onnx or unstride.

    \b
    unstride convert keras "k=4 s=2 same" torch
    unstride convert onnx "kernel_shape=3x3 strides=2x2 auto_pad=SAME_UPPER" keras
    unstride convert torch "k=3 s=2 p=1 op=1" tensorflow --size 7

    Use the framework's own names, or k, s, p, op, d, g for kernel, stride, padding, output padding, dilation, groups.
    If one call of TO cannot do it, the error has a recipe.
    """
    for place, name in (("FROM", framework), ("TO", target)):
        if name not in NAMES:
            raise click.UsageError(f"{place} is {name!r}; expected one of {', '.join(NAMES)}")
    given = _parsed(framework, arguments)
    space = None if input_size is None else size("--size", input_size)
    needs_size = {"output_shape", "output_size"} & given.keys()
    if space is not None and (needs_size or framework == "tensorflow"):
        given["input_size"] = space
    kernel = NAMES[framework]["k"]
    if kernel not in given:
        raise click.UsageError(f"ARGUMENTS has no kernel size; expected {kernel}=..., or k=..., as k=4")
    if isinstance(space, list) and isinstance(given[kernel], int):  # one number for all axes of --size
        given[kernel] = [given[kernel]] * len(space)
    read: Callable[..., Geometry] = Geometry if framework == "unstride" else getattr(conventions, framework)
    with errors_of({"input_size": "--size", "input size": "--size", "size": "--size"}):
        geometry = read(**given)
        translated = as_json(geometry) if target == "unstride" else geometry.to(target, space)
        output = None if space is None else geometry.output_size(space)
    if as_json_:
        print_json({"arguments": translated, "geometry": as_json(geometry), "output_size": output})
        return
    print_text(str(geometry) if target == "unstride" else _written(translated))
    if output is not None:
        print_text(f"makes {'x'.join(map(str, output))} from {input_size}")


@click.command()
@click.argument("x", metavar="X")
@click.argument("kernel", metavar="KERNEL")
@geometry_options
@click.option(
    "--map", "map_", metavar="MAP", default="conv_transpose", show_default=True,
    help="The map, or one of its gradients: conv, kernel_gradient.",
)  # fmt: skip
@click.option("--dtype", metavar="TYPE", default="float32", show_default=True, help="float32 or float64.")
@json_option
@debug_option
def plan(x: str, kernel: str, map_: str, dtype: str, as_json_: bool, **options: Any) -> None:
    """Count the work of a call with arrays of these shapes.

    X is (batch, *space, channels); KERNEL is (*space, output channels / groups, input channels).

    \b
    unstride plan 1x16x16x64 4x4x32x64 --stride 2 --padding 1
    """
    shape, taps = size("X", x), size("KERNEL", kernel)
    with errors_of(FIELDS | {"x": "X", "kernel": "KERNEL", "op": "--map", "dtype": "--dtype"}):
        counted = plan_of(shape, taps, op=map_, dtype=_type(dtype), **fields(options))
    if as_json_:
        print_json({"map": counted.op} | dataclasses.asdict(counted) | {"geometry": as_json(counted.geometry)})
    else:
        print_text(str(counted))


def _type(name: str) -> str:
    if name not in ("float32", "float64"):
        raise click.UsageError(f"--dtype is {name!r}; expected float32 or float64")
    return name


def _everywhere(geometry: Geometry, small: Any) -> dict[str, Any]:
    """A geometry with each framework's arguments for it, or the reason why there are none."""
    content: dict[str, Any] = as_json(geometry)
    for framework in FRAMEWORKS:
        try:
            content[framework] = geometry.to(framework, small)
        except NotExpressible as error:
            content[framework] = {"not_expressible": error.reason, "instead": error.recipe}
    return content


def _written(arguments: dict[str, Any]) -> str:
    """A call's arguments as source code, with a plain number for a single axis."""

    def value(name: str, given: Any) -> str:
        one = isinstance(given, tuple) and len(given) == 1 and isinstance(given[0], int)
        return repr(given[0] if one and name != "pads" else given)

    return ", ".join(f"{name}={value(name, given)}" for name, given in arguments.items())


def _parsed(framework: str, text: str) -> dict[str, Any]:
    """The framework's arguments from text such as "k=4 s=2 same"."""
    short = NAMES[framework]
    parsed: dict[str, Any] = {}
    for token in _tokens(text):
        name, equals, value = token.partition("=")
        if not equals:
            name, value = WORD.get(framework, "padding"), token
            if name not in short.values() or not value.isidentifier():
                raise click.UsageError(f"ARGUMENTS has {token!r}; expected name=value, as k=4")
        name = short.get(name.strip(), name.strip())
        if name not in short.values():
            known = ", ".join(dict.fromkeys(short.values()))
            raise click.UsageError(f"ARGUMENTS has {name!r}, which is no argument of {framework}; these are: {known}")
        if name in parsed:
            raise click.UsageError(f"ARGUMENTS has {name} twice; give it once")
        parsed[name] = _value(name, value.strip())
    if "auto_pad" in parsed and isinstance(parsed["auto_pad"], str):
        parsed["auto_pad"] = parsed["auto_pad"].upper()
    return parsed


def _tokens(text: str) -> list[str]:
    """Split at blanks, and at commas before a word, outside brackets.

    >>> _tokens("k=4,s=2,same"), _tokens("k = 3,3, p=[(1, 0), (0, 1)]")
    (['k=4', 's=2', 'same'], ['k=3,3', 'p=[(1, 0), (0, 1)]'])
    """
    tokens, depth = [""], 0
    for letter in re.sub(r",(?=\s*[^\W\d])", " ", re.sub(r"\s*=\s*", "=", text.strip())):
        depth += (letter in "([") - (letter in ")]")
        if letter.isspace() and depth <= 0:
            tokens.append("")
        else:
            tokens[-1] += letter
    return [token.rstrip(",") for token in tokens if token.rstrip(",")]


def _value(name: str, text: str) -> Any:
    if text[:1] in ("(", "[") or text in ("None", "True", "False"):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError):
            raise click.UsageError(f"{name} is {text}; expected numbers in brackets, as (2, 2)") from None
    if re.fullmatch(r"-?\d+(:-?\d+)?([x,]-?\d+(:-?\d+)?)*", text):
        parts = [[int(n) for n in part.split(":")] for part in re.split("[x,]", text)]
        entries = [part[0] if len(part) == 1 else tuple(part) for part in parts]
        return entries[0] if len(entries) == 1 and isinstance(entries[0], int) else entries
    word = text.strip("'\"")
    if not word.isidentifier():
        raise click.UsageError(f"{name} is {text!r}; expected a number, one an axis (2x2), or a word")
    return word


COMMANDS = (solve, convert, plan)
